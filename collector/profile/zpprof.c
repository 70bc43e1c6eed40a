#define _GNU_SOURCE
#include "collector/profile/zpprof.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define MAPPINGS_MAX 4096
#define LINE_BYTES 4352

/* -- protobuf --------------------------------------------------------------------------------------- */

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

static void put_varint(zbuffer_t *out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) zbuffer_byte(out, (char)(value | 0x80));
  zbuffer_byte(out, (char)value);
}

static void put_number(zbuffer_t *out, unsigned field, uint64_t value) {
  if (value == 0) return; /* the default */
  put_varint(out, field << 3 | WIRE_VARINT);
  put_varint(out, value);
}

static void put_bytes(zbuffer_t *out, unsigned field, const void *bytes, size_t size) {
  put_varint(out, field << 3 | WIRE_BYTES);
  put_varint(out, size);
  zbuffer_append(out, bytes, size);
}

static void put_message(zbuffer_t *out, unsigned field, zbuffer_t *message) {
  put_bytes(out, field, message->data, message->size);
  out->failed |= message->failed;
  zbuffer_clear(message);
}

/* Field numbers of profile.proto. */
enum {
  PROFILE_SAMPLE_TYPE = 1, PROFILE_SAMPLE = 2, PROFILE_MAPPING = 3, PROFILE_LOCATION = 4,
  PROFILE_FUNCTION = 5, PROFILE_STRING_TABLE = 6, PROFILE_TIME_NANOS = 9,
  PROFILE_DURATION_NANOS = 10, PROFILE_PERIOD_TYPE = 11, PROFILE_PERIOD = 12, PROFILE_COMMENT = 13,
  PROFILE_DEFAULT_SAMPLE_TYPE = 14,
  VALUE_TYPE = 1, VALUE_UNIT = 2,
  SAMPLE_LOCATION_ID = 1, SAMPLE_VALUE = 2, SAMPLE_LABEL = 3,
  LABEL_KEY = 1, LABEL_STR = 2,
  MAPPING_ID = 1, MAPPING_START = 2, MAPPING_LIMIT = 3, MAPPING_OFFSET = 4, MAPPING_FILENAME = 5,
  MAPPING_BUILD_ID = 6,
  LOCATION_ID = 1, LOCATION_MAPPING_ID = 2, LOCATION_ADDRESS = 3, LOCATION_LINE = 4,
  LINE_FUNCTION_ID = 1, LINE_LINE = 2,
  FUNCTION_ID = 1, FUNCTION_NAME = 2, FUNCTION_SYSTEM_NAME = 3, FUNCTION_FILENAME = 4,
  FUNCTION_START_LINE = 5
};

/* -- mappings ------------------------------------------------------------------------------------------ */

typedef struct {
  uintptr_t start, limit;
  uint64_t offset;
  char *file;
  char build_id[48]; /* hex */
} mapping_t;

typedef struct {
  mapping_t *rows;
  size_t count;
} mappings_t;

static int note_build_id(struct dl_phdr_info *info, size_t size, void *raw) {
  (void)size;
  mappings_t *mappings = raw;
  char text[48] = "";
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[i];
    if (header->p_type != PT_NOTE || header->p_align > 8) continue;
    size_t align = zmax(header->p_align, 4);
    const char *at = (const char *)(info->dlpi_addr + header->p_vaddr), *end = at + header->p_memsz;
    while (text[0] == '\0' && (size_t)(end - at) > sizeof(ElfW(Nhdr))) {
      const ElfW(Nhdr) *note = (const void *)at;
      const char *name = at + sizeof *note;
      const unsigned char *id = (const void *)(at + zalign_up(sizeof *note + note->n_namesz, align));
      size_t whole = zalign_up((size_t)((const char *)id - at) + note->n_descsz, align);
      if (whole > (size_t)(end - at)) break;
      if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(name, "GNU", 4) == 0 &&
          note->n_descsz <= 20) {
        for (unsigned j = 0; j < note->n_descsz; j++) sprintf(text + 2 * j, "%02x", id[j]);
      }
      at += whole;
    }
  }
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[i];
    if (header->p_type != PT_LOAD) continue;
    uintptr_t start = info->dlpi_addr + header->p_vaddr, end = start + header->p_memsz;
    for (size_t j = 0; j < mappings->count; j++) {
      mapping_t *m = &mappings->rows[j];
      if (m->start < end && start < m->limit) memcpy(m->build_id, text, sizeof text);
    }
  }
  return 0;
}

