#include "preload/zsecond_gil.h"

#include "collector/zpyapi.h"
#include "heap/base/zatomic.h"
#include "heap/zallocator.h"

#define STATE_MIN (64 * ZK) /* a PyInterpreterState has 190 KiB and more */

static size_t state_min = SIZE_MAX;
static PyThreadState *(*current_thread)(void);
static PyInterpreterState *main_interpreter; /* a part of _PyRuntime: the same for each Py_Initialize */

/* A thread's current state is of the interpreter whose GIL it holds: CPython sets it after it took the GIL and
 * takes it away before it lets it go. All threads of the main interpreter have the first GIL; others, of
 * interpreters that share it, are not told from those that do not. */
static unsigned holder(void) {
  PyThreadState *thread = current_thread();
  bool is_main = thread != NULL && zpy.PyThreadState_GetInterpreter(thread) == main_interpreter;
  return is_main ? ZALLOCATOR_FIRST : ZALLOCATOR_COMMON;
}

bool zsecond_gil_start(int minor) {
  if (minor < 12) return true;
  current_thread = zpy.PyThreadState_GetUnchecked != NULL ? zpy.PyThreadState_GetUnchecked
                                                          : zpy._PyThreadState_UncheckedGet;
  if (current_thread == NULL || zpy.PyThreadState_GetInterpreter == NULL) return false;
  state_min = STATE_MIN;
  return true;
}

void zsecond_gil_on_calloc(size_t bytes) {
  if (zlikely(bytes < state_min)) return;
  PyInterpreterState *interpreter = zpy.PyInterpreterState_Main();
  if (interpreter == NULL) return; /* the next state is the main interpreter's own */
  zstore_relaxed(&main_interpreter, interpreter);
  zallocator_close(holder);
}
