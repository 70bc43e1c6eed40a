#include "preload/managed/zmanaged_class.h"

#include <string.h>

#include "heap/base/zos.h"
#include "preload/managed/zmanaged_field.h"
#include "preload/managed/zmanaged_types.h"

zclass_t *zmanaged_class_all;

static uint32_t shape_count = 1; /* 0 is no shape */

/* ---- shapes and fields --------------------------------------------------------------------------- */

static uint64_t draw_number(void) {
  static uint64_t last;
  return ++last;
}

static uint8_t kind_of_family(zfamily_t family) {
  return family == ZFAMILY_ARRAY ? ZBODY_ARRAY : ZBODY_FIXED;
}

zclass_t *zmanaged_class_new(PyTypeObject *type, zfamily_t family) {
  zclass_t *class = zos_table_map(sizeof *class);
  if (class == NULL) {
    zma.PyErr_NoMemory();
    return NULL;
  }
  class->type = type;
  class->number = draw_number();
  class->family = (uint8_t)family;
  class->shape.use = (uint8_t)family;
  class->shape.kind = kind_of_family(family);
  class->shape.size = ZBODY_SIZE_MIN;
  class->shape.owner = class;
  return class;
}

/* Classes whose type has ended. Dead bodies of them may still lie about, and are measured by their shape; so a
 * record serves again for a class whose bodies look the same, and for no other. */
static zclass_t *dead_classes;

static bool look_alike(const zshape_t *a, const zshape_t *b) {
  return a->kind == b->kind && a->use == b->use && a->size == b->size && a->slot_count == b->slot_count &&
         memcmp(a->slot_map, b->slot_map, sizeof a->slot_map) == 0;
}

static zclass_t *take_dead(const zshape_t *shape) {
  for (zclass_t **at = &dead_classes; *at != NULL; at = &(*at)->next_dead) {
    zclass_t *dead = *at;
    if (!look_alike(&dead->shape, shape)) continue;
    *at = dead->next_dead;
    return dead;
  }
  return NULL;
}

void zmanaged_class_free(zclass_t *class) {
  if (class->fields != NULL) zos_table_unmap(class->fields, class->field_room * sizeof *class->fields);
  zos_table_unmap(class, sizeof *class);
}

void zmanaged_class_end(zclass_t *class) {
  zfield_t *fields = class->fields;
  unsigned count = class->field_count;
  class->type = NULL;
  class->fields = NULL; /* first: what ends here runs code, and the class is still tracked */
  class->field_count = 0;
  memset(class->cache, 0, sizeof class->cache);
  for (unsigned i = 0; i < count; i++) {
    zpy.Py_DecRef(fields[i].name);
    zpy_release(fields[i].initial);
  }
  if (fields != NULL) zos_table_unmap(fields, class->field_room * sizeof *fields);
  class->next_dead = dead_classes;
  dead_classes = class;
}

zclass_t *zmanaged_class_enter(zclass_t *class) {
  zclass_t *dead = take_dead(&class->shape);
  if (dead != NULL) { /* the collector reads the shape meanwhile: it stays as it is */
    memcpy((char *)dead + sizeof dead->shape, (char *)class + sizeof class->shape,
           offsetof(zclass_t, next) - sizeof class->shape);
    class->fields = NULL;
    zmanaged_class_free(class);
    return dead;
  }
  if (shape_count == ZSHAPE_MAX) {
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, "zgc: there are 65,534 kinds of managed classes, and no more can be made");
    zmanaged_class_free(class);
    return NULL;
  }
  class->shape.id = shape_count++;
  zshape_table[class->shape.id] = &class->shape;
  class->next = zmanaged_class_all;
  zmanaged_class_all = class;
  return class;
}

zshape_t *zmanaged_class_make_shape(zbody_kind_t kind) {
  static zshape_t shapes[8];
  static unsigned used;
  zshape_t *shape = &shapes[used++];
  shape->id = shape_count++;
  shape->kind = (uint8_t)kind;
  zshape_table[shape->id] = shape;
  return shape;
}

static bool type_error(const char *message) {
  zpy.PyErr_SetString(*zpy.PyExc_TypeError, message);
  return false;
}

static bool add_to_line(zclass_t *class) {
  if (class->depth + 1 == ZCLASS_LINE_MAX) return type_error("zgc: too many classes with fields, one below the other");
  class->line[++class->depth] = class->number;
  return true;
}

