#include "heap/zgranules.h"

#include <errno.h>
#include <string.h>

#include "heap/base/zassert.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

#define COMMIT_STEP (4 * ZM) /* one mapping per step, not per run ... */
#define COMMIT_SHARE 64      /* ... or per so much of what is there */
#define SMALLEST_RANGE (16 * ZM)
#define UNCOMMIT_STEP (8 * ZM) /* bounds how long the lock is held over one madvise */
#define COMMIT_TRIES 16 /* refused in a row; from then on only ... */
#define COMMIT_RETRY 64 /* ... one commit of so many is tried */
#define IDLE_KEPT_SHARE 16     /* freed memory that is kept in any case, as a share of what is in use: it will be */
#define IDLE_KEPT_MIN (1 * ZM) /* small programs need no system call for it */
#define IDLE_KEPT_MAX (16 * ZM)
#define AHEAD_SHARE 128 /* of the heap is populated ahead, but not more than ... */
#define AHEAD_MAX (8 * ZGRANULES_CHUNK)
#define SHORT 16 /* granules: for runs up to this, what is known of free ones is kept by length */
#define HOLES 64 /* of each length; a power of two */
#define ROOM 8 /* times its size is free where a run lies that will grow ... */
#define ROOM_SHARE 4 /* ... while that is within such a share of the range */
#define CHUNK (ZGRANULES_CHUNK / ZGRANULE_SIZE)
#define GUARD ZGRANULES_GUARD
#define NONE SIZE_MAX

zgranules_range_t zgranules_range;
void (*zgranules_low_hook)(void);

/* Everything below is guarded by `lock`. One bit per granule:
 *   used    handed out
 *   dirty   may hold something else than zeros
 *   recent  freed since the last aging, so its memory is kept for another round
 *   fresh   populated ahead and not handed out since: it has memory, which reads as zeros
 * A free granule above the high-water mark `top` was never handed out and is clean. */
static uint64_t *used, *dirty, *recent, *fresh;
static size_t top;       /* granules at and above were never handed out */
static size_t lowest[SHORT + 1]; /* no run of so many free granules begins below (the last one: or of more) */
/* Runs between two that are in use, by their length: the last ones that came about. They may have been filled
 * or have grown since. To take one that fits exactly leaves the longer ones whole, and its memory is warm. */
static struct {
  uint32_t at[HOLES];
  unsigned next, count;
} holes[SHORT + 1];
static size_t used_count, free_dirty_count; /* changed by `add`: others read them without the lock */
static size_t fresh_count;
static size_t claimed = NONE; /* first granule of the chunk that is being populated */
static size_t refused; /* commits that failed or were not tried since one worked */
static size_t os_granules = 1; /* in a page of the kernel's, where that is larger than a granule */

static void add(size_t *count, size_t by) { zstore_relaxed(count, *count + by); }

static bool test(const uint64_t *bits, size_t i) { return bits[i / 64] >> (i % 64) & 1; }

/* Calls for whole words matter: a large run covers thousands of granules. */
static void fill(uint64_t *bits, size_t first, size_t count, bool value) {
  while (count > 0) {
    size_t bit = first % 64, here = zmin(count, 64 - bit);
    uint64_t mask = (here == 64 ? ~(uint64_t)0 : (((uint64_t)1 << here) - 1)) << bit;
    if (value) {
      bits[first / 64] |= mask;
    } else {
      bits[first / 64] &= ~mask;
    }
    first += here;
    count -= here;
  }
}

static size_t count_set(const uint64_t *bits, size_t first, size_t count) {
  size_t total = 0;
  while (count > 0) {
    size_t bit = first % 64, here = zmin(count, 64 - bit);
    uint64_t mask = (here == 64 ? ~(uint64_t)0 : (((uint64_t)1 << here) - 1)) << bit;
    total += (size_t)__builtin_popcountll(bits[first / 64] & mask);
    first += here;
    count -= here;
  }
  return total;
}

