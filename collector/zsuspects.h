/* Suspects: handle entries that may be held by nothing but what bodies hold (preload/zmanaged_cycles.h
 * tells the whole story). This part finds out which bodies only suspects reach, and groups them.
 *
 * A full mark leaves suspects out of its roots. When it has reached everything else, in its first
 * mark-end pause, the unreached bodies are those reachable from suspects only, and garbage. From then
 * until zsuspects_end the live map changes by the walk here alone: what barriers record waits in a
 * list instead of being marked. The walk starts from each suspect and unites those that meet. What
 * the program touched or overwrote meanwhile is walked too, as belonging to group 0, which means
 * "in use": whatever unites with it is no group. A pause in which nothing waits ends the walk.
 *
 * So a group is a set of bodies that at that pause could be reached only through its own suspects,
 * none of which had been touched since the mark's start; and each later use of one of them passes the
 * suspect bit of its entry. */
#ifndef COLLECTOR_ZSUSPECTS_H
#define COLLECTOR_ZSUSPECTS_H

#include "collector/zmark.h"
#include "heap/zhandle_table.h"

#define ZSUSPECTS_MAX 1024

/* GIL, no mark running. False when there are too many. */
bool zsuspects_add(zhandle_entry_t *entry);
size_t zsuspects_count(void);

/* Pause, all else marked: is there something to group? */
bool zsuspects_begin(void);
/* Collector thread. */
void zsuspects_walk(void (*yield)(void));
/* Pause: true when the groups are final. */
bool zsuspects_end(void);
/* Is the walk on? Then barriers record to zsuspects_record. */
bool zsuspects_is_walking(void);
void zsuspects_record(const zaddress_t *bodies, size_t count);
/* A walk has ended and its results have not been cleared. */
bool zsuspects_has_results(void);
/* Forgets all, flags included. GIL. */
void zsuspects_clear(void);

/* Results, after the mark: group of the i-th suspect (0: none), of the i-th Python reference found, of the
 * i-th shape whose bodies are all in one group. */
uint32_t zsuspects_group(size_t i, zhandle_entry_t **entry);
bool zsuspects_reference(size_t i, uint32_t *index, uint32_t *group);
bool zsuspects_shape(size_t i, zshape_t **shape, uint32_t *group);

#endif
