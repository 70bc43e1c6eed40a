/* The gc module as users see it over our collector: functions that show and take what the user
 * expects, whatever the inner values are. GIL held. */
#ifndef PRELOAD_MODULE_ZGC_FACADE_H
#define PRELOAD_MODULE_ZGC_FACADE_H

#include "collector/python/zpyapi.h"

/* Replaces the functions of the gc module, and two of sys, that the library answers itself (zgc_facade.c). A function
 * that cannot be replaced stays the interpreter's own. */
void zgc_facade_install(void);
/* Puts ours into a gc module that is being made, if it is the main interpreter's: for zbuiltin_start. Always 0. */
int zgc_facade_adopt(PyObject *module);
void zgc_facade_remove(void);

#endif
