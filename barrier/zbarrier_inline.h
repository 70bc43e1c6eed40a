/* Fast paths of the barriers. */
#ifndef BARRIER_ZBARRIER_INLINE_H
#define BARRIER_ZBARRIER_INLINE_H

#include "barrier/zbarrier.h"

/* The word in a slot of a body, load-good. acquire: a heal published the copy of a moved body. */
static inline zcolored_t zbarrier_load(zslot_t slot) {
  zcolored_t word = {zload_acquire(slot.word)};
  if (zunlikely(!zcolored_is_load_good(word))) return zbarrier_load_slow(slot, word);
  return word;
}

/* The body that a handle entry stands for. GIL. */
static inline zaddress_t zbarrier_load_entry(zslot_t entry) {
  zcolored_t word = {zload_acquire(entry.word)};
  if (zunlikely(!zcolored_is_load_good(word))) word = zbarrier_load_entry_slow(entry, word);
  return zcolored_strip(word);
}

/* The body that a word means, whatever its colours are. Any thread; the word has an address. */
static inline zaddress_t zbarrier_peek(zcolored_t word) {
  bool stale = (word.bits & zcolor.load_bad & ~ZCOLOR_SUSPECT) != 0;
  return stale ? zbarrier_ops.remap(word) : zcolored_strip(word);
}

/* Stores a store-good word into a slot of a body. GIL. Returns what was overwritten. */
static inline zcolored_t zbarrier_store(zslot_t slot, zcolored_t word) {
  zcolored_t overwritten = {zload_acquire(slot.word)};
  if (zunlikely(!zcolored_is_store_good(overwritten))) zbarrier_store_slow(slot, overwritten);
  zstore_release(slot.word, word.bits);
  return overwritten;
}

#endif
