#include "collector/cpython/zpending.h"

#include "heap/base/zatomic.h"
#include "heap/base/zos.h"

#define WAIT_NS 20000u
#define CAPSULE "zgcpreload.end"

static bool is_open;      /* written by the GIL's holder */
static unsigned visitors; /* between enter and leave; any thread */

void zpending_wait(void) {
  while (zload_seq_cst(&visitors) != 0) zos_sleep_ns(WAIT_NS);
}

static void close(PyObject *capsule) {
  (void)capsule;
  zstore_seq_cst(&is_open, false);
  zpending_wait();
}

bool zpending_open(void) {
  if (zload_relaxed(&is_open)) return true;
  PyObject *dict = zpy.PyInterpreterState_GetDict(zpy.PyInterpreterState_Main());
  PyObject *capsule = dict == NULL ? NULL : zpy.PyCapsule_New(&is_open, CAPSULE, close);
  bool watched = capsule != NULL && zpy.PyDict_SetItemString(dict, CAPSULE, capsule) == 0;
  if (watched) zstore_seq_cst(&is_open, true);
  if (capsule != NULL) zpy.Py_DecRef(capsule);
  zpy.PyErr_Clear();
  return watched;
}

void zpending_fork_child(void) { zstore_relaxed(&visitors, 0); }

bool zpending_enter(void) {
  __atomic_fetch_add(&visitors, 1, __ATOMIC_SEQ_CST);
  if (zload_seq_cst(&is_open)) return true;
  zpending_leave();
  return false;
}

void zpending_leave(void) { __atomic_fetch_sub(&visitors, 1, __ATOMIC_SEQ_CST); }

bool zpending_add(int (*call)(void *)) { return zpy.Py_AddPendingCall(call, NULL) == 0; }
