/* Bodies: managed objects as they lie in memory. No refcount, no type pointer.
 *
 *   word 0                                    word 1          then
 *    63           32 31            0
 *   +---------------+---------------+
 *   | handle        | shape         |         FIXED:   fields, references and raw words mixed
 *   +---------------+---------------+         ARRAY:   length          that many slots
 *                                             RAW:     length (bytes)  that many bytes
 *                                             ENTRIES: length          {raw word, slot, slot} each
 *
 * shape indexes zshape_table and tells size and slots. handle is a hint to the entry in the handle
 * table that stands for this body: it may be out of date and is checked where it is used, so that the
 * end of a handle does not have to touch the body. With ZBODY_HASHED it is the hash of a body that has no
 * handle, and the end of that handle has put it there.
 *
 * The shape word is written once, at birth, before anyone else can know the address; the handle
 * word belongs to whoever holds the GIL. Slots go through barrier/. Raw words are the mutator's. */
#ifndef HEAP_MANAGED_ZBODY_H
#define HEAP_MANAGED_ZBODY_H

#include "heap/base/zassert.h"
#include "heap/base/zatomic.h"

/* A place in the managed space, without colours. 0 = none. */
typedef struct {
  uintptr_t value;
} zaddress_t;

static inline zaddress_t zaddress(uintptr_t value) { return (zaddress_t){value}; }
static inline bool zaddress_is_null(zaddress_t address) { return address.value == 0; }

typedef enum { ZBODY_FIXED, ZBODY_ARRAY, ZBODY_RAW, ZBODY_ENTRIES } zbody_kind_t;

#define ZSHAPE_MAX 65536
#define ZSHAPE_WORDS_MAX 256 /* of a fixed body, header included */
#define ZBODY_ENTRY_WORDS 3

typedef struct zshape {
  /* fixed at birth */
  uint32_t id;
  uint8_t kind; /* zbody_kind_t */
  bool is_pinned; /* a body gets a large page for itself, so that it never moves */
  uint8_t use;  /* which methods its bodies have, as preload numbers them; 0: none, they have no handle */
  uint32_t size; /* FIXED: bytes with the header */
  uint32_t slot_count; /* FIXED */
  uint64_t slot_map[ZSHAPE_WORDS_MAX / 64]; /* FIXED: which words are slots */
  void *owner; /* preload's record of the class */

  /* GIL, while no mark runs: the class may itself be held by its instances only (zsuspects.c) */
  bool shared_fate;

  /* collector: number of the last mark that saw a body of this shape; stored by any marking thread */
  uint32_t seen_seq;
} zshape_t;

extern zshape_t *zshape_table[ZSHAPE_MAX]; /* GIL to change; an entry outlives its bodies */

typedef struct {
  uint32_t shape;
  uint32_t handle;
} zbody_header_t;

#define ZBODY_HASHED ((uint32_t)1 << 31)

#define ZBODY_HEADER_SIZE 8
#define ZBODY_LENGTH_OFFSET 8
#define ZBODY_ELEMENTS_OFFSET 16
#define ZBODY_SIZE_MIN 16

static inline zbody_header_t *zbody_header(zaddress_t body) {
  return (zbody_header_t *)body.value;
}
static inline const zshape_t *zbody_shape(zaddress_t body) {
  return zshape_table[zload_relaxed(&zbody_header(body)->shape)];
}
static inline uint64_t *zbody_words(zaddress_t body) { return (uint64_t *)body.value; }
static inline uint64_t zbody_length(zaddress_t body) { return zbody_words(body)[1]; }
static inline uint64_t *zbody_elements(zaddress_t body) { return zbody_words(body) + 2; }

static inline size_t zbody_array_size(uint64_t length) {
  return ZBODY_ELEMENTS_OFFSET + (size_t)length * 8;
}
static inline size_t zbody_raw_size(uint64_t bytes) {
  return ZBODY_ELEMENTS_OFFSET + zalign_up((size_t)bytes, 8);
}
static inline size_t zbody_entries_size(uint64_t length) {
  return ZBODY_ELEMENTS_OFFSET + (size_t)length * 8 * ZBODY_ENTRY_WORDS;
}

static inline size_t zbody_size_of(const zshape_t *shape, uint64_t length) {
  switch ((zbody_kind_t)shape->kind) {
    case ZBODY_FIXED:
      return shape->size;
    case ZBODY_ARRAY:
      return zbody_array_size(length);
    case ZBODY_RAW:
      return zbody_raw_size(length);
    default:
      return zbody_entries_size(length);
  }
}

static inline size_t zbody_size(zaddress_t body) {
  const zshape_t *shape = zbody_shape(body);
  return shape->kind == ZBODY_FIXED ? shape->size : zbody_size_of(shape, zbody_length(body));
}

/* Slots of a body in units of work: a fixed body has one, others one per slot or entry. */
static inline uint64_t zbody_slot_steps(zaddress_t body, const zshape_t *shape) {
  if (shape->kind == ZBODY_FIXED) return 1;
  return shape->kind == ZBODY_RAW ? 0 : zbody_length(body);
}

typedef void (*zbody_visit_t)(uint64_t *slot, void *context);

/* Calls visit for the slots of steps [from, to). Inline so that visit is too. */
static zalways_inline void zbody_visit_slots(zaddress_t body, const zshape_t *shape, uint64_t from,
                                             uint64_t to, zbody_visit_t visit, void *context) {
  if (shape->kind == ZBODY_FIXED) {
    uint64_t *words = zbody_words(body);
    for (unsigned i = 0; i * 64 < shape->size / 8; i++) {
      for (uint64_t map = shape->slot_map[i]; map != 0; map &= map - 1) {
        visit(&words[i * 64 + (unsigned)__builtin_ctzll(map)], context);
      }
    }
  } else if (shape->kind == ZBODY_ARRAY) {
    uint64_t *elements = zbody_elements(body);
    for (uint64_t i = from; i < to; i++) visit(&elements[i], context);
  } else if (shape->kind == ZBODY_ENTRIES) {
    uint64_t *elements = zbody_elements(body);
    for (uint64_t i = from; i < to; i++) {
      visit(&elements[i * ZBODY_ENTRY_WORDS + 1], context);
      visit(&elements[i * ZBODY_ENTRY_WORDS + 2], context);
    }
  }
}

#endif
