/* Walkers: the outgoing references of an object, read racily, without the GIL.
 *
 * Rules that keep this safe whatever the program does meanwhile:
 *   - the object lies in the ZPage heap, all of which stays readable for ever; its fixed part is
 *     shorter than the guard behind the committed range, so fields need no bounds check;
 *   - a pointer is followed only into the ZPage heap, and reads through it are clamped to the block
 *     it points into;
 *   - ob_type is a key, never dereferenced;
 *   - references found are reported as plain words: the visitor must check them before use.
 * What comes out may be wrong while the object is being changed. zpass.h says why that is enough. */
#ifndef COLLECTOR_PYTHON_ZWALKER_H
#define COLLECTOR_PYTHON_ZWALKER_H

#include "collector/python/zpyabi_generator.h"
#include "collector/python/ztype_table.h"
#include "heap/zpage.h"

typedef void (*zwalker_visit_t)(void *context, void *reference);

/* Static keys objects of empty dicts lie outside the heap and have no entries. */
#define ZWALKER_EMPTY_KEYS 2
extern const void *zwalker_empty_keys[ZWALKER_EMPTY_KEYS];

/* Who reports the values that an instance and its __dict__ share (inline values, from 3.13 on), once
 * there is a __dict__: gh-130327 changed it within 3.13. */
typedef struct {
  bool instance_visits_values, instance_visits_dict, dict_visits_values;
} zwalker_shared_values_t;

extern zwalker_shared_values_t zwalker_shared_values;

typedef struct {
  const char *start, *end;
} zwalker_bounds_t;

/* The block behind an interior pointer of a container; false: not in the heap. */
static inline bool zwalker_bounds(const void *address, zwalker_bounds_t *bounds) {
  return zpage_block_of(address, &bounds->start, &bounds->end);
}

/* Visits `count` words from `first` that lie before `end`, `stride` bytes apart. */
static zalways_inline void zwalker_words(const char *first, const char *end, size_t count,
                                         size_t stride, zwalker_visit_t visit, void *context) {
  if (first >= end) return;
  /* The last word needs its own eight bytes only, not a whole stride: entries may end the block. */
  size_t fits = ((size_t)(end - first) + stride - sizeof(void *)) / stride;
  if (count > fits) count = fits;
  for (size_t i = 0; i < count; i++) {
    void *reference = zpyabi_word(first, (ptrdiff_t)(i * stride));
    if (reference != NULL) visit(context, reference);
  }
}

static zalways_inline bool zwalker_list(const void *list, zwalker_visit_t visit, void *context) {
  const char *items = zpyabi_word(list, ZPYABI_LIST_ITEMS);
  size_t count = (size_t)zpyabi_word(list, ZPYABI_VAR_SIZE);
  if (items == NULL || count == 0) return true;
  zwalker_bounds_t bounds;
  if (!zwalker_bounds(items, &bounds)) return false;
  zwalker_words(items, bounds.end, count, sizeof(void *), visit, context);
  return true;
}

static zalways_inline bool zwalker_tuple(const void *tuple, zwalker_visit_t visit, void *context) {
  zwalker_bounds_t bounds;
  if (!zwalker_bounds(tuple, &bounds)) return false;
  size_t count = (size_t)zpyabi_word(tuple, ZPYABI_VAR_SIZE);
  zwalker_words((const char *)tuple + zpyabi_layout->tuple_items, bounds.end, count, sizeof(void *), visit,
                context);
  return true;
}

static inline bool zwalker_is_empty_keys(const void *keys) {
  return keys == zwalker_empty_keys[0] || keys == zwalker_empty_keys[1];
}

static zalways_inline bool zwalker_dict(const void *dict, zwalker_visit_t visit, void *context) {
  const char *keys = zpyabi_word(dict, ZPYABI_DICT_KEYS);
  if (keys == NULL || zwalker_is_empty_keys(keys)) return true;
  zwalker_bounds_t bounds;
  if (!zwalker_bounds(keys, &bounds) || bounds.end - keys < ZPYABI_KEYS_INDICES) return false;
  size_t count = (size_t)zpyabi_word(keys, ZPYABI_KEYS_ENTRIES);
  const char *values = zpyabi_word(dict, ZPYABI_DICT_VALUES);
  if (values != NULL) { /* split: keys are shared and, being strings, not visited */
    zwalker_bounds_t in_values;
    if (!zwalker_bounds(values, &in_values)) return false;
    if (zpyabi_layout->attributes == ZPYABI_ATTRIBUTES_313 &&
        !zwalker_shared_values.dict_visits_values &&
        zload_relaxed((const uint8_t *)values + ZPYABI_VALUES_EMBEDDED) != 0) {
      return true; /* the instance visits them */
    }
    zwalker_words(values + zpyabi_layout->values_header, in_values.end, count, sizeof(void *), visit,
                  context);
    return true;
  }
  unsigned log2_index = zload_relaxed((const uint8_t *)keys + ZPYABI_KEYS_LOG2_INDEX_BYTES);
  if (log2_index > 40) return true; /* not a keys object any more */
  const char *entries = keys + ZPYABI_KEYS_INDICES + ((size_t)1 << log2_index);
  if (zload_relaxed((const uint8_t *)keys + ZPYABI_KEYS_KIND) != ZPYABI_KEYS_GENERAL) {
    zwalker_words(entries + 8, bounds.end, count, 16, visit, context);
    return true;
  }
  if (entries >= bounds.end) return true;
  size_t fits = (size_t)(bounds.end - entries) / 24;
  if (count > fits) count = fits;
  for (size_t i = 0; i < count; i++, entries += 24) {
    void *value = zpyabi_word(entries, 16);
    if (value == NULL) continue; /* deleted: the key may be stale */
    visit(context, value);
    void *key = zpyabi_word(entries, 8);
    if (key != NULL) visit(context, key);
  }
  return true;
}

