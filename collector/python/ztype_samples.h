/* Samples that walkers are proven on: objects with every field set, in every layout that a walker tells
 * apart. The program can neither influence nor notice them:
 *   - they are made by the C API and by the types' own tp_new and tp_init. No Python code is compiled or
 *     run, nothing is imported, no name is looked up in the program's frames or modules. So there are no
 *     audit events, no events of code, function, type or dict watchers, no frames for tracers, and signals
 *     stay pending;
 *   - a function, and each other object that would be seen being made, is not made at all: its type's
 *     tp_traverse is shown a block of memory in which each word leads somewhere else;
 *   - all are gone before the caller goes on: classes by their type's own tp_clear, which is what a
 *     collection of CPython's would do to them.
 * GIL held, and no collection can start (zgc_state.collecting is set): it would meet them. */
#ifndef COLLECTOR_PYTHON_ZTYPE_SAMPLES_H
#define COLLECTOR_PYTHON_ZTYPE_SAMPLES_H

#include "collector/python/ztype_table.h"

/* What is done with a sample, whose type has this kind of walker. Every field of a type's first sample is set, to
 * objects that occur nowhere else in it. */
typedef void (*ztype_learn_t)(PyObject *sample, ztype_kind_t kind);

/* Containers and classes. False when some could not be made (memory was short, or the stack): call again
 * later, what was proven stays so. */
bool ztype_samples_prove_core(ztype_learn_t learn);

/* Is this a type of the interpreter's own that is proven when the first instance is met? */
bool ztype_samples_know(const zpyabi_type_t *type);
/* Proves it; its entry is registered. False as above. */
bool ztype_samples_prove(PyTypeObject *type, ztype_learn_t learn);

#endif
