/* CPython's own young collection over a few objects, now: its trial deletion is the exact verdict on whether they
 * are held by anything but each other, and garbage goes by its rules. Cost follows the objects. */
#ifndef COLLECTOR_CPYTHON_ZJUDGE_H
#define COLLECTOR_CPYTHON_ZJUDGE_H

#include "collector/python/zpyabi.h"

/* May one run now? Not within a collection, nor where the program has switched collection off. GIL. */
bool zjudge_is_possible(void);
/* Those that live are young afterwards. Objects that are not tracked or frozen are left out: they count as held from
 * elsewhere. GIL; runs Python code, after which objects may be gone. False: none was run. */
bool zjudge(PyObject *const *objects, size_t count);

#endif
