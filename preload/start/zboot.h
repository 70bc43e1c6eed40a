/* Whether and how the library is at work in this process. */
#ifndef PRELOAD_START_ZBOOT_H
#define PRELOAD_START_ZBOOT_H

#include "heap/base/zbase.h"

typedef enum {
  ZBOOT_ASLEEP,  /* not a Python process, or ZGC_ENABLE=0: nothing was touched */
  ZBOOT_PASSIVE, /* a Python process that runs as stock; zboot_reason() says why */
  ZBOOT_WAITING, /* the heap serves; the interpreter is not up yet */
  ZBOOT_ACTIVE,  /* heap and collector serve */
  ZBOOT_ENDING   /* the interpreter is being finalised */
} zboot_state_t;

zboot_state_t zboot_state(void);
const char *zboot_reason(void); /* "" when there is none */

/* A Python has been loaded into a process that had none (zlate_python.h), and has not got far yet. library: from
 * dlopen, or NULL where its names are in the global scope. Called once. */
void zboot_start_late(void *library);

#endif
