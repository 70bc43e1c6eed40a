/* Managed objects in the zgc module: what zmodule.c and zboot.c call. */
#ifndef PRELOAD_MANAGED_ZMANAGED_H
#define PRELOAD_MANAGED_ZMANAGED_H

#include "collector/python/zpyapi.h"

/* Adds allocate, pages, pause_histogram, and a __getattr__ that makes the types when one of them is first
 * asked for; collect and stats learn to serve managed objects. False with an exception set. */
bool zmanaged_add_to_module(PyObject *module);

/* The interpreter ends: drops all references that bodies hold, while modules are whole, so that finalizers run and
 * files are flushed. GIL; runs Python code. */
void zmanaged_let_go(void);

/* Around fork; in collector/managed/zmanaged.c. */
void zmanaged_fork_prepare(void);
void zmanaged_fork_parent(void);
void zmanaged_fork_child(void);

#endif
