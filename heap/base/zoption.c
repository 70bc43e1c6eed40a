#include "heap/base/zoption.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/base/zlog.h"

const zoption_row_t zoption_rows[ZOPTION_ID_COUNT] = {
#define X(field, name, type, fallback, min, max, help) \
  [ZOPTION_ID_##field] = {name, ZOPTION_##type, fallback, min, max, help},
    ZOPTION_TABLE(X)
#undef X
};

/* Names of the numbers of a type, or NULL: a plain number. */
static const char *const *names_of(zoption_type_t type) {
  static const char *const levels[] = {"off", "warn", "info", "debug", "trace"};
  static const char *const bindings[] = {"auto", "table", "symbols"};
  static const char *const exits[] = {"exact", "fast"};
  switch (type) {
    case ZOPTION_LEVEL:
      return levels;
    case ZOPTION_BINDING:
      return bindings;
    case ZOPTION_EXIT:
      return exits;
    default:
      return NULL;
  }
}

static uint64_t numbers[ZOPTION_ID_COUNT] = {
#define X(field, name, type, fallback, ...) [ZOPTION_ID_##field] = fallback,
    ZOPTION_TABLE(X)
#undef X
};

/* Copies: the program may change its environment. Apart from the numbers, as most are never touched. */
static char texts[ZOPTION_ID_COUNT][ZOPTION_TEXT_MAX + 1];

uint64_t zoption_number(zoption_id_t id) { return numbers[id]; }
const char *zoption_text_of(zoption_id_t id) { return texts[id]; }

bool zoption_is_default(zoption_id_t id) {
  return numbers[id] == zoption_rows[id].fallback && texts[id][0] == '\0';
}

const char *zoption_type_name(zoption_type_t type) {
  static const char *const names[] = {"bool", "count", "percent", "size", "level", "binding", "exit", "text"};
  return names[type];
}

static const char *unit_name(zoption_type_t type) {
  return type == ZOPTION_PERCENT ? "percentage" : type == ZOPTION_SIZE ? "size" : "whole number";
}

static void format_size(uint64_t bytes, char *buffer, size_t size) {
  static const char suffixes[] = {0, 'k', 'M', 'G', 'T'};
  unsigned i = 0;
  while (bytes != 0 && bytes % 1024 == 0 && i + 1 < sizeof suffixes) {
    bytes /= 1024;
    i++;
  }
  if (i == 0) {
    snprintf(buffer, size, "%llu", (unsigned long long)bytes);
  } else {
    snprintf(buffer, size, "%llu%c", (unsigned long long)bytes, suffixes[i]);
  }
}

static void format_number(zoption_type_t type, uint64_t number, char *buffer, size_t size) {
  if (type == ZOPTION_SIZE) {
    format_size(number, buffer, size);
  } else if (names_of(type) != NULL) {
    snprintf(buffer, size, "%s", names_of(type)[number]);
  } else {
    snprintf(buffer, size, "%llu", (unsigned long long)number);
  }
}

void zoption_format(zoption_id_t id, char *buffer, size_t size) {
  if (zoption_rows[id].type == ZOPTION_TEXT) {
    snprintf(buffer, size, "%s", texts[id]);
  } else {
    format_number(zoption_rows[id].type, numbers[id], buffer, size);
  }
}

void zoption_format_default(zoption_id_t id, char *buffer, size_t size) {
  const zoption_row_t *row = &zoption_rows[id];
  buffer[0] = '\0';
  if (row->type != ZOPTION_TEXT) format_number(row->type, row->fallback, buffer, size);
}

void zoption_describe_range(zoption_id_t id, char *buffer, size_t size) {
  const zoption_row_t *row = &zoption_rows[id];
  char min[32], max[32];
  switch (row->type) {
    case ZOPTION_BOOL:
      snprintf(buffer, size, "0 or 1");
      break;
    case ZOPTION_LEVEL:
      snprintf(buffer, size, "info, debug or trace");
      break;
    case ZOPTION_BINDING:
      snprintf(buffer, size, "auto, table or symbols");
      break;
    case ZOPTION_EXIT:
      snprintf(buffer, size, "exact or fast");
      break;
    case ZOPTION_TEXT:
      snprintf(buffer, size, "text of at most %d bytes", ZOPTION_TEXT_MAX);
      break;
    default:
      format_number(row->type, row->min, min, sizeof min);
      format_number(row->type, row->max, max, sizeof max);
      snprintf(buffer, size, "a %s from %s to %s%s", unit_name(row->type), min, max,
               row->fallback < row->min ? ", or 0 for automatic" : "");
  }
}

static bool parse_number(const zoption_row_t *row, const char *text, uint64_t *number) {
  if (text[0] < '0' || text[0] > '9') return false; /* strtoull would take signs and blanks */
  char *end;
  errno = 0;
  unsigned long long parsed = strtoull(text, &end, 10);
  if (errno != 0) return false;
  if (row->type == ZOPTION_SIZE && *end != '\0') {
    static const char suffixes[] = "kKmMgGtT";
    const char *suffix = strchr(suffixes, *end);
    if (suffix == NULL) return false;
    unsigned shift = 10u * (1u + (unsigned)(suffix - suffixes) / 2u);
    if (parsed > (UINT64_MAX >> shift)) return false;
    parsed <<= shift;
    end++;
  } else if (row->type == ZOPTION_PERCENT && *end == '%') {
    end++;
  }
  if (*end != '\0') return false;
  bool automatic = parsed == row->fallback;
  if (!automatic && (parsed < row->min || parsed > row->max)) return false;
  *number = parsed;
  return true;
}

bool zoption_set(zoption_id_t id, const char *text) {
  const zoption_row_t *row = &zoption_rows[id];
  if (row->type == ZOPTION_TEXT) {
    size_t length = strlen(text);
    if (length > ZOPTION_TEXT_MAX) return false;
    memcpy(texts[id], text, length + 1);
    return true;
  }
  const char *const *names = names_of(row->type);
  if (names != NULL) {
    for (uint64_t number = row->min; number <= row->max; number++) {
      if (strcmp(text, names[number]) == 0) {
        numbers[id] = number;
        return true;
      }
    }
    return false;
  }
  return parse_number(row, text, &numbers[id]);
}

static void reset(void) {
  for (unsigned id = 0; id < ZOPTION_ID_COUNT; id++) {
    numbers[id] = zoption_rows[id].fallback;
    if (zoption_rows[id].type == ZOPTION_TEXT) texts[id][0] = '\0';
  }
}

bool zoption_parse(void) {
  for (unsigned id = 0; id < ZOPTION_ID_COUNT; id++) {
    const char *text = getenv(zoption_rows[id].name);
    if (text == NULL || text[0] == '\0') continue; /* an empty variable is an unset one */
    if (zoption_set((zoption_id_t)id, text)) continue;
    char range[128];
    zoption_describe_range((zoption_id_t)id, range, sizeof range);
    zlog_notice("%s=%.200s not understood (%s); running as stock CPython", zoption_rows[id].name,
                text, range);
    reset();
    return false;
  }
  return true;
}