static void read_mappings(mappings_t *mappings) {
  mappings->count = 0;
  mappings->rows = calloc(MAPPINGS_MAX, sizeof *mappings->rows);
  FILE *file = fopen("/proc/self/maps", "re");
  char line[LINE_BYTES];
  while (mappings->rows != NULL && file != NULL && fgets(line, sizeof line, file) != NULL) {
    unsigned long start, limit;
    unsigned long long offset;
    char rights[8];
    int name = 0;
    if (sscanf(line, "%lx-%lx %7s %llx %*s %*s %n", &start, &limit, rights, &offset, &name) < 4) continue;
    if (rights[2] != 'x' || name == 0 || mappings->count == MAPPINGS_MAX) continue;
    line[strcspn(line, "\n")] = '\0';
    mappings->rows[mappings->count++] =
        (mapping_t){.start = start, .limit = limit, .offset = offset, 
                    .file = zbuffer_copy(line + name)};
  }
  if (file != NULL) fclose(file);
  if (mappings->rows != NULL) dl_iterate_phdr(note_build_id, mappings);
}

static void free_mappings(mappings_t *mappings) {
  for (size_t i = 0; i < mappings->count; i++) free(mappings->rows[i].file);
  free(mappings->rows);
}

/* Its number from 1 on, or 0. */
static uint64_t mapping_of(const mappings_t *mappings, uintptr_t address) {
  for (size_t i = 0; i < mappings->count; i++) {
    if (address >= mappings->rows[i].start && address < mappings->rows[i].limit) return i + 1;
  }
  return 0;
}

/* -- the profile ------------------------------------------------------------------------------------------ */

typedef struct {
  const zprofile_snapshot_t *snapshot;
  zbuffer_t *out;      /* the message under way */
  zbuffer_t strings;   /* the string table, which may stand anywhere in the message */
  uint64_t string_count;
  zbuffer_t message, inner, packed; /* to build nested messages in */
  uint64_t *places;    /* Python places (code id, line), sorted */
  size_t place_count;
} writer_t;

static uint64_t string(writer_t *w, const char *text) {
  put_bytes(&w->strings, PROFILE_STRING_TABLE, text, strlen(text));
  return w->string_count++;
}

/* Ids: native places first, then Python ones; functions of Python first, then native ones. */
static uint64_t place_key(const zstack_python_t *frame) {
  return (uint64_t)frame->code->id << 32 | (uint32_t)frame->line;
}

