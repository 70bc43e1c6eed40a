#define _GNU_SOURCE
#include "collector/cpython/zoutside.h"

#include <dlfcn.h>

#define YOUNG_MIN 16           /* young collections between two looks, and ... */
#define CHUNKS_FOR_ONE_MORE 16 /* ... one more for so many free chunks: 20 ns each */

/* struct mallinfo2, which older headers do not have. */
typedef struct {
  size_t arena, free_chunks, free_fast_chunks, mapped_chunks, mapped_bytes, unused, free_fast_bytes, used_bytes,
      free_bytes, top_bytes;
} malloc_info_t;

typedef malloc_info_t (*malloc_info_f)(void);

static malloc_info_f malloc_info; /* NULL: there is none */
static size_t bytes;
static size_t left; /* young collections, until the next look */

void zoutside_start(void) { malloc_info = (malloc_info_f)dlsym(RTLD_DEFAULT, "mallinfo2"); }

size_t zoutside_bytes(void) { return bytes; }

/* The locks of malloc are held while it looks: nobody waits for the GIL with one of them. */
static void look(void) {
  malloc_info_t info = malloc_info();
  bytes = info.used_bytes + info.mapped_bytes;
  left = YOUNG_MIN + (info.free_chunks + info.free_fast_chunks) / CHUNKS_FOR_ONE_MORE;
}

void zoutside_note_young(void) {
  if (malloc_info == NULL) return;
  if (left > 0) {
    left--;
  } else {
    look();
  }
}