/* Its nodes hold, and tp_traverse reports, a second reference to each key. */
static zalways_inline bool zwalker_odict(const void *odict, zwalker_visit_t visit, void *context) {
  const char *node = zpyabi_word(odict, ZPYABI_ODICT_FIRST);
  size_t count = (size_t)zpyabi_word(odict, ZPYABI_DICT_USED);
  for (; node != NULL && count > 0; count--) {
    zwalker_bounds_t bounds;
    if (!zwalker_bounds(node, &bounds) ||
        (size_t)(bounds.end - node) < ZPYABI_ODICT_NODE_SIZE) {
      return false;
    }
    zwalker_words(node, bounds.end, 1, sizeof(void *), visit, context);
    node = zpyabi_word(node, ZPYABI_ODICT_NODE_NEXT);
  }
  return zwalker_dict(odict, visit, context);
}

static zalways_inline bool zwalker_set(const void *set, zwalker_visit_t visit, void *context) {
  const char *table = zpyabi_word(set, ZPYABI_SET_TABLE);
  size_t mask = (size_t)zpyabi_word(set, ZPYABI_SET_MASK);
  zwalker_bounds_t bounds; /* a small table lies in the set itself */
  if (table == NULL) return true;
  if (!zwalker_bounds(table, &bounds)) return false;
  zwalker_words(table, bounds.end, mask + 1, 16, visit, context);
  return true;
}

static zalways_inline bool zwalker_deque(const void *deque, zwalker_visit_t visit, void *context) {
  const char *block = zpyabi_word(deque, ZPYABI_DEQUE_LEFT_BLOCK);
  const char *last = zpyabi_word(deque, ZPYABI_DEQUE_RIGHT_BLOCK);
  size_t left = (size_t)zpyabi_word(deque, ZPYABI_DEQUE_LEFT_INDEX);
  size_t right = (size_t)zpyabi_word(deque, ZPYABI_DEQUE_RIGHT_INDEX);
  size_t blocks = (size_t)zpyabi_word(deque, ZPYABI_VAR_SIZE) / ZPYABI_DEQUE_BLOCK_LENGTH + 2;
  for (; block != NULL && blocks > 0; blocks--, left = 0) {
    zwalker_bounds_t bounds;
    if (!zwalker_bounds(block, &bounds) ||
        (size_t)(bounds.end - block) < ZPYABI_DEQUE_BLOCK_RIGHT + sizeof(void *)) {
      return false;
    }
    size_t end = block == last ? right + 1 : ZPYABI_DEQUE_BLOCK_LENGTH;
    if (end > ZPYABI_DEQUE_BLOCK_LENGTH) end = ZPYABI_DEQUE_BLOCK_LENGTH;
    if (left < end) {
      zwalker_words(block + ZPYABI_DEQUE_BLOCK_DATA + left * sizeof(void *), bounds.end, end - left,
                    sizeof(void *), visit, context);
    }
    if (block == last) break;
    block = zpyabi_word(block, ZPYABI_DEQUE_BLOCK_RIGHT);
  }
  return true;
}

/* In a frame, where words may have tag bits. */
static zalways_inline void zwalker_frame_word(const char *at, zwalker_visit_t visit, void *context) {
  void *reference = zpyabi_frame_reference(zpyabi_generator, zpyabi_word(at, 0));
  if (reference != NULL) visit(context, reference);
}

/* Words between `locals` and the end of the stack; SIZE_MAX: it is not where it should be. */
static inline size_t zwalker_frame_words(const char *frame, const char *end) {
  const zpyabi_generator_t *layout = zpyabi_generator;
  const char *locals = frame + layout->locals, *top = zpyabi_word(frame, layout->top);
  if (locals > end) return SIZE_MAX;
  size_t fits = (size_t)(end - locals) / sizeof(void *);
  size_t count = layout->is_tagged ? (size_t)(top - locals) / sizeof(void *) : (uint32_t)(uintptr_t)top;
  return count <= fits ? count : SIZE_MAX;
}

