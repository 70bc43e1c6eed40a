/* Collections that are left to CPython, and what they change for us: explicit ones of younger generations, all of them
 * while we are off or not warm, and silent ones of our own, which leave the oldest objects out.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZFORWARD_H
#define COLLECTOR_CPYTHON_ZFORWARD_H

#include "collector/python/zpyapi.h"

void zforward_close(PyObject *info);

void zforward_open_silent(void);
void zforward_close_silent(PyObject *info);

#endif
