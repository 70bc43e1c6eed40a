/* Learning: which words of a C type's instances are references, by what tp_traverse reports of the program's
 * own instances.
 *
 * A word is a reference once tp_traverse has reported what stood in it. The others are unknown: an instance
 * is read by the walker only while none of them can be a pointer (zwalker_has_unknown); else that instance
 * is deferred. Two findings refute what was learned, and make the type deferred for good:
 *   - a word that was a reference holds something that tp_traverse does not report: it may be borrowed;
 *   - an instance that the walker would read has references that stand in none of its words: they are held
 *     by an index, a scrambled word, a table beside the object.
 *
 * No number of instances proves a layout, so lessons never end: the first instances of a type are all looked
 * at when they are promoted, later ones seldom, and of those that are old each concurrent collection takes
 * another share (zpass.h), so that each old instance is looked at once in ZTYPE_AUDIT_MOST collections, and where
 * there are few of a type, in each. What a wrong layout hides until then is found by the next collection, or by
 * a stopped one, which does not use learned layouts.
 *
 * All functions but those of audits: GIL held. */
#ifndef COLLECTOR_PYTHON_ZTYPE_LEARNING_H
#define COLLECTOR_PYTHON_ZTYPE_LEARNING_H

#include "collector/python/ztype_table.h"

#define ZTYPE_LESSONS 64     /* instances that are all looked at, then one in ... */
#define ZTYPE_LESSON_EVERY 64
#define ZTYPE_AUDIT_MOST 64  /* power of two */
#define ZTYPE_AUDIT_LEAST 256 /* of a type's instances are looked at in a collection, or all */

/* The words of a type's instances by number, but for the header and the list of weak references. False when
 * there are too many to learn from. */
bool ztype_words(const zpyabi_type_t *type, uint64_t *words);

/* Types of CPython's own with memory beside their words, for which there is a walker: gives a type that is to be
 * learned its kind of container. */
void ztype_learning_note_container(ztype_t *entry, const zpyabi_type_t *type);
/* Describes generators and their like; false: the type is none, or this version's are not known. */
bool ztype_describe_generator(ztype_t *entry);

/* Lessons begin: `words` may be references beside what the entry describes so far. */
void ztype_learning_begin(ztype_t *entry, uint64_t words);

/* Looks at one more instance. */
void ztype_learn_from(ztype_t *entry, PyObject *instance);

/* One more instance was promoted: a lesson, if one is due. */
static inline void ztype_learning_meet(ztype_t *entry, PyObject *instance) {
  if (zlikely(entry->lesson_in == 0) || --entry->lesson_in > 0) return;
  if (entry->lessons < ZTYPE_LESSONS) entry->lessons++;
  entry->lesson_in = entry->lessons < ZTYPE_LESSONS ? 1 : ZTYPE_LESSON_EVERY;
  ztype_learn_from(entry, instance);
}

/* -- audits: the threads that make a pass may call these, without the GIL -- */

/* Of old instances, one in `every`, a power of two, for which that number of instances is ... */
uint8_t ztype_audit_every(size_t instances);
/* ... guessed from those audited in the pass that has ended. */
void ztype_adapt_audits(void);

/* Shall the instance be looked at in this audit? In `every` of them running each is once, but for many of a type
 * that nobody knew to be many. */
static inline bool ztype_audit(ztype_t *type, const void *instance, uint64_t audit) {
  unsigned every = zload_relaxed(&type->audit_every);
  uint64_t hash = ((uintptr_t)instance >> 4) * 0x9E3779B97F4A7C15u >> 40;
  if (((hash ^ audit) & (every - 1)) != 0) return false;
  uint32_t audited = zload_relaxed(&type->audited) + 1; /* two lanes may lose some */
  zstore_relaxed(&type->audited, audited);
  return audited <= 4 * ZTYPE_AUDIT_LEAST || every == ZTYPE_AUDIT_MOST;
}

#endif