static int compare_keys(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static bool collect_places(writer_t *w) {
  size_t count = 0;
  for (uint32_t i = 0; i < w->snapshot->stack_count; i++) count += w->snapshot->stacks[i]->pythons;
  w->places = malloc((count + 1) * sizeof *w->places);
  if (w->places == NULL) return false;
  count = 0;
  for (uint32_t i = 0; i < w->snapshot->stack_count; i++) {
    const zstack_t *stack = w->snapshot->stacks[i];
    for (unsigned j = 0; j < stack->pythons; j++) w->places[count++] = place_key(&stack->python[j]);
  }
  qsort(w->places, count, sizeof *w->places, compare_keys);
  w->place_count = 0;
  for (size_t i = 0; i < count; i++) {
    if (i == 0 || w->places[i] != w->places[i - 1]) w->places[w->place_count++] = w->places[i];
  }
  return true;
}

static uint64_t python_location(const writer_t *w, const zstack_python_t *frame) {
  uint64_t key = place_key(frame);
  const uint64_t *found = bsearch(&key, w->places, w->place_count, sizeof key, compare_keys);
  return w->snapshot->native_count + 1 + (uint64_t)(found - w->places);
}

static void put_value_type(writer_t *w, unsigned field, const char *type, const char *unit) {
  put_number(&w->message, VALUE_TYPE, string(w, type));
  put_number(&w->message, VALUE_UNIT, string(w, unit));
  put_message(w->out, field, &w->message);
}

static void put_types(writer_t *w) {
  put_value_type(w, PROFILE_SAMPLE_TYPE, "alloc_objects", "count");
  put_value_type(w, PROFILE_SAMPLE_TYPE, "alloc_space", "bytes");
  put_value_type(w, PROFILE_SAMPLE_TYPE, "inuse_objects", "count");
  put_value_type(w, PROFILE_SAMPLE_TYPE, "inuse_space", "bytes");
  put_value_type(w, PROFILE_SAMPLE_TYPE, "lifetime", "nanoseconds");
  put_value_type(w, PROFILE_PERIOD_TYPE, "space", "bytes");
  put_number(w->out, PROFILE_PERIOD, zprofile_rate());
  put_number(w->out, PROFILE_DEFAULT_SAMPLE_TYPE, string(w, "inuse_space"));
}

static void put_mapping(writer_t *w, uint64_t id, const mapping_t *m) {
  put_number(&w->message, MAPPING_ID, id);
  put_number(&w->message, MAPPING_START, m->start);
  put_number(&w->message, MAPPING_LIMIT, m->limit);
  put_number(&w->message, MAPPING_OFFSET, m->offset);
  put_number(&w->message, MAPPING_FILENAME, string(w, m->file == NULL ? "" : m->file));
  put_number(&w->message, MAPPING_BUILD_ID, string(w, m->build_id));
  put_message(w->out, PROFILE_MAPPING, &w->message);
}

/* A system name is what pprof takes for mangled C++, in which <module> would be a template's argument:
 * Python functions have none. */
static void put_function(writer_t *w, uint64_t id, const char *name, const char *file, int first_line) {
  uint64_t index = string(w, name);
  put_number(&w->message, FUNCTION_ID, id);
  put_number(&w->message, FUNCTION_NAME, index);
  put_number(&w->message, FUNCTION_SYSTEM_NAME, first_line > 0 ? 0 : index);
  put_number(&w->message, FUNCTION_FILENAME, string(w, file));
  put_number(&w->message, FUNCTION_START_LINE, (uint64_t)(first_line > 0 ? first_line : 0));
  put_message(w->out, PROFILE_FUNCTION, &w->message);
}

static void put_location(writer_t *w, uint64_t id, uint64_t mapping, uintptr_t address, uint64_t function,
                         uint64_t line) {
  put_number(&w->message, LOCATION_ID, id);
  put_number(&w->message, LOCATION_MAPPING_ID, mapping);
  put_number(&w->message, LOCATION_ADDRESS, address);
  put_number(&w->inner, LINE_FUNCTION_ID, function);
  put_number(&w->inner, LINE_LINE, line);
  put_message(&w->message, LOCATION_LINE, &w->inner);
  put_message(w->out, PROFILE_LOCATION, &w->message);
}

static void put_places(writer_t *w) {
  mappings_t mappings;
  read_mappings(&mappings);
  for (size_t i = 0; i < mappings.count; i++) put_mapping(w, i + 1, &mappings.rows[i]);
  const zprofile_snapshot_t *s = w->snapshot;
  for (uint32_t i = 0; i < s->native_count; i++) {
    uintptr_t address = s->natives[i]->address;
    uint64_t mapping = mapping_of(&mappings, address);
    const char *file = mapping == 0 ? "" : mappings.rows[mapping - 1].file;
    put_function(w, s->code_count + i + 1, s->natives[i]->name, file == NULL ? "" : file, 0);
    put_location(w, i + 1, mapping, address, s->code_count + i + 1, 0);
  }
  free_mappings(&mappings);
  for (uint32_t i = 0; i < s->code_count; i++) {
    const zcode_t *code = s->codes[i];
    put_function(w, code->id, code->name, code->file, code->first_line);
  }
  for (size_t i = 0; i < w->place_count; i++) {
    put_location(w, s->native_count + 1 + i, 0, 0, w->places[i] >> 32, (uint32_t)w->places[i]);
  }
}

static uint64_t rounded(double value) { return value > 0 ? (uint64_t)(value + 0.5) : 0; }

static void put_sample(writer_t *w, const zstack_t *stack, const zstack_total_t *total, bool is_live,
                       uint64_t label_key, uint64_t label) {
  if (total->bytes <= 0) return;
  zstack_walk_t walk = {.stack = stack};
  const znative_t *native;
  const zstack_python_t *python;
  while (zstack_next(&walk, &native, &python)) {
    put_varint(&w->packed, native != NULL ? native->id : python_location(w, python));
  }
  put_message(&w->message, SAMPLE_LOCATION_ID, &w->packed);
  uint64_t values[] = {rounded(total->objects), rounded(total->bytes),
                       is_live ? rounded(total->objects) : 0, is_live ? rounded(total->bytes) : 0,
                       rounded(total->lifetime_ns)};
  for (size_t i = 0; i < ZARRAY_LENGTH(values); i++) put_varint(&w->packed, values[i]);
  put_message(&w->message, SAMPLE_VALUE, &w->packed);
  put_number(&w->inner, LABEL_KEY, label_key);
  put_number(&w->inner, LABEL_STR, label);
  put_message(&w->message, SAMPLE_LABEL, &w->inner);
  put_message(w->out, PROFILE_SAMPLE, &w->message);
}

static void put_samples(writer_t *w) {
  uint64_t key = string(w, "lifetime"), live = string(w, "live"), ages[ZSTACK_LIFETIMES];
  for (unsigned i = 0; i < ZSTACK_LIFETIMES; i++) ages[i] = string(w, zstack_lifetimes[i].name);
  for (uint32_t i = 0; i < w->snapshot->stack_count; i++) {
    const zstack_t *stack = w->snapshot->stacks[i];
    put_sample(w, stack, &w->snapshot->live[i], true, key, live);
    for (unsigned j = 0; j < ZSTACK_LIFETIMES; j++) {
      put_sample(w, stack, &w->snapshot->freed[(size_t)i * ZSTACK_LIFETIMES + j], false, key, ages[j]);
    }
  }
}

static void put_times(writer_t *w) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  uint64_t duration = w->snapshot->taken_ns - w->snapshot->started_ns;
  uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
  put_number(w->out, PROFILE_TIME_NANOS, now_ns - duration);
  put_number(w->out, PROFILE_DURATION_NANOS, duration);
}

