/* The interpreter's built-in modules, without an import.
 *
 * An import calls the __import__ of the program's frame, import hooks and audit hooks, puts a module into
 * sys.modules that the program did not ask for, and must not be nested in one that waits for a module's lock
 * (CPython gh-101162). So what we need of a built-in module is taken from sys.modules where it is there, and
 * else from a module object of our own, which nobody else sees.
 *
 * PyImport_Inittab, the table of built-in modules, may be replaced before initialisation: the library gives
 * CPython a copy in which its own module stands, too, and in which one module of CPython's has an addition. So
 * each module object ever made of that one has it: by an import, after `del sys.modules[...]`, by a reload, in
 * a sub-interpreter. From 3.12 on the end of an interpreter sets the table back, hence zbuiltin_restart. */
#ifndef COLLECTOR_PYTHON_ZBUILTIN_H
#define COLLECTOR_PYTHON_ZBUILTIN_H

#include "collector/python/zpyapi.h"

typedef struct {
  const char *name;
  PyObject *(*init)(void);
} zbuiltin_t;

/* Before initialisation. `added` can be imported; `exec` runs at the end of each initialisation of the module
 * `extended`, GIL held: -1 with an exception makes it fail. */
void zbuiltin_start(zbuiltin_t added, const char *extended, int (*exec)(PyObject *module));
/* The same again for the next interpreter. Between two, or before CPython's table is read. */
void zbuiltin_restart(void);

/* A new reference, or NULL with an exception. GIL held. */
PyObject *zbuiltin_module(const char *name);
/* Between these two the last one of our own is kept, for who asks next: to make one takes long. */
void zbuiltin_keep(void);
void zbuiltin_let_go(void);
/* The one in sys.modules: a new reference, or NULL without an exception. */
PyObject *zbuiltin_loaded(const char *name);

#endif