/* Index of the first bit with this value in [from, end), or end. */
static size_t find(const uint64_t *bits, size_t from, size_t end, bool value) {
  while (from < end) {
    uint64_t word = bits[from / 64];
    if (!value) word = ~word;
    word &= ~(uint64_t)0 << (from % 64);
    if (word != 0) return zmin(end, (from & ~(size_t)63) + (size_t)__builtin_ctzll(word));
    from = (from | 63) + 1;
  }
  return end;
}

/* The free run that begins at `first`, if it is short and ends below `top`. */
static void note_hole(size_t first) {
  size_t end = first, most = zmin(first + SHORT + 1, top);
  while (end < most && !test(used, end)) end++;
  size_t count = end - first;
  if (end == most || count == 0) return;
  holes[count].at[holes[count].next++ % HOLES] = (uint32_t)first;
  holes[count].count = zmin(holes[count].count + 1, HOLES);
}

/* These granules are free now, and with those on either side perhaps a run that is long enough. */
static void note_free(size_t first, size_t count) {
  size_t from = first, end = first + count;
  while (from > 0 && first - from < SHORT && !test(used, from - 1)) from--;
  while (end - from < SHORT && end < top && !test(used, end)) end++;
  if (end == top) end = from + SHORT; /* all above is free */
  for (size_t i = 1; i <= zmin(end - from, SHORT); i++) lowest[i] = zmin(lowest[i], from);
  if (from == 0 || test(used, from - 1)) note_hole(from);
}

/* -- addresses and memory ----------------------------------------------------------------------------- */

#define TABLES_MAX 4
#define TABLE_STEP ZOS_PAGE_MAX

/* Grows ahead of the range, under the same lock. */
static struct {
  void **place;
  size_t bits, committed;
} tables[TABLES_MAX];
static size_t table_count;
static size_t mapped_end; /* offset; committed_end and the guard behind it */
static bool is_reserved;  /* there was no other way to keep the addresses */

void zgranules_add_table(void **table, size_t bits_of_granule) {
  for (size_t i = 0; i < table_count; i++) {
    if (tables[i].place == table) return; /* a test starts again */
  }
  zassert(table_count < TABLES_MAX);
  tables[table_count].place = table;
  tables[table_count++].bits = bits_of_granule;
}

static size_t table_bytes(size_t i, size_t range_bytes) {
  size_t bytes = range_bytes / ZGRANULE_SIZE * tables[i].bits / 8 + sizeof(uint64_t);
  return zalign_up(bytes, TABLE_STEP);
}

/* In large steps: each is a system call. */
static int grow_table(size_t i, size_t range_bytes) {
  size_t needed = table_bytes(i, range_bytes), committed = tables[i].committed;
  if (needed <= committed) return 0;
  size_t wanted = zmin(zmax(needed, committed + zalign_up(committed / 4, TABLE_STEP)),
                       table_bytes(i, zgranules_range.size));
  int error = zos_map_at((char *)*tables[i].place + committed, wanted - committed, is_reserved);
  if (error == 0) tables[i].committed = wanted;
  return error;
}

static int grow_tables(size_t range_bytes) {
  int error = 0;
  for (size_t i = 0; i < table_count && error == 0; i++) error = grow_table(i, range_bytes);
  return error;
}

static int commit_bytes(size_t end) {
  int error = grow_tables(end);
  if (error != 0) return error;
  size_t behind = end + zalign_up(GUARD, zos_page_size());
  error = zos_map_at(zgranules_range.base + mapped_end, behind - mapped_end, is_reserved);
  if (error == 0) mapped_end = behind;
  return error;
}

static char *lay_out(char *start, size_t size) {
  for (size_t i = 0; i < table_count; i++) {
    *tables[i].place = start;
    tables[i].committed = 0;
    start += table_bytes(i, size);
  }
  return (char *)zalign_up((uintptr_t)start, ZGRANULES_CHUNK);
}

