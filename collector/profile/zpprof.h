/* A snapshot of the allocation profile in pprof's format (profile.proto), compressed.
 *
 * Sample types: alloc_objects, alloc_space, inuse_objects, inuse_space, and lifetime: nanoseconds
 * that freed objects lived, in all (divided by alloc_objects - inuse_objects: the mean). Each stack
 * has a sample for every age at which something of it was freed, and one for what is alive, told
 * apart by the label "lifetime". Native places have their mapping with its build id, so that pprof can
 * name what the loader's symbols do not; Python places have no mapping. */
#ifndef COLLECTOR_PROFILE_ZPPROF_H
#define COLLECTOR_PROFILE_ZPPROF_H

#include "collector/profile/zprofile.h"
#include "heap/base/zbuffer.h"

/* All names and lines must have been asked for. False: no memory. */
bool zpprof_write(const zprofile_snapshot_t *snapshot, zbuffer_t *out);

#endif
