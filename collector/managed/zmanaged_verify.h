/* Verify mode of the managed heap: with the world stopped, everything reachable is walked and checked
 * against what the current phase promises. */
#ifndef COLLECTOR_MANAGED_ZMANAGED_VERIFY_H
#define COLLECTOR_MANAGED_ZMANAGED_VERIFY_H

#include "barrier/zcolor.h"
#include "heap/base/zbase.h"

/* Bodies checked. False, with a message, where something is wrong. GIL, collector threads parked. */
bool zmanaged_verify(uint64_t *bodies, char *message, size_t size);

/* Where a word's body is, without moving it: a stale address whose table has no entry yet stays. World stopped. */
zaddress_t zmanaged_peek(zcolored_t word);

#endif
