/* A group: bodies that only suspects reach, as one object of Python's gc, the proxy (zmanaged_cycles.h). It visits what
 * the bodies hold, and the handles of the group visit it. It ends with the last of them, or is dissolved when the
 * program uses one. GIL. */
#ifndef PRELOAD_MANAGED_ZMANAGED_GROUP_H
#define PRELOAD_MANAGED_ZMANAGED_GROUP_H

#include "preload/managed/zmanaged_handle.h"

/* Stands for the bodies of a group in the eyes of Python's gc. */
typedef struct zmanaged_group {
  PyObject base;
  struct zmanaged_group *next, *previous; /* groups that exist */
  /* In one block of malloc's memory, which begins with the handles. */
  zhandle_t **handles;
  zclass_t **classes;
  zhandle_t **weak;     /* handles of its bodies that only weak references keep: the group has the count of each */
  uint32_t *references; /* indexes into the table of Python references */
  size_t handle_count, class_count, weak_count, reference_count;
  bool is_new; /* not judged by itself yet */
} zmanaged_group_t;

extern zmanaged_group_t *zmanaged_groups; /* new ones first */
size_t zmanaged_group_count(void);

bool zmanaged_group_start(void); /* false with an exception set */

/* The next group that the last full mark has found becomes visible to Python's gc. False: none was left. formed: NULL
 * where memory is short. zmanaged_group_prepare comes first: false where there is no memory for any. On 3.11 this may
 * run Python code, before it looks at the group. */
bool zmanaged_group_prepare(void);
bool zmanaged_group_form(const zmanaged_group_t **formed);
/* The bodies take their references back. Runs no Python code. */
void zmanaged_group_dissolve(zmanaged_group_t *group);

/* A tracked handle is being deallocated. */
void zmanaged_group_forget(PyObject *handle);
/* A handle is being used: its group, if it has one, is dissolved. */
void zmanaged_group_touch(zhandle_entry_t *entry);
int zmanaged_group_traverse(PyObject *handle, zpy_visit_t visit, void *argument);
/* A group visits this reference: where one of its handles has ended, some of its bodies may be found dead. */
bool zmanaged_group_keeps(uint32_t reference);

#endif
