/* Suspects: handle entries that may be held by nothing but what bodies hold (preload/managed/zmanaged_cycles.h
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
 * suspect bit of its entry. Handles of its bodies that only weak references keep belong to it, too: one of them that
 * is used is an ordinary handle from then on, and the group is as good as touched. */
#ifndef COLLECTOR_MANAGED_ZSUSPECTS_H
#define COLLECTOR_MANAGED_ZSUSPECTS_H

#include "collector/managed/zmark.h"
#include "heap/managed/zhandle_table.h"

/* GIL, no mark running. False when memory is short. */
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
/* The handle becomes one that only weak references keep: no group whose bodies it was, or is, one of is what the walk
 * found. GIL. */
void zsuspects_note_weak(const zhandle_entry_t *entry);
/* A walk has ended and its results have not been cleared. */
bool zsuspects_has_results(void);
/* Forgets all, flags included. GIL. */
void zsuspects_clear(void);

/* Collector thread, once the groups are final: sorts what was found by group. Can be started again. */
void zsuspects_arrange(void (*yield)(void));

/* A group: its suspects (zsuspects_entry has their entries), the indexes of the Python references that its bodies
 * hold, the ids of the shapes whose bodies are all in it, the ids of the handles of its bodies that only weak
 * references keep. */
typedef struct {
  const uint32_t *suspects;
  size_t suspect_count;
  const uint32_t *references;
  size_t reference_count;
  const uint32_t *shapes;
  size_t shape_count;
  const uint32_t *weak;
  size_t weak_count;
} zsuspects_group_t;

/* The next group none of whose suspects has been used; each is given out once. GIL, after the mark. */
bool zsuspects_next(zsuspects_group_t *group);
zhandle_entry_t *zsuspects_entry(uint32_t suspect);

#endif