/* The tables lie before the range: with the first step of each it shows whether the place is free. NULL if not. */
static char *place_range(size_t size) {
  size_t total = size + zalign_up(GUARD, zos_page_size()) + ZGRANULES_CHUNK;
  for (size_t i = 0; i < table_count; i++) total += table_bytes(i, size);
  if (zos_fault_hit(ZOS_FAULT_RESERVE)) return NULL;
  zgranules_range.size = size;
  char *start = (char *)zos_find_space(total, ZGRANULES_CHUNK);
  is_reserved = false;
  char *base = lay_out(start, size);
  if (start != NULL && grow_tables(0) == 0) return base;
  start = zos_reserve(total, ZGRANULES_CHUNK);
  is_reserved = true;
  base = lay_out(start, size);
  return start != NULL && grow_tables(0) == 0 ? base : NULL;
}

static bool map_bitmaps(size_t size) {
  size_t bitmap = zalign_up(size / ZGRANULE_SIZE / 8 + 2 * sizeof *used, 4096); /* searches look a word ahead */
  char *bitmaps = zos_table_map(4 * bitmap);
  used = (uint64_t *)bitmaps;
  dirty = (uint64_t *)(bitmaps + bitmap);
  recent = (uint64_t *)(bitmaps + 2 * bitmap);
  fresh = (uint64_t *)(bitmaps + 3 * bitmap);
  return bitmaps != NULL;
}

bool zgranules_start(size_t size) {
  os_granules = zmax(zos_page_size() / ZGRANULE_SIZE, 1);
  for (; size >= SMALLEST_RANGE; size /= 2) {
    char *base = place_range(size);
    if (base == NULL) continue;
    if (!map_bitmaps(size)) return false;
    zgranules_range.committed_end = mapped_end = 0;
    zgranules_range.base = base;
    return true;
  }
  return false;
}

/* Another mapping lies where the heap was to grow: the range ends before it. */
static void end_range(size_t committed) {
  zlog_notice("the addresses behind the heap's first %luM are taken: what does not fit comes from elsewhere",
              zlog_mb(committed));
  zgranules_range.size = committed;
}

/* A limit may refuse a step of the usual size and still leave room for the bytes that are needed. */
static int commit_step(size_t needed, size_t wanted, size_t *end) {
  *end = wanted;
  int error = commit_bytes(wanted);
  if (error == 0) return 0;
  *end = zmin(zalign_up(needed, TABLE_STEP), zgranules_range.size);
  return *end < wanted ? commit_bytes(*end) : error;
}

static bool commit_up_to(size_t end) {
  size_t offset = end * ZGRANULE_SIZE, committed = zgranules_range.committed_end;
  if (offset <= committed) return true;
  if (refused >= COMMIT_TRIES && refused % COMMIT_RETRY != 0) { /* else each allocation would make a system call */
    refused++;
    return false;
  }
  size_t wanted = zalign_up(zmax(offset, committed + committed / COMMIT_SHARE), COMMIT_STEP);
  wanted = zmin(wanted, zgranules_range.size);
  if (offset > wanted) return false;
  int error = zos_fault_hit(ZOS_FAULT_COMMIT) ? -ENOMEM : commit_step(offset, wanted, &wanted);
  if (error == -EEXIST) end_range(committed);
  if (error != 0) {
    if (refused++ == 0) {
      zlog_warn("gc,fault", "commit of %lu bytes failed: %d", (unsigned long)(wanted - committed),
                error);
    }
    return false;
  }
  if (refused > 0) zlog_info("gc,heap", "commit works again");
  refused = 0;
  zstore_release(&zgranules_range.committed_end, wanted);
  return true;
}

static void take(size_t first, size_t count) {
  if (free_dirty_count > 0) {
    size_t were_dirty = count_set(dirty, first, count);
    add(&free_dirty_count, -were_dirty);
    if (were_dirty > 0) fill(recent, first, count, false);
  }
  if (fresh_count > 0) {
    add(&fresh_count, -(count_set(fresh, first, count)));
    fill(fresh, first, count, false);
  }
  fill(used, first, count, true);
  add(&used_count, count);
  if (first + count > top) top = first + count;
}