static bool compress_into(const zbuffer_t *plain, zbuffer_t *out) {
  z_stream stream = {0};
  char chunk[16384];
  if (plain->failed || plain->size > UINT32_MAX) return false;
  enum { GZIP = 16 };
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + GZIP, 8,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    return false;
  }
  stream.next_in = (unsigned char *)plain->data;
  stream.avail_in = (unsigned)plain->size;
  int result = Z_OK;
  while (result == Z_OK) {
    stream.next_out = (unsigned char *)chunk;
    stream.avail_out = sizeof chunk;
    result = deflate(&stream, Z_FINISH);
    zbuffer_append(out, chunk, sizeof chunk - stream.avail_out);
  }
  deflateEnd(&stream);
  return result == Z_STREAM_END && !out->failed;
}

bool zpprof_write(const zprofile_snapshot_t *snapshot, zbuffer_t *out) {
  zbuffer_t plain = {0};
  writer_t w = {.snapshot = snapshot, .out = &plain};
  string(&w, ""); /* index 0 */
  bool written = collect_places(&w);
  if (written) {
    put_types(&w);
    put_samples(&w);
    put_places(&w);
    put_times(&w);
    put_number(&plain, PROFILE_COMMENT, string(&w, "zgcpreload " ZVERSION ": ZGC_PROFILE"));
    zbuffer_append(&plain, w.strings.data, w.strings.size);
    written = !w.strings.failed && compress_into(&plain, out);
  }
  free(w.places);
  zbuffer_free(&w.strings);
  zbuffer_free(&w.message);
  zbuffer_free(&w.inner);
  zbuffer_free(&w.packed);
  zbuffer_free(&plain);
  return written;
}
