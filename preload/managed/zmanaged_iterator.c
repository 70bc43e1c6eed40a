#include "preload/managed/zmanaged_iterator.h"

static PyObject *itself(PyObject *self) { return zmanaged_incref(self); }

static int traverse(PyObject *self, zpy_visit_t visit, void *argument) {
  PyObject *source = ((zmanaged_iterator_t *)self)->source;
  int result = visit((PyObject *)self->type, argument);
  return result != 0 || source == NULL ? result : visit(source, argument);
}

static void dealloc(PyObject *self) {
  PyObject *type = (PyObject *)self->type, *source = ((zmanaged_iterator_t *)self)->source;
  zma.PyObject_GC_UnTrack(self);
  zma.PyObject_GC_Del(self);
  if (source != NULL) zpy.Py_DecRef(source);
  zpy.Py_DecRef(type);
}

PyTypeObject *zmanaged_iterator_type(const char *name, PyObject *(*next)(PyObject *), PyMethodDef *methods) {
  PyType_Slot slots[] = {{Py_tp_iter, itself},        {Py_tp_iternext, next},   {Py_tp_traverse, traverse},
                         {Py_tp_dealloc, dealloc},    {Py_tp_methods, methods}, {0, NULL}};
  PyType_Spec spec = {name, sizeof(zmanaged_iterator_t), 0, Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                      slots};
  return (PyTypeObject *)zma.PyType_FromSpecWithBases(&spec, NULL);
}

zmanaged_iterator_t *zmanaged_iterator_new(PyTypeObject *type, PyObject *source, int64_t next, int step) {
  zmanaged_iterator_t *iterator = (zmanaged_iterator_t *)zma._PyObject_GC_New(type);
  if (iterator == NULL) return NULL;
  iterator->source = zmanaged_incref(source);
  iterator->next = next;
  iterator->left = iterator->size = 0;
  iterator->step = (int8_t)step;
  iterator->what = 0;
  zma.PyObject_GC_Track(iterator);
  return iterator;
}

PyObject *zmanaged_iterator_end(zmanaged_iterator_t *iterator) {
  PyObject *source = iterator->source;
  iterator->source = NULL;
  zpy.Py_DecRef(source);
  return NULL;
}

PyObject *zmanaged_iterator_function(const char *name) {
  return zpy.PyDict_GetItemString(zpy.PyEval_GetBuiltins(), name);
}

PyObject *zmanaged_iterator_reduce_ended(void) {
  return zpy.Py_BuildValue("O([])", zmanaged_iterator_function("iter"));
}