/* Gives back one stretch of free dirty granules below `end`, at most `most` of them; their number.
 * *end moves below what was looked at. */
static size_t give_back_below(size_t *end, size_t most) {
  size_t i = *end;
  while (i > 0 && (test(used, i - 1) || !test(dirty, i - 1))) {
    i -= i % 64 == 0 && (dirty[i / 64 - 1] & ~used[i / 64 - 1]) == 0 ? 64 : 1;
  }
  size_t last = i;
  while (i > 0 && last - i < most && !test(used, i - 1) && test(dirty, i - 1)) i--;
  *end = i;
  i = zalign_up(i, os_granules); /* whole OS pages */
  last = zalign_down(last, os_granules);
  size_t count = last > i ? last - i : 0;
  if (count == 0 || zos_uncommit(zgranules_range.base + i * ZGRANULE_SIZE, count * ZGRANULE_SIZE) != 0) {
    return 0;
  }
  fill(dirty, i, count, false);
  fill(recent, i, count, false);
  add(&free_dirty_count, -count);
  return count;
}

static size_t kept_count(void) {
  size_t share = zload_relaxed(&used_count) / IDLE_KEPT_SHARE;
  return zmin(zmax(share, IDLE_KEPT_MIN / ZGRANULE_SIZE), IDLE_KEPT_MAX / ZGRANULE_SIZE);
}

/* A run in memory that was never touched, while freed memory that it did not fit into lies idle:
 * as much of that goes back, so that the process does not grow. From the top, which is reused last. */
static void make_up_for(size_t count) {
  size_t end = top, kept = kept_count();
  while (count > 0 && free_dirty_count > kept && end > 0) {
    size_t most = zmin(zmin(count, free_dirty_count - kept), UNCOMMIT_STEP / ZGRANULE_SIZE);
    size_t given = give_back_below(&end, most);
    if (given == 0) break;
    count -= given;
  }
}

/* -- population ahead ------------------------------------------------------------------------------- */

static size_t wanted_fresh_locked(void) {
  size_t bytes = zalign_up(used_count * ZGRANULE_SIZE / AHEAD_SHARE, ZGRANULES_CHUNK);
  return zmin(bytes, AHEAD_MAX) / ZGRANULE_SIZE;
}

static bool is_low_locked(void) {
  return used_count >= ZGRANULES_POPULATE_FROM / ZGRANULE_SIZE && fresh_count < wanted_fresh_locked() / 2;
}

static void tell_if_low(bool is_low) {
  void (*hook)(void) = zload_acquire(&zgranules_low_hook);
  if (is_low && hook != NULL) hook();
}

/* A claimed chunk counts as handed out, so that no allocation takes a part of it. */
char *zgranules_claim_chunk(void) {
  zlock_take(ZLOCK_GRANULES);
  size_t first = zalign_up(top, CHUNK), end = first + CHUNK;
  bool is_wanted = fresh_count < wanted_fresh_locked() && end <= zgranules_range.size / ZGRANULE_SIZE;
  if (is_wanted && commit_up_to(end)) {
    fill(used, first, CHUNK, true);
    top = end;
    claimed = first;
  }
  zlock_drop(ZLOCK_GRANULES);
  return claimed == NONE ? NULL : zgranules_range.base + claimed * ZGRANULE_SIZE;
}

static void offer_claimed_locked(bool is_populated) {
  if (claimed == NONE) return;
  fill(used, claimed, CHUNK, false);
  if (is_populated) {
    fill(fresh, claimed, CHUNK, true);
    add(&fresh_count, CHUNK);
  }
  note_free(claimed, CHUNK);
  claimed = NONE;
}

void zgranules_offer_chunk(bool is_populated) {
  zlock_take(ZLOCK_GRANULES);
  offer_claimed_locked(is_populated);
  zlock_drop(ZLOCK_GRANULES);
}

