/* `import zgc`: what a program may ask of the library. */
#ifndef PRELOAD_MODULE_ZMODULE_H
#define PRELOAD_MODULE_ZMODULE_H

#include "collector/python/zpyapi.h"

/* For PyImport_AppendInittab: works whether or not the library is active. */
PyObject *zmodule_init(void);

#endif
