#include "preload/zmanaged_cycles.h"

bool zmanaged_cycles_start(void) { return true; }
void zmanaged_cycles_forget(PyObject *handle) { (void)handle; }
int zmanaged_cycles_traverse(PyObject *handle, zpy_visit_t visit, void *argument) {
  (void)handle;
  (void)visit;
  (void)argument;
  return 0;
}
void zmanaged_cycles_touch(zhandle_entry_t *entry) { (void)entry; }
void zmanaged_cycles_choose(void) {}
size_t zmanaged_cycles_count(void) { return 0; }
