#define _GNU_SOURCE
#include "collector/profile/zprofile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "heap/base/zbacktrace.h"
#include "heap/base/zexponential.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/zallocator.h"

#define RATE_DEFAULT (512 * ZK)
#define RATE_MAX ((uint64_t)1 << 40)
#define BUCKETS_MIN 1024
#define NEVER 0x1p62

/* What one sample stands for: bytes [from, to) of a block. */
typedef struct sample {
  struct sample *next; /* in its bucket */
  void *block;
  size_t from, to;
  double weight;       /* blocks that it stands for */
  uint64_t born_ns;
  zstack_t *stack;
} sample_t;

/* Fixed once zprofile_start has returned. */
static bool is_on;
static char path[ZOPTION_TEXT_MAX + 1];
static uint64_t rate = RATE_DEFAULT;
static uint64_t started_ns;

/* The thread's own. 0 at first: its first allocation makes it draw. */
#define THREAD_OWN static __thread __attribute__((tls_model("initial-exec")))
THREAD_OWN int64_t left; /* bytes to the next sample of what is counted by the byte */
THREAD_OWN bool has_drawn, is_paused;

/* ZLOCK_PROFILE guards what follows. */
static sample_t **buckets;
static size_t bucket_count, sample_count;
static sample_t *spare; /* records to be used again */
static uint64_t random_state;

/* -- chance ------------------------------------------------------------------------------------- */

/* Bytes to the next sample: exponentially distributed. Lock. */
static double draw(void) {
  random_state ^= random_state << 13; /* xorshift */
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  double uniform = (double)((random_state >> 11) + 1) * 0x1p-53; /* (0, 1] */
  double bytes = zexponential_minus_log(uniform) * (double)rate;
  return bytes < NEVER ? bytes : NEVER;
}

static void draw_left(void) {
  zlock_take(ZLOCK_PROFILE);
  left = (int64_t)draw();
  zlock_drop(ZLOCK_PROFILE);
  has_drawn = true;
}

static double weight_of(size_t bytes) { return 1 / zexponential_chance((double)bytes / (double)rate); }

/* -- samples, under the lock ----------------------------------------------------------------------- */

static sample_t **bucket_of(const void *block) {
  return &buckets[((uintptr_t)block >> 4) * 0x9e3779b97f4a7c15u >> 20 & (bucket_count - 1)];
}

static void widen(void) {
  sample_t **old = buckets;
  size_t old_count = bucket_count;
  sample_t **wider = calloc(old_count * 2, sizeof *wider);
  if (wider == NULL) return; /* longer chains, then */
  buckets = wider;
  bucket_count = old_count * 2;
  for (size_t i = 0; i < old_count; i++) {
    for (sample_t *s = old[i], *next; s != NULL; s = next) {
      next = s->next;
      sample_t **bucket = bucket_of(s->block);
      s->next = *bucket;
      *bucket = s;
    }
  }
  free(old);
}

static void insert(sample_t *s) {
  if (sample_count >= bucket_count) widen();
  sample_t **bucket = bucket_of(s->block);
  s->next = *bucket;
  *bucket = s;
  sample_count++;
}

/* Takes all samples of a block out of the table. */
static sample_t *take(const void *block) {
  sample_t *taken = NULL;
  for (sample_t **at = bucket_of(block); *at != NULL;) {
    sample_t *s = *at;
    if (s->block != block) {
      at = &s->next;
      continue;
    }
    *at = s->next;
    s->next = taken;
    taken = s;
    sample_count--;
  }
  return taken;
}

/* Bytes [from, to) of what the sample stands for end now; the block with them if it has no more. */
static void count_freed(const sample_t *s, size_t from, size_t to, uint64_t now) {
  uint64_t age = now - s->born_ns;
  zstack_total_t *freed = &s->stack->freed[zstack_lifetime_of(age)];
  freed->bytes += (double)(to - from) * s->weight;
  if (from > 0) return;
  freed->objects += s->weight;
  freed->lifetime_ns += (double)age * s->weight;
}

