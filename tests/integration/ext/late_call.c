/* Preloaded before the library, in front of a libpython: a pending call that another thread adds is held up
 * just before it reaches CPython, until the main thread is well into the interpreter's end. Is there still an
 * interpreter then? */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#define HELD_US 300000

int late_call_state; /* test_pending_calls.py waits for HELD */
enum { NONE, HELD, DONE };

int Py_AddPendingCall(int (*call)(void *), void *argument) {
  int (*original)(int (*)(void *), void *) =
      (int (*)(int (*)(void *), void *))dlsym(RTLD_NEXT, "Py_AddPendingCall");
  void *(*interpreter)(void) = (void *(*)(void))dlsym(RTLD_NEXT, "PyInterpreterState_Head");
  if (gettid() == getpid() || __atomic_load_n(&late_call_state, __ATOMIC_SEQ_CST) != NONE) {
    return original(call, argument);
  }
  __atomic_store_n(&late_call_state, HELD, __ATOMIC_SEQ_CST);
  usleep(HELD_US);
  int there = interpreter() != NULL;
  dprintf(STDOUT_FILENO, "%s\n", there ? "there" : "gone");
  int result = there ? original(call, argument) : 0;
  __atomic_store_n(&late_call_state, DONE, __ATOMIC_SEQ_CST);
  return result;
}

/* After the interpreter's end, on the way out of the process. */
__attribute__((destructor)) static void wait_for_call(void) {
  while (__atomic_load_n(&late_call_state, __ATOMIC_SEQ_CST) == HELD) usleep(1000);
}
