/* Runs a Python callable in a signal handler, on an alternate stack of `size` bytes with a guard below. The signal is
 * raised by the caller, who holds the GIL. */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>

/* volatile: the compiler thinks that raise calls nothing here. */
static void *(*volatile call)(void *callable);
static void *volatile callable, *volatile result;

static void handler(int number) {
  (void)number;
  result = call(callable);
}

/* `function` is PyObject_CallNoArgs. */
void *run_on_alternate_stack(size_t size, void *function, void *object) {
  size_t room = (size + 4095) & ~(size_t)4095;
  char *memory = mmap(NULL, 4096 + room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, 4096, PROT_NONE) != 0) return NULL;
  stack_t stack = {.ss_sp = memory + 4096, .ss_size = size}, before;
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK}, old;
  if (sigaltstack(&stack, &before) != 0) return NULL;
  sigaction(SIGUSR1, &action, &old);
  call = (void *(*)(void *))function;
  callable = object;
  result = NULL;
  raise(SIGUSR1);
  sigaction(SIGUSR1, &old, NULL);
  sigaltstack(&before, NULL);
  munmap(memory, 4096 + room);
  return result;
}
