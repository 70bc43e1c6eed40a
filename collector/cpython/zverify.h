/* Verification: the heap against its own rules, and our passes against CPython's verdict. */
#ifndef COLLECTOR_CPYTHON_ZVERIFY_H
#define COLLECTOR_CPYTHON_ZVERIFY_H

#include "collector/python/zpyapi.h"

/* Checks the heap and compares our passes with CPython's own verdict over everything. Number of
 * objects checked, or -1 with RuntimeError set. Collects what is garbage. GIL held. */
Py_ssize_t zverify(void);

#endif