bool zmanaged_class_lay_out(zclass_t *class, const zclass_t *base, PyObject *fields) {
  Py_ssize_t added = zpy.PyList_Size(fields);
  size_t count = base->field_count + (size_t)added;
  class->field_room = zmax(count, 1);
  class->fields = zos_table_map(class->field_room * sizeof *class->fields);
  if (class->fields == NULL) return zma.PyErr_NoMemory() != NULL;
  uint32_t end = base->end;
  memcpy(class->line, base->line, (base->depth + 1) * sizeof *class->line);
  class->depth = base->depth;
  if (added > 0 && !add_to_line(class)) return false;
  memcpy(class->shape.slot_map, base->shape.slot_map, sizeof class->shape.slot_map);
  class->shape.slot_count = base->shape.slot_count;
  class->has_initial = base->has_initial;
  for (unsigned i = 0; i < base->field_count; i++) {
    class->fields[i] = base->fields[i];
    zpy.Py_IncRef(class->fields[i].name);
    if (class->fields[i].initial != NULL) zpy.Py_IncRef(class->fields[i].initial);
  }
  for (Py_ssize_t i = 0; i < added; i++) {
    PyObject *row = zpy.PyList_GetItem(fields, i);
    zfield_t *field = &class->fields[base->field_count + (size_t)i];
    field->name = zmanaged_incref(zpy.PyTuple_GetItem(row, 0));
    zma.PyUnicode_InternInPlace(&field->name);
    field->kind = (uint8_t)zpy.PyLong_AsLong(zpy.PyTuple_GetItem(row, 1));
    PyObject *initial = zpy.PyTuple_GetItem(row, 2);
    if (initial != fields) {
      field->initial = zmanaged_incref(initial);
      class->has_initial = true;
    }
  }
  /* Wide ones first, so that nothing is wasted between them. */
  for (unsigned size = 8; size >= 1; size /= 2) {
    for (unsigned i = base->field_count; i < count; i++) {
      zfield_t *field = &class->fields[i];
      if (zmanaged_field_sizes[field->kind] != size) continue;
      end = (uint32_t)zalign_up(end, size);
      field->offset = (uint16_t)end;
      end += size;
      if (end > ZSHAPE_WORDS_MAX * 8) {
        zpy.PyErr_SetString(*zpy.PyExc_TypeError, "zgc: too many fields in one class");
        return false;
      }
      if (field->kind == ZFIELD_REFERENCE) {
        class->shape.slot_map[field->offset / 8 / 64] |= (uint64_t)1 << (field->offset / 8 % 64);
        class->shape.slot_count++;
      }
    }
  }
  class->field_count = (unsigned)count;
  class->end = end;
  class->shape.size = (uint32_t)zmax(zalign_up(end, 8), ZBODY_SIZE_MIN);
  return true;
}

/* ---- life of a class ----------------------------------------------------------------------------- */

void zmanaged_class_note_use(zclass_t *class) {
  class->alloc_seq = zbody_space.number;
  if (!class->is_held) {
    class->is_held = true;
    zpy.Py_IncRef((PyObject *)class->type);
  }
}

void zmanaged_class_release_unused(void) {
  /* A class whose bodies all died before the last full mark. seen_seq is stored by marking. */
  static uint64_t done;
  static uint32_t last_full_seq;
  uint64_t full = zload_relaxed(&zmanaged_stat_values.full_collections);
  if (full == done || zmanaged_phase() != ZMANAGED_IDLE) return;
  done = full;
  last_full_seq = zmanaged_last_full_seq();
  for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
    if (class->type == NULL || !class->is_held || class->alloc_seq >= last_full_seq) continue;
    if (zload_relaxed(&class->shape.seen_seq) >= last_full_seq) continue;
    class->is_held = false;
    zpy.Py_DecRef((PyObject *)class->type);
  }
}

void zmanaged_class_let_go(void) {
  for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
    if (class->type == NULL || !class->is_held || class->alloc_seq == UINT32_MAX) continue;
    class->is_held = false;
    zpy.Py_DecRef((PyObject *)class->type);
  }
}

const zfield_t *zmanaged_class_find(const zclass_t *class, PyObject *name) {
  for (unsigned i = 0; i < class->field_count; i++) {
    if (class->fields[i].name == name) return &class->fields[i];
  }
  if ((PyObject *)name->type != zma.PyUnicode_Type) return NULL;
  for (unsigned i = 0; i < class->field_count; i++) {
    if (zma.PyUnicode_Compare(class->fields[i].name, name) == 0) return &class->fields[i];
  }
  return NULL;
}

zclass_t *zmanaged_class_twin(const zclass_t *class) {
  zclass_t *twin = zmanaged_class_new(class->type, (zfamily_t)class->family);
  if (twin == NULL) return NULL;
  twin->shape.size = class->shape.size;
  twin->shape.slot_map[0] = class->shape.slot_map[0];
  twin->shape.slot_count = class->shape.slot_count;
  twin->end = class->end;
  twin->line[0] = class->line[0];
  return zmanaged_class_enter(twin);
}
