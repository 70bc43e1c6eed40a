/* Managed classes: zgc.Object's metaclass, and what it knows of each class.
 *
 * A class statement runs the metaclass's tp_new: zmanaged.py reads annotations and __fields__, the
 * type is made with empty __slots__ (so instances are plain handles, whatever the class), and the
 * generic deallocator and traversal that CPython installs are replaced by ours. The fields become
 * descriptors in the class (zmanaged_field.h).
 *
 * Which bodies have the fields that a class declares is fixed when classes are made, and is no matter of
 * types: types change (__bases__ and __class__ are assigned, a metaclass makes an order of its own). Each
 * class that adds fields has a number that no other ever gets; a class knows those numbers, the eldest first,
 * of which its bodies consist. An access compares with the body's shape, so it is right or an exception.
 *
 * A body's shape outlives its class: dead bodies may still lie about. A class is held while bodies of it
 * may live, although they do not count as references to it. GIL. */
#ifndef PRELOAD_MANAGED_ZMANAGED_CLASS_H
#define PRELOAD_MANAGED_ZMANAGED_CLASS_H

#include "collector/managed/zmanaged.h"
#include "preload/managed/zmanaged_api.h"

typedef enum { /* of a field; zmanaged.py has the same numbers */
  ZFIELD_REFERENCE, ZFIELD_I8, ZFIELD_I16, ZFIELD_I32, ZFIELD_I64,
  ZFIELD_U8, ZFIELD_U16, ZFIELD_U32, ZFIELD_U64, ZFIELD_F32, ZFIELD_F64, ZFIELD_BOOL, ZFIELD_KINDS
} zfield_kind_t;

typedef struct {
  PyObject *name; /* interned */
  uint16_t offset;
  uint8_t kind;
  PyObject *initial; /* value of a field with a default, or NULL */
} zfield_t;

#define ZCLASS_CACHE 256

/* Fields by name: a hash table by the address of the name, because names in code are interned. The empty
 * place that ends a search has no name. */
typedef struct {
  PyObject *name;
  uint16_t offset;
  uint8_t kind;
  uint32_t shape; /* the bodies that have it there */
} zclass_cache_t;

/* What the methods of a body rely on. */
typedef enum { ZFAMILY_OBJECT = 1, ZFAMILY_ARRAY, ZFAMILY_LIST, ZFAMILY_DICT, ZFAMILY_RAW } zfamily_t;

#define ZCLASS_LINE_MAX 64 /* classes with fields, one below the other */

typedef struct zclass {
  zshape_t shape;
  PyTypeObject *type; /* owned while is_held */
  bool is_held;
  bool has_initial;
  uint8_t family;     /* zfamily_t */
  uint8_t element;    /* zfield_kind_t, of an array of numbers */
  uint32_t end;       /* FIXED: of the last field; fields of a subclass come after it */
  uint64_t number;    /* no other class ever gets it */
  unsigned depth;     /* of the last one in line */
  uint64_t line[ZCLASS_LINE_MAX]; /* numbers of the classes that laid out a body of this one */
  uint32_t alloc_seq; /* collection number of the last allocation */
  unsigned field_count;
  zfield_t *fields;   /* inherited ones first */
  size_t field_room;
  zclass_cache_t cache[ZCLASS_CACHE];
  struct zclass *next; /* all classes; what comes before, but for the shape, is of the present type */
  struct zclass *next_dead;
} zclass_t;

extern zhidden PyTypeObject *zmanaged_meta_type;
extern zclass_t *zmanaged_class_all;
extern zhidden size_t zmanaged_class_offset; /* of the zclass_t pointer in a type made by our metaclass */

/* Of a type made by our metaclass; NULL while it is being made. */
static inline zclass_t *zmanaged_class_of(PyTypeObject *type) {
  return *(zclass_t **)((char *)type + zmanaged_class_offset);
}
/* Do bodies of `class` have what the class with this number laid out at this depth? */
static inline bool zmanaged_class_has(const zclass_t *class, unsigned depth, uint64_t number) {
  return depth <= class->depth && class->line[depth] == number;
}

/* The field that an attribute's name means, if it is known without a search through the types. */
static inline const zclass_cache_t *zmanaged_class_cached(const zclass_t *class, PyObject *name) {
  const zclass_cache_t *entry = &class->cache[((uintptr_t)name >> 4) % ZCLASS_CACHE];
  while (zunlikely(entry->name != name)) {
    if (entry->name == NULL) return NULL;
    entry = entry == &class->cache[ZCLASS_CACHE - 1] ? class->cache : entry + 1;
  }
  return entry;
}

/* The field that an argument of the constructor means, or NULL. */
const zfield_t *zmanaged_class_find(const zclass_t *class, PyObject *name);

/* A body was made; and, now and then: the classes' own references are dropped where no body is left,
 * which may run Python code. */
void zmanaged_class_note_use(zclass_t *class);
void zmanaged_class_release_unused(void);
/* The interpreter ends: drops all of them, whether bodies are left or not. A body whose class has ended reads as
 * None. */
void zmanaged_class_let_go(void);

/* Another shape for bodies of the same type: it shares all but what the caller changes. */
zclass_t *zmanaged_class_twin(const zclass_t *class);

/* An internal shape without handles. */
zshape_t *zmanaged_class_make_shape(zbody_kind_t kind);

/* A record that is not entered yet: what its bodies look like is not known. NULL with an exception set. */
zclass_t *zmanaged_class_new(PyTypeObject *type, zfamily_t family);
void zmanaged_class_free(zclass_t *class); /* one that was not entered */
/* fields: list of (name, kind, default or the list itself) in order. False with an exception set. */
bool zmanaged_class_lay_out(zclass_t *class, const zclass_t *base, PyObject *fields);
/* Enters one that is laid out: its record from now on, or NULL with an exception set, and it is gone. */
zclass_t *zmanaged_class_enter(zclass_t *class);
/* The type of an entered one has ended. */
void zmanaged_class_end(zclass_t *class);

#endif