void zgranules_reset_after_fork_in_child(void) { offer_claimed_locked(false); }

/* -- runs --------------------------------------------------------------------------------------------- */

/* First granule of a free run at or above `from`, possibly reaching over `top`. */
static size_t find_long_run(size_t from, size_t count) {
  size_t limit = zgranules_range.size / ZGRANULE_SIZE;
  for (;;) {
    size_t first = find(used, from, top, false);
    size_t end = find(used, first, zmin(first + count, top), true);
    if (end == top) end = limit; /* all above top is free */
    if (end - first >= count) return first;
    if (end >= limit) return NONE;
    from = end;
  }
}

/* Which of the word's granules begin a free run of `count`, at most 64. */
static uint64_t starts_of_runs(size_t word, size_t count) {
  unsigned __int128 starts = ~((unsigned __int128)used[word + 1] << 64 | used[word]);
  for (size_t have = 1, step; have < count; have += step) {
    step = zmin(have, count - have);
    starts &= starts >> step;
  }
  return (uint64_t)starts;
}

/* Like find_long_run, for runs of at most a word's bits. It looks at whole words, so that many holes that are too short
 * do not make the search long. */
static size_t find_short_run(size_t from, size_t count) {
  size_t word = from / 64;
  uint64_t starts = starts_of_runs(word, count) & (~(uint64_t)0 << (from % 64));
  while (starts == 0) starts = starts_of_runs(++word, count); /* ends at `top`: all above is free */
  size_t first = word * 64 + (size_t)__builtin_ctzll(starts);
  return first + count <= zgranules_range.size / ZGRANULE_SIZE ? first : NONE;
}

static bool is_hole(size_t first, size_t count) {
  size_t end = first + count;
  return find(used, first, end, true) == end && test(used, end) && (first == 0 || test(used, first - 1));
}

static size_t find_hole(size_t count) {
  while (count <= SHORT && holes[count].count > 0) {
    holes[count].count--;
    size_t first = holes[count].at[--holes[count].next % HOLES];
    if (is_hole(first, count)) return first;
  }
  return NONE;
}

/* The first run that is long enough, or one of exactly this length that came about lately. */
static size_t find_run(size_t count) {
  if (count > zgranules_range.size / ZGRANULE_SIZE) return NONE;
  size_t hole = find_hole(count);
  if (hole != NONE) return hole;
  size_t *hint = &lowest[zmin(count, SHORT)];
  size_t first = count <= 64 ? find_short_run(*hint, count) : find_long_run(*hint, count);
  if (count <= SHORT) *hint = zmin(first, top);
  return first;
}

/* A run with room behind it, which no other run gets before lower places are full. Free granules at the end of the heap
 * are the room of another run: so the place is at the top, or in a hole that is large enough. */
static size_t find_growing_run(size_t count) {
  size_t first = find_long_run(lowest[SHORT], ROOM * count);
  if (first == NONE || first + ROOM * count > top) first = top;
  size_t end = first + ROOM * count;
  if (end > zgranules_range.size / ZGRANULE_SIZE / ROOM_SHARE) return find_run(count);
  top = zmax(top, end);
  return first;
}

/* Granules from `first` up to the last one that is dirty. */
static size_t dirty_part(size_t first, size_t count) {
  while (count > 0 && count_set(dirty, first + count - 1, 1) == 0) count--;
  return count;
}

static size_t alloc(size_t (*find_place)(size_t count), size_t count, size_t *dirty_first) {
  zlock_take(ZLOCK_GRANULES);
  size_t first = find_place(count);
  if (first != NONE && !commit_up_to(first + count)) first = NONE;
  if (first != NONE) {
    take(first, count);
    note_hole(first + count);
    size_t were_dirty = count_set(dirty, first, count);
    *dirty_first = were_dirty == 0 ? 0 : dirty_part(first, count);
    fill(dirty, first, count, true);
    make_up_for(count - were_dirty);
  }
  bool is_low = is_low_locked();
  zlock_drop(ZLOCK_GRANULES);
  tell_if_low(is_low);
  return first;
}