static void count_freed_all(sample_t *s, uint64_t now) {
  while (s != NULL) {
    sample_t *next = s->next;
    count_freed(s, s->from, s->to, now);
    s->next = spare;
    spare = s;
    s = next;
  }
}

/* Puts samples back, for a block at a new address or of a new size. */
static void put_back(sample_t *s, void *block, size_t size) {
  uint64_t now = zos_now_ns();
  while (s != NULL) {
    sample_t *next = s->next;
    s->next = NULL;
    if (s->from >= size) {
      count_freed_all(s, now);
    } else {
      if (s->to > size) {
        count_freed(s, size, s->to, now);
        s->to = size;
      }
      s->block = block;
      insert(s);
    }
    s = next;
  }
}

/* -- what the allocator tells and asks (zsampler.h) --------------------------------------------------- */

/* Whole blocks before the one in which the next sample lies: every block is sampled with the same
 * probability, whatever came before it. */
static uint64_t blocks_before_sample(size_t block_size) {
  zlock_take(ZLOCK_PROFILE);
  double bytes = draw();
  zlock_drop(ZLOCK_PROFILE);
  return (uint64_t)(bytes / (double)block_size);
}

static bool is_sample(size_t bytes) {
  if (zunlikely(is_paused)) return false;
  if (zunlikely(!has_drawn)) draw_left();
  left -= (int64_t)bytes;
  if (zlikely(left >= 0)) return false;
  draw_left();
  return true;
}

/* No memory for it: one sample less. */
static void sampled(void *block, size_t from, size_t to) {
  if (is_paused) return;
  zlock_take(ZLOCK_PROFILE);
  zstack_t *stack = zstack_here();
  sample_t *s = spare;
  if (s != NULL) {
    spare = s->next;
  } else {
    s = malloc(sizeof *s);
  }
  if (s != NULL && stack != NULL) {
    *s = (sample_t){NULL, block, from, to, weight_of(to - from), zos_now_ns(), stack};
    insert(s);
  } else if (s != NULL) {
    s->next = spare;
    spare = s;
  }
  zlock_drop(ZLOCK_PROFILE);
  zstat_add(profile_samples, 1);
}

static void freed(void *block) {
  uint64_t now = zos_now_ns();
  zlock_take(ZLOCK_PROFILE);
  count_freed_all(take(block), now);
  zlock_drop(ZLOCK_PROFILE);
}

/* Its samples are taken out, or the free of the old place would count them as freed. */
static void *moving(void *block) {
  zlock_take(ZLOCK_PROFILE);
  sample_t *samples = take(block);
  zlock_drop(ZLOCK_PROFILE);
  return samples;
}

static void moved(void *samples, void *block) {
  zlock_take(ZLOCK_PROFILE);
  if (zallocator_is_sampled(block)) {
    put_back(samples, block, zallocator_size_of(block));
  } else { /* where a free is not told (a shortage of memory): it is lost to us */
    count_freed_all(samples, zos_now_ns());
  }
  zlock_drop(ZLOCK_PROFILE);
}

static const zsampler_watcher_t watcher = {blocks_before_sample, is_sample, sampled, freed, moving, moved};

/* -- start, pause ---------------------------------------------------------------------------------------- */

static bool parse_rate(const char *text, uint64_t *bytes) {
  static const char suffixes[] = "kKmMgG";
  char *end;
  if (text[0] < '0' || text[0] > '9') return false;
  unsigned long long number = strtoull(text, &end, 10);
  unsigned shift = 0;
  if (*end != '\0') {
    const char *suffix = strchr(suffixes, *end);
    if (suffix == NULL) return false;
    shift = 10u * (1u + (unsigned)(suffix - suffixes) / 2u);
    end++;
  }
  if (*end != '\0' || number == 0 || number > RATE_MAX >> shift) return false;
  *bytes = (uint64_t)number << shift;
  return true;
}

