/* The two callback lists: the interpreter's, in which our callable is alone, and the one that users
 * see as gc.callbacks, to which it forwards. Users may fill, clear or replace theirs freely.
 * GIL held. */
#ifndef COLLECTOR_PYTHON_ZCALLBACKS_H
#define COLLECTOR_PYTHON_ZCALLBACKS_H

#include "collector/python/zpyabi.h"

/* Puts `callable` into the interpreter's list and moves what stood there to the users' list. False
 * when memory is short. */
bool zcallbacks_install(PyObject *gc_module, PyObject *callable);
/* Shows the users' list in another gc module, too. */
void zcallbacks_show(PyObject *gc_module);
/* Gives the interpreter's list back to gc.callbacks, with what the users' list holds. */
void zcallbacks_remove(PyObject *gc_module);

/* What a collection is reported as. */
typedef struct {
  long generation, collected, uncollectable;
} zcallbacks_report_t;

/* The numbers in `info`. */
zcallbacks_report_t zcallbacks_read(PyObject *info);

/* Calls the users' callbacks with the numbers of `report` in place of those in `info`. */
void zcallbacks_forward(PyObject *phase, PyObject *info, const zcallbacks_report_t *report);

/* While lent, CPython calls the users' callbacks by itself, and ours not at all: for a collection that is CPython's
 * own from start to stop. GIL held; the lists are exchanged, and each keeps a reference from where it stands, so an
 * interpreter that ends in the midst of it finds one that it may give up. */
void zcallbacks_lend(void);
void zcallbacks_take_back(void);

/* Whether the users' list is empty. */
bool zcallbacks_are_none(void);

/* A number of the info dict, 0 when it is absent. */
long zcallbacks_number(PyObject *info, const char *key);

#endif
