/* Preloaded before the library under test: a clock that does what CLOCK says.
 *   still  the time that it first was
 *   back   a tenth of a second back at each 1000th look
 *   jumps  an hour on, or two back, at each 1000th look, by turns */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct timespec first[16];
static unsigned looks;

int clock_gettime(clockid_t clock, struct timespec *now) {
  int error = (int)syscall(SYS_clock_gettime, clock, now);
  const char *wish = getenv("CLOCK");
  if (error != 0 || wish == NULL || clock < 0 || clock >= 16) return error;
  unsigned round = __atomic_add_fetch(&looks, 1, __ATOMIC_RELAXED) / 1000;
  if (strcmp(wish, "still") == 0) {
    if (first[clock].tv_sec == 0) first[clock] = *now;
    *now = first[clock];
  } else if (strcmp(wish, "back") == 0) {
    now->tv_sec += 100000 - round / 10;
  } else {
    now->tv_sec += 100000 + (round % 2 ? 3600 : -3600);
  }
  return 0;
}