static bool parse(const char *text) {
  const char *comma = strrchr(text, ',');
  size_t length = comma == NULL ? strlen(text) : (size_t)(comma - text);
  if (length == 0 || text[length - 1] == '/') return false;
  if (comma != NULL && !parse_rate(comma + 1, &rate)) return false;
  memcpy(path, text, length);
  path[length] = '\0';
  return true;
}

bool zprofile_start(const char *text) {
  if (!parse(text)) {
    zlog_notice("ZGC_PROFILE=%.200s not understood (path[,rate]: a file, and bytes between samples from 1 "
                "to 1024G, as in heap.pb.gz,512k); running on without a profile", text);
    return false;
  }
  bucket_count = BUCKETS_MIN;
  buckets = calloc(bucket_count, sizeof *buckets);
  if (buckets == NULL) return false;
  if (getrandom(&random_state, sizeof random_state, GRND_NONBLOCK) != (ssize_t)sizeof random_state) {
    random_state = zos_now_ns();
  }
  random_state |= 1;
  const char *why = zbacktrace_start();
  if (why != NULL) zlog_notice("ZGC_PROFILE: %s; stacks will show Python functions only", why);
  started_ns = zos_now_ns();
  is_on = true;
  zsampler_start(&watcher);
  return true;
}

bool zprofile_is_on(void) { return is_on; }
const char *zprofile_path(void) { return path; }
uint64_t zprofile_rate(void) { return rate; }

void zprofile_interpreter_started(void) {
  const char *why;
  zprofile_pause();
  if (!zpyabi_frames_prove(&why)) {
    zlog_notice("ZGC_PROFILE: this interpreter's frames are not as expected (%s); stacks will show native "
                "functions only", why);
  }
  zprofile_resume();
}

void zprofile_pause(void) { is_paused = true; }
void zprofile_resume(void) { is_paused = false; }

/* -- snapshot --------------------------------------------------------------------------------------------- */

static void sum_up(zprofile_snapshot_t *snapshot) {
  for (size_t i = 0; i < bucket_count; i++) {
    for (const sample_t *s = buckets[i]; s != NULL; s = s->next) {
      zstack_total_t *live = &snapshot->live[s->stack->id];
      live->bytes += (double)(s->to - s->from) * s->weight;
      if (s->from == 0) live->objects += s->weight;
    }
  }
  for (uint32_t i = 0; i < snapshot->stack_count; i++) {
    memcpy(&snapshot->freed[(size_t)i * ZSTACK_LIFETIMES], snapshot->stacks[i]->freed,
           sizeof snapshot->stacks[i]->freed);
  }
}

bool zprofile_snapshot(zprofile_snapshot_t *snapshot) {
  memset(snapshot, 0, sizeof *snapshot);
  zlock_take(ZLOCK_PROFILE);
  snapshot->stacks = zstack_all(&snapshot->stack_count);
  snapshot->natives = zstack_natives(&snapshot->native_count);
  snapshot->codes = zstack_codes(&snapshot->code_count);
  snapshot->live = calloc(snapshot->stack_count, sizeof *snapshot->live);
  snapshot->freed = calloc((size_t)snapshot->stack_count * ZSTACK_LIFETIMES, sizeof *snapshot->freed);
  bool whole = snapshot->stacks != NULL && snapshot->natives != NULL && snapshot->codes != NULL &&
               snapshot->live != NULL && snapshot->freed != NULL;
  if (whole) sum_up(snapshot);
  zlock_drop(ZLOCK_PROFILE);
  snapshot->started_ns = started_ns;
  snapshot->taken_ns = zos_now_ns();
  if (!whole) zprofile_snapshot_free(snapshot);
  return whole;
}

void zprofile_snapshot_free(zprofile_snapshot_t *snapshot) {
  free(snapshot->stacks);
  free(snapshot->natives);
  free(snapshot->codes);
  free(snapshot->live);
  free(snapshot->freed);
  memset(snapshot, 0, sizeof *snapshot);
}
