#include "preload/module/zprofiling.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collector/python/zbuiltin.h"
#include "collector/profile/zprofile.h"
#include "collector/profile/zprofile_dump.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"

#define SIGNAL_DEFAULT "USR2"

/* -- the signal ---------------------------------------------------------------------------------------
 * The handler is one of Python's own: CPython's C handler notes the signal (async-signal-safe, wakes
 * what sleeps in a system call), and ours runs in the main thread where Python code may. signal.signal
 * and signal.getsignal know it, so that a program that sets, saves or restores a handler gets what it
 * expects. */

static PyObject *on_signal(PyObject *self, PyObject *arguments) {
  (void)self;
  (void)arguments;
  zprofile_dump_quietly();
  return zpy_new_none();
}

static PyMethodDef signal_def = {"zgc_dump_profile", on_signal, METH_VARARGS,
                                 "Writes the allocation profile (ZGC_PROFILE_SIGNAL)."};

/* The reason why it cannot be, or NULL. */
static const char *install(PyObject *module, PyObject *number) {
  PyObject *now = zpy.PyObject_CallMethod(module, "getsignal", "O", number);
  PyObject *unset = zpy.PyObject_GetAttrString(module, "SIG_DFL");
  bool is_free = now != NULL && now == unset;
  const char *wrong = now == NULL ? "no such signal" : is_free ? NULL : "it has a handler, or is ignored";
  if (now != NULL) zpy.Py_DecRef(now);
  if (unset != NULL) zpy.Py_DecRef(unset);
  if (wrong != NULL) return wrong;
  PyObject *handler = zpy.PyCFunction_NewEx(&signal_def, NULL, NULL);
  PyObject *done = handler == NULL
                       ? NULL : zpy.PyObject_CallMethod(module, "signal", "OO", number, handler);
  if (handler != NULL) zpy.Py_DecRef(handler);
  if (done != NULL) zpy.Py_DecRef(done);
  return done == NULL ? "no handler can be set for it" : NULL;
}

/* The number of "USR2", "SIGUSR2" or "12". */
static PyObject *number_of(PyObject *module, const char *text) {
  char name[32];
  int number, length = 0;
  if (sscanf(text, "%d%n", &number, &length) == 1 && text[length] == '\0') return zpy.PyLong_FromLong(number);
  snprintf(name, sizeof name, "%s%s", strncmp(text, "SIG", 3) == 0 ? "" : "SIG", text);
  return zpy.PyObject_GetAttrString(module, name);
}

static void install_signal(void) {
  const char *text = zoption_text(profile_signal);
  if (text[0] == '\0') text = SIGNAL_DEFAULT;
  if (strcmp(text, "0") == 0) return;
  PyObject *module = zbuiltin_module("_signal");
  PyObject *number = module == NULL ? NULL : number_of(module, text);
  const char *wrong = number == NULL ? "a name as in USR2, a number, or 0 for none" : install(module, number);
  zpy.PyErr_Clear();
  if (number != NULL) zpy.Py_DecRef(number);
  if (module != NULL) zpy.Py_DecRef(module);
  if (wrong != NULL) {
    zlog_notice("ZGC_PROFILE_SIGNAL=%.100s cannot be used (%s); the profile is written at the end and by "
                "zgc.dump_profile()", text, wrong);
  }
}

/* -- begin, end ------------------------------------------------------------------------------------------ */

void zprofiling_begin(void) {
  zprofile_interpreter_started();
  install_signal();
}

void zprofiling_end(void) {
  if (!zprofile_is_on()) return;
  zprofile_dump_quietly();
  zpyabi_frames_stop();
}

/* -- zgc.dump_profile --------------------------------------------------------------------------------------- */

PyObject *zprofiling_dump(PyObject *self, PyObject *arguments, PyObject *keywords) {
  (void)self;
  static char *names[] = {"path", NULL};
  PyObject *given = NULL, *bytes = NULL;
  if (!zpy.PyArg_ParseTupleAndKeywords(arguments, keywords, "|O:dump_profile", names, &given)) return NULL;
  if (!zprofile_is_on()) {
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError,
                        "there is no allocation profile: start the program with ZGC_PROFILE=path");
    return NULL;
  }
  bool has_path = given != NULL && given != zpy_None();
  if (has_path && !zpy.PyUnicode_FSConverter(given, &bytes)) return NULL;
  const char *written;
  int error = zprofile_dump(has_path ? zpy.PyBytes_AsString(bytes) : NULL, &written);
  if (bytes != NULL) zpy.Py_DecRef(bytes);
  if (error == 0) return zpy.PyUnicode_DecodeFSDefault(written);
  errno = -error;
  return zpy.PyErr_SetFromErrnoWithFilename(*zpy.PyExc_OSError, written);
}
