/* Whether and how the library is at work in this process.
 *
 *   ASLEEP    not a Python process: nothing was touched
 *   PASSIVE   a Python process that runs as stock; the reason is told
 *   WAITING   the heap serves; the interpreter is not up yet
 *   ACTIVE    heap and collector serve
 *   ENDING    the interpreter is being finalised; another one may come up in this process
 *
 * ASLEEP -> PASSIVE <-> WAITING -> ACTIVE -> ENDING -> WAITING
 *
 * Written where there is no interpreter yet, by one thread, and then with the GIL held. Read by any thread. */
#ifndef PRELOAD_START_ZSTAGE_H
#define PRELOAD_START_ZSTAGE_H

#include "heap/base/zbase.h"

typedef enum { ZSTAGE_ASLEEP, ZSTAGE_PASSIVE, ZSTAGE_WAITING, ZSTAGE_ACTIVE, ZSTAGE_ENDING } zstage_t;

#define ZSTAGE_COUNT (ZSTAGE_ENDING + 1)

bool zstage_is_legal(zstage_t from, zstage_t to);

zstage_t zstage(void);
void zstage_enter(zstage_t to); /* a legal one */
void zstage_become_passive(const char *why);

/* Why we are not active, "" when there is no reason to tell. GIL, or no interpreter yet. */
const char *zstage_reason(void);
void zstage_tell(const char *why); /* where the stage stays */

#endif