/* One whose frame holds still, or has ended. */
static zalways_inline bool zwalker_generator(const char *generator, zwalker_visit_t visit, void *context) {
  const zpyabi_generator_t *layout = zpyabi_generator;
  int8_t state = (int8_t)zload_relaxed((const uint8_t *)generator + layout->state);
  const char *frame = generator + layout->frame;
  if (state == layout->ended) {
    if (layout->ended_has_code) zwalker_frame_word(frame + layout->code, visit, context);
    return true;
  }
  zwalker_bounds_t bounds;
  if (state < layout->still_first || state > layout->still_last || !zwalker_bounds(generator, &bounds)) return false;
  size_t count = zwalker_frame_words(frame, bounds.end);
  if (count == SIZE_MAX) return false;
  const uint8_t fixed[] = {layout->code, layout->function, layout->names, layout->object};
  for (size_t i = 0; i < ZARRAY_LENGTH(fixed); i++) zwalker_frame_word(frame + fixed[i], visit, context);
  for (size_t i = 0; i < count; i++) {
    zwalker_frame_word(frame + layout->locals + i * sizeof(void *), visit, context);
  }
  return true;
}

/* Entries of a functools.lru_cache, by its dict; 0: it is not where it should be. */
static inline size_t zwalker_lru_length(const void *cache) {
  const void *dict = zpyabi_word(cache, ZPYABI_LRU_DICT);
  zwalker_bounds_t bounds;
  if (dict == NULL || !zwalker_bounds(dict, &bounds)) return 0;
  return zmin((size_t)zpyabi_word(dict, ZPYABI_DICT_USED), zgranules_range.committed_end / ZPYABI_LRU_NODE_SIZE);
}

/* Those of a bounded cache are a ring of nodes that begins and ends in the object itself. They change places while
 * the program uses the cache, and a node that has left may lead into another ring: hence the bound. */
static zalways_inline bool zwalker_lru(const char *cache, zwalker_visit_t visit, void *context) {
  const char *node = zpyabi_word(cache, ZPYABI_LRU_NEXT);
  for (size_t left = zwalker_lru_length(cache) + 1; node != cache; left--) {
    zwalker_bounds_t bounds;
    if (left == 0 || node == NULL || !zwalker_bounds(node, &bounds)) return false;
    if ((size_t)(bounds.end - node) < ZPYABI_LRU_NODE_SIZE) return false;
    visit(context, zpyabi_type((const PyObject *)node));
    zwalker_words(node + ZPYABI_LRU_KEY, bounds.end, 2, sizeof(void *), visit, context); /* and the result */
    node = zpyabi_word(node, ZPYABI_LRU_NEXT);
  }
  return true;
}

static zalways_inline bool zwalker_attributes(const char *object, const ztype_t *type,
                                              zwalker_visit_t visit, void *context) {
  const char *values = NULL;
  void *dict = zpyabi_word(object, ZPYABI_MANAGED_DICT);
  size_t count = 0;
  switch (zpyabi_layout->attributes) {
    case ZPYABI_ATTRIBUTES_311:
      values = zpyabi_word(object, ZPYABI_VALUES_311);
      break;
    case ZPYABI_ATTRIBUTES_312:
      if ((uintptr_t)dict & 1) {
        values = (const char *)dict + 1;
        dict = NULL;
      }
      break;
    case ZPYABI_ATTRIBUTES_313:
      if (type->inline_values) {
        values = object + type->basic_size;
        if (zload_relaxed((const uint8_t *)values + ZPYABI_VALUES_VALID) == 0) {
          values = NULL;
        } else {
          count = zload_relaxed((const uint8_t *)values + ZPYABI_VALUES_CAPACITY);
          if (dict != NULL && !zwalker_shared_values.instance_visits_values) values = NULL;
          if (!zwalker_shared_values.instance_visits_dict) dict = NULL;
        }
      }
      break;
  }
  if (dict != NULL) visit(context, dict);
  if (values == NULL) return true;
  zwalker_bounds_t bounds;
  if (!zwalker_bounds(values, &bounds)) return false;
  if (zpyabi_layout->attributes != ZPYABI_ATTRIBUTES_313) {
    const void *keys = type->cached_keys;
    zwalker_bounds_t in_keys;
    if (keys == NULL || !zwalker_bounds(keys, &in_keys)) return false;
    count = (size_t)zpyabi_word(keys, ZPYABI_KEYS_ENTRIES);
  }
  zwalker_words(values + zpyabi_layout->values_header, bounds.end, count, sizeof(void *), visit,
                context);
  return true;
}

