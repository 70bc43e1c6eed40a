#define _GNU_SOURCE
#include "collector/cpython/zoutside.h"

#include <dlfcn.h>

#define YOUNG_MIN 16          /* young collections between two looks, and ... */
#define CHUNKS_FOR_ONE_MORE 16 /* ... one more for so many free chunks: 20 ns each */

/* struct mallinfo2, which older headers do not have. */
typedef struct {
  size_t arena, free_chunks, free_fast_chunks, mapped_chunks, mapped_bytes, unused, free_fast_bytes, used_bytes,
      free_bytes, top_bytes;
} malloc_info_t;

typedef malloc_info_t (*malloc_info_f)(void);

static size_t bytes;
static size_t left; /* young collections, until the next look */

size_t zoutside_bytes(void) { return bytes; }

static malloc_info_f find(void) {
  static bool is_known;
  static malloc_info_f function;
  if (!is_known) function = (malloc_info_f)dlsym(RTLD_DEFAULT, "mallinfo2");
  is_known = true;
  return function;
}

static void look(void) {
  malloc_info_f read = find();
  if (read == NULL) return;
  malloc_info_t info = read();
  bytes = info.used_bytes + info.mapped_bytes;
  left = YOUNG_MIN + (info.free_chunks + info.free_fast_chunks) / CHUNKS_FOR_ONE_MORE;
}

void zoutside_note_young(void) {
  if (left > 0) {
    left--;
  } else {
    look();
  }
}
