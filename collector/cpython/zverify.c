#include "collector/cpython/zverify.h"

#include "collector/cpython/zmode.h"
#include "collector/cpython/zsafepoint.h"
#include "collector/python/zbuiltin.h"
#include "collector/python/zcallbacks.h"
#include "collector/python/zpyabi.h"
#include "heap/base/zlog.h"
#include "heap/zallocator.h"
#include "heap/zheap_report.h"
#include "heap/zold_map.h"

#define ROUNDS 30
#define TURN_S 0.1

/* Other threads get their turn after `seconds` (NULL: those of TURN_S). The interval before, or
 * NULL. No more than a moment: who waits already does so for the old time, or the new one. */
static PyObject *set_turns(PyObject *seconds) {
  PyObject *sys = zbuiltin_module("sys"), *before = NULL, *done = NULL;
  if (sys != NULL) before = zpy.PyObject_CallMethod(sys, "getswitchinterval", NULL);
  if (before != NULL) {
    done = seconds != NULL ? zpy.PyObject_CallMethod(sys, "setswitchinterval", "O", seconds)
                           : zpy.PyObject_CallMethod(sys, "setswitchinterval", "d", TURN_S);
  }
  if (done != NULL) zpy.Py_DecRef(done);
  if (sys != NULL) zpy.Py_DecRef(sys);
  zpy.PyErr_Clear();
  return before;
}

/* Once ours finds nothing, what CPython's own full collection finds right afterwards is what our passes
 * miss: nothing of the program can have run in between. Before that, finalizers have, and with them
 * other threads may have. With gc.callbacks, which make garbage of their own, a second look is taken.
 * Objects missed, or -1 with an exception. */
static Py_ssize_t count_missed(void) {
  for (int round = 0; round < ROUNDS; round++) {
    Py_ssize_t ours = zsafepoint_full_collect(ZCAUSE_EXPLICIT);
    if (ours < 0 && zpy.PyErr_Occurred() != NULL) return -1;
    if (ours > 0) continue;
    Py_ssize_t missed = zsafepoint_stock_collect(ZGC_GENERATIONS - 1);
    if (ours < 0) return 0; /* it could not be done, which is no miss */
    if (missed <= 0 || zcallbacks_are_none()) return missed;
  }
  zlog_info("gc", "verification: new garbage in each of %d rounds", ROUNDS);
  return 0;
}

Py_ssize_t zverify(void) {
  char message[160];
  if (!zheap_report_verify(message, sizeof message)) {
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, message);
    return -1;
  }
  if (!zmode_is_on()) return (Py_ssize_t)zold_map_count;
  PyObject *turns = set_turns(NULL);
  Py_ssize_t missed = count_missed();
  if (turns != NULL && missed >= 0) {
    PyObject *ours = set_turns(turns);
    if (ours != NULL) zpy.Py_DecRef(ours);
  }
  if (turns != NULL) zpy.Py_DecRef(turns);
  if (missed < 0) return -1;
  if (missed > 0) {
    zpy.PyErr_Format(*zpy.PyExc_RuntimeError,
                     "CPython's own collection found %zd objects of garbage that ours missed",
                     missed);
    return -1;
  }
  return (Py_ssize_t)zold_map_count;
}