/* May this word lead to memory? Not a small number; nor one beside another number, or beside padding that nobody
 * set. Of pointers one in 65,536 has such a lower half: what it hides is found when the instance is audited, or
 * by a stopped collection. */
static inline bool zwalker_may_be_pointer(uintptr_t word) {
  return (uint32_t)word >= 65536 && word >> ZADDRESS_BITS == 0;
}

static inline bool zwalker_has_unknown(const void *object, uint64_t words) {
  for (; words != 0; words &= words - 1) {
    ptrdiff_t offset = (ptrdiff_t)sizeof(void *) * __builtin_ctzll(words);
    if (zwalker_may_be_pointer((uintptr_t)zpyabi_word(object, offset))) return true;
  }
  return false;
}

/* Calls visit for every outgoing reference that tp_traverse would report. False: this object cannot
 * be read racily (its storage lies outside the heap, or its type is deferred); references may have
 * been reported already. */
static zalways_inline bool zwalker_walk(const void *object, const ztype_t *type,
                                        zwalker_visit_t visit, void *context) {
  bool complete = true;
  uint64_t unknown = zload_acquire(&type->unknown); /* whose fields are known, then */
  if (zunlikely(unknown != 0) && zwalker_has_unknown(object, unknown)) return false;
  if (type->visits_type) visit(context, zpyabi_type(object));
  for (unsigned i = 0, n = type->field_count; i < n; i++) {
    void *reference = zpyabi_word(object, type->fields[i]);
    if (reference != NULL) visit(context, reference);
  }
  if (type->managed_dict) complete = zwalker_attributes(object, type, visit, context);
  if (type->dict_offset != 0) {
    ptrdiff_t offset = type->dict_offset;
    if (offset < 0) { /* behind the items of a tuple's subclass, or an int's, whose sign is in the size */
      intptr_t size = (intptr_t)zpyabi_word(object, ZPYABI_VAR_SIZE);
      size_t items = (size_t)(size < 0 ? -size : size);
      if (items > 1u << 24) return false;
      offset += (ptrdiff_t)zalign_up(type->basic_size + items * type->item_size, sizeof(void *));
      zwalker_bounds_t bounds;
      if (!zwalker_bounds(object, &bounds) || offset > bounds.end - (const char *)object - 8) {
        return false;
      }
    }
    void *dict = zpyabi_word(object, offset);
    if (dict != NULL) visit(context, dict);
  }
  switch ((ztype_kind_t)type->kind) {
    case ZTYPE_DEFERRED:
      return false;
    case ZTYPE_PLAIN:
      return complete;
    case ZTYPE_LIST:
      return zwalker_list(object, visit, context) && complete;
    case ZTYPE_TUPLE:
      return zwalker_tuple(object, visit, context) && complete;
    case ZTYPE_DICT:
      return zwalker_dict(object, visit, context) && complete;
    case ZTYPE_SET:
      return zwalker_set(object, visit, context) && complete;
    case ZTYPE_DEQUE:
      return zwalker_deque(object, visit, context) && complete;
    case ZTYPE_ODICT:
      return zwalker_odict(object, visit, context) && complete;
    case ZTYPE_GENERATOR:
      return zwalker_generator(object, visit, context) && complete;
    case ZTYPE_LRU:
      return zwalker_lru(object, visit, context) && complete;
  }
  return false;
}

/* About how many references a walk will meet, from one racy read. */
static zalways_inline size_t zwalker_length(const void *object, const ztype_t *type) {
  switch ((ztype_kind_t)type->kind) {
    case ZTYPE_LIST:
    case ZTYPE_TUPLE:
    case ZTYPE_DEQUE:
      return (size_t)zpyabi_word(object, ZPYABI_VAR_SIZE);
    case ZTYPE_DICT:
    case ZTYPE_ODICT:
      return (size_t)zpyabi_word(object, ZPYABI_DICT_USED);
    case ZTYPE_SET:
      return (size_t)zpyabi_word(object, ZPYABI_SET_MASK);
    case ZTYPE_LRU:
      return zwalker_lru_length(object);
    case ZTYPE_DEFERRED:
    case ZTYPE_PLAIN:
    case ZTYPE_GENERATOR:
      break;
  }
  return type->field_count;
}

/* The same by the object's own type. An object whose type is not registered was given that type
 * (__class__) after its promotion, or is no object any more: it is left to a safepoint to tell. */
static zalways_inline bool zwalker_try(const PyObject *object, zwalker_visit_t visit,
                                       void *context) {
  const ztype_t *type = ztype_find(zpyabi_type(object));
  if (zunlikely(type == NULL) || zunlikely(type->kind == ZTYPE_DEFERRED)) return false;
  return zwalker_walk(object, type, visit, context);
}

#endif
