#include "collector/python/zbuiltin.h"

#include <string.h>

#include "collector/python/zpyabi.h"

#define ENTRIES_MAX 500 /* CPython has about 70, all of its standard library linked in 200 */
#define SLOTS_MAX 16
#define SLOT_EXEC 2 /* Py_mod_exec */

/* Written before initialisation, then by the GIL's holder. */
static zbuiltin_t table[ENTRIES_MAX + 2];
static PyObject *(*extended_init)(void);
static int (*extension)(PyObject *module);
static PyModuleDef extended_definition;
static PyModuleDef_Slot extended_slots[SLOTS_MAX + 2];

static zbuiltin_t **cpythons_table(void) { return (zbuiltin_t **)zpy.PyImport_Inittab; }

static zbuiltin_t *find(zbuiltin_t *entry, const char *name) {
  while (entry->name != NULL && strcmp(entry->name, name) != 0) entry++;
  return entry->name == NULL ? NULL : entry;
}

static bool is_definition(PyObject *made) { return zpyabi_type(made) == zpy.PyModuleDef_Type; }

static bool is_extended; /* released once the definition is whole; who made it at once with another wrote the same */

/* CPython's definition of the module with one more slot. From 3.12 on, interpreters with a GIL of their own may
 * come here together. */
static PyObject *extend(PyModuleDef *definition) {
  if (zload_acquire(&is_extended)) return (PyObject *)&extended_definition;
  size_t count = 0;
  const PyModuleDef_Slot *slots = definition->m_slots;
  while (slots != NULL && slots[count].slot != 0 && count < SLOTS_MAX) {
    extended_slots[count] = slots[count];
    count++;
  }
  if (count == SLOTS_MAX) return (PyObject *)definition;
  extended_slots[count] = (PyModuleDef_Slot){SLOT_EXEC, (void *)extension};
  extended_definition = *definition;
  extended_definition.m_slots = extended_slots;
  zstore_release(&is_extended, true);
  return (PyObject *)&extended_definition;
}

static PyObject *init_extended(void) {
  PyObject *made = extended_init();
  if (made == NULL) return NULL;
  if (is_definition(made)) return extend((PyModuleDef *)made);
  return extension(made) == 0 ? made : NULL; /* initialised in one step */
}

void zbuiltin_restart(void) {
  if (table[0].name != NULL) *cpythons_table() = table;
}

void zbuiltin_start(zbuiltin_t added, const char *extended, int (*exec)(PyObject *module)) {
  size_t count = 0;
  const zbuiltin_t *theirs = *cpythons_table();
  while (theirs[count].name != NULL && count < ENTRIES_MAX) count++;
  if (count == ENTRIES_MAX) {
    zpy.PyImport_AppendInittab(added.name, added.init);
    return;
  }
  memcpy(table, theirs, count * sizeof table[0]);
  table[count] = added;
  zbuiltin_t *entry = find(table, extended);
  if (entry != NULL) {
    extended_init = entry->init;
    extension = exec;
    entry->init = init_extended;
  }
  zbuiltin_restart();
}

/* As importlib does it; the specification says no more than a name. */
static PyObject *make(PyModuleDef *definition, const char *name) {
  PyObject *text = zpy.PyUnicode_FromString(name);
  PyObject *specification = text == NULL ? NULL : zpy.PyModule_NewObject(text), *module = NULL;
  if (specification != NULL && zpy.PyObject_SetAttrString(specification, "name", text) == 0) {
    module = zpy.PyModule_FromDefAndSpec2(definition, specification, PYTHON_API_VERSION);
  }
  if (module != NULL && zpy.PyModule_ExecDef(module, definition) != 0) {
    zpy.Py_DecRef(module);
    module = NULL;
  }
  if (text != NULL) zpy.Py_DecRef(text);
  if (specification != NULL) zpy.Py_DecRef(specification);
  return module;
}

PyObject *zbuiltin_loaded(const char *name) {
  PyObject *modules = zpy.PyImport_GetModuleDict();
  PyObject *there = modules == NULL ? NULL : zpy.PyDict_GetItemString(modules, name);
  if (there == NULL || zpyabi_type(there) != zpy.PyModule_Type) return NULL;
  zpy.Py_IncRef(there);
  return there;
}

/* The GIL's holder. The name is a literal. */
static struct {
  bool is_on;
  const char *name;
  PyObject *module;
} kept;

void zbuiltin_keep(void) { kept.is_on = true; }

static void let_go(void) {
  if (kept.module != NULL) zpy.Py_DecRef(kept.module);
  kept.module = NULL;
}

void zbuiltin_let_go(void) {
  let_go();
  kept.is_on = false;
}

static PyObject *keep(const char *name, PyObject *made) {
  if (!kept.is_on || made == NULL) return made;
  let_go();
  kept.name = name;
  kept.module = made;
  zpy.Py_IncRef(made);
  return made;
}

PyObject *zbuiltin_module(const char *name) {
  PyObject *there = zbuiltin_loaded(name);
  if (there != NULL) return there;
  if (kept.module != NULL && strcmp(kept.name, name) == 0) {
    zpy.Py_IncRef(kept.module);
    return kept.module;
  }
  const zbuiltin_t *entry = find(*cpythons_table(), name);
  PyObject *made = entry == NULL || entry->init == NULL ? NULL : entry->init();
  if (made != NULL && is_definition(made)) made = make((PyModuleDef *)made, name);
  if (made == NULL && zpy.PyErr_Occurred() == NULL) {
    zpy.PyErr_Format(*zpy.PyExc_RuntimeError, "the interpreter has no built-in module %s", name);
  }
  return keep(name, made);
}
