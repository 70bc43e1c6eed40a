/* The allocation profile as the interpreter and its users meet it: Python stacks, the signal, the end,
 * and zgc.dump_profile. All with the GIL, in the main interpreter. */
#ifndef PRELOAD_MODULE_ZPROFILING_H
#define PRELOAD_MODULE_ZPROFILING_H

#include "collector/python/zpyapi.h"

/* From the late start on, where a profile is asked for: Python stacks; ZGC_PROFILE_SIGNAL. */
void zprofiling_begin(void);

/* The interpreter ends: the last dump. */
void zprofiling_end(void);

PyObject *zprofiling_dump(PyObject *self, PyObject *arguments, PyObject *keywords);

#endif