size_t zgranules_alloc(size_t count, size_t *dirty_first) { return alloc(find_run, count, dirty_first); }

size_t zgranules_alloc_growing(size_t count, size_t *dirty_first) {
  return alloc(find_growing_run, count, dirty_first);
}

bool zgranules_extend(size_t first_free, size_t count) {
  zlock_take(ZLOCK_GRANULES);
  size_t limit = zgranules_range.size / ZGRANULE_SIZE;
  bool fits = first_free + count <= limit &&
              find(used, first_free, first_free + count, true) == first_free + count &&
              commit_up_to(first_free + count);
  if (fits) {
    take(first_free, count);
    size_t were_dirty = count_set(dirty, first_free, count);
    fill(dirty, first_free, count, true);
    make_up_for(count - were_dirty);
  }
  bool is_low = is_low_locked();
  zlock_drop(ZLOCK_GRANULES);
  tell_if_low(is_low);
  return fits;
}

void zgranules_free(size_t first, size_t count) {
  zlock_take(ZLOCK_GRANULES);
  zassert(count_set(used, first, count) == count);
  fill(used, first, count, false);
  add(&used_count, -count);
  size_t were_dirty = count_set(dirty, first, count);
  add(&free_dirty_count, were_dirty);
  if (were_dirty > 0) fill(recent, first, count, true);
  note_free(first, count);
  zlock_drop(ZLOCK_GRANULES);
}

void zgranules_note_zeroed(size_t first, size_t count) {
  zlock_take(ZLOCK_GRANULES);
  fill(dirty, first, count, false);
  zlock_drop(ZLOCK_GRANULES);
}

/* One stretch of free dirty granules at or after *at, at most UNCOMMIT_STEP long. */
static size_t uncommit_next_locked(size_t *at) {
  size_t i = find(dirty, *at, top, true);
  while (i < top && (test(used, i) || test(recent, i))) {
    if (test(used, i)) {
      i = find(used, i, top, false);
    } else {
      fill(recent, i, 1, false);
      i++;
    }
    i = find(dirty, i, top, true);
  }
  size_t end = i, most = zmin(top, i + UNCOMMIT_STEP / ZGRANULE_SIZE);
  while (end < most && !test(used, end) && test(dirty, end) && !test(recent, end)) end++;
  *at = end;
  i = zalign_up(i, os_granules); /* whole OS pages */
  end = zalign_down(end, os_granules);
  if (end <= i) return 0;
  int error = zos_uncommit(zgranules_range.base + i * ZGRANULE_SIZE, (end - i) * ZGRANULE_SIZE);
  if (error != 0) {
    zlog_warn("gc,fault", "uncommit failed: %d; the memory stays with the process", error);
    *at = top;
    return 0;
  }
  fill(dirty, i, end - i, false);
  add(&free_dirty_count, -(end - i));
  return (end - i) * ZGRANULE_SIZE;
}

size_t zgranules_uncommit_aged(void) {
  size_t given_back = 0, at = 0, end;
  do { /* the lock is let go between steps: the program may be waiting to allocate */
    zlock_take(ZLOCK_GRANULES);
    given_back += uncommit_next_locked(&at);
    end = top;
    zlock_drop(ZLOCK_GRANULES);
  } while (at < end);
  return given_back;
}

size_t zgranules_idle_bytes(void) { return zload_relaxed(&free_dirty_count) * ZGRANULE_SIZE; }

bool zgranules_idle_are_few(void) { return zload_relaxed(&free_dirty_count) <= kept_count(); }

size_t zgranules_used_bytes(void) { return zload_relaxed(&used_count) * ZGRANULE_SIZE; }

size_t zgranules_resident_bytes(void) {
  return (zload_relaxed(&used_count) + zload_relaxed(&free_dirty_count) + zload_relaxed(&fresh_count)) *
         ZGRANULE_SIZE;
}
