/* A census (collector/cpython/zcensus.h) as a dict, for zgc.census(). */
#ifndef PRELOAD_MODULE_ZCENSUS_DICT_H
#define PRELOAD_MODULE_ZCENSUS_DICT_H

#include "collector/python/zpyapi.h"

/* A new dict {name: (objects, bytes)}, most bytes first. `of` is "live", "last" or "total"; NULL with
 * ValueError for another word, with MemoryError when memory is short. GIL held. */
PyObject *zcensus_dict(const char *of);

#endif
