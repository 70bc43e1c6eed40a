/* The counters in Prometheus' text format (version 0.0.4).
 *
 * Names follow from heap/base/zstat.h's table: "zgc_", the counter's name, its unit (seconds, bytes,
 * objects), "_total" where it only grows. Causes and kinds of pauses are labels. */
#ifndef PRELOAD_MODULE_ZPROMETHEUS_H
#define PRELOAD_MODULE_ZPROMETHEUS_H

#include "collector/python/zpyapi.h"

/* A new str; NULL with MemoryError set. GIL held. */
PyObject *zprometheus_text(void);

#endif
