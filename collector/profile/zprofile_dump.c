#define _GNU_SOURCE
#include "collector/profile/zprofile_dump.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/profile/zpprof.h"
#include "heap/base/zbacktrace.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"

#define NAME_BYTES 256

/* GIL. */
static bool is_dumping, is_child;
static char target[ZPROFILE_PATH_BYTES];

/* -- names ------------------------------------------------------------------------------------------ */

static char *text_of(PyObject *code, const char *attribute) {
  PyObject *value = zpy.PyObject_GetAttrString(code, attribute);
  const char *text = value == NULL ? NULL : zpy.PyUnicode_AsUTF8AndSize(value, NULL);
  if (text == NULL) zpy.PyErr_Clear(); /* a lone surrogate, no memory */
  char *copy = zbuffer_copy(text == NULL ? "?" : text);
  if (value != NULL) zpy.Py_DecRef(value);
  return copy;
}

static bool name_code(zcode_t *code) {
  if (code->name != NULL) return true;
  PyObject *line = zpy.PyObject_GetAttrString(code->code, "co_firstlineno");
  code->first_line = line == NULL ? 0 : (int)zpy.PyLong_AsLong(line);
  if (line != NULL) zpy.Py_DecRef(line);
  zpy.PyErr_Clear();
  char *name = text_of(code->code, "co_qualname"), *file = text_of(code->code, "co_filename");
  if (name == NULL || file == NULL) {
    free(name);
    free(file);
    return false;
  }
  code->file = file;
  code->name = name;
  return true;
}

static bool name_native(znative_t *native) {
  char name[NAME_BYTES];
  if (native->name != NULL) return true;
  zbacktrace_name(native->address, name, sizeof name);
  native->name = zbuffer_copy(name);
  return native->name != NULL;
}

static bool name_all(const zprofile_snapshot_t *snapshot) {
  for (uint32_t i = 0; i < snapshot->native_count; i++) {
    if (!name_native(snapshot->natives[i])) return false;
  }
  for (uint32_t i = 0; i < snapshot->code_count; i++) {
    if (!name_code(snapshot->codes[i])) return false;
  }
  for (uint32_t i = 0; i < snapshot->stack_count; i++) {
    const zstack_t *stack = snapshot->stacks[i];
    for (unsigned j = 0; j < stack->pythons; j++) {
      zstack_python_t *frame = &stack->python[j];
      if (frame->line != 0) continue;
      int line = zpy.PyCode_Addr2Line(frame->code->code, frame->instruction);
      frame->line = line > 0 ? line : frame->code->first_line;
    }
  }
  return true;
}

/* -- collapsed stacks ----------------------------------------------------------------------------------- */

/* A frame's name in a line whose separators are ';' and the last blank. */
static void put_frame(zbuffer_t *out, const char *text) {
  while (*text != '\0') {
    size_t plain = strcspn(text, ";\n");
    zbuffer_append(out, text, plain);
    text += plain;
    if (*text != '\0') zbuffer_byte(out, *text++ == ';' ? ':' : ' ');
  }
}

static void put_python(zbuffer_t *out, const zstack_python_t *frame) {
  const char *slash = strrchr(frame->code->file, '/');
  put_frame(out, frame->code->name);
  zbuffer_text(out, " (");
  put_frame(out, slash == NULL ? frame->code->file : slash + 1);
  zbuffer_format(out, ":%d)", (int)frame->line);
}

static void put_stack(zbuffer_t *out, const zstack_t *stack) {
  struct {
    const znative_t *native;
    const zstack_python_t *python;
  } frames[ZSTACK_NATIVE_MAX + ZSTACK_PYTHON_MAX];
  unsigned count = 0;
  zstack_walk_t walk = {.stack = stack};
  while (count < ZARRAY_LENGTH(frames) &&
         zstack_next(&walk, &frames[count].native, &frames[count].python)) {
    count++;
  }
  if (count == 0) zbuffer_text(out, stack->id == 0 ? "[more stacks]" : "[no stack]");
  for (unsigned i = count; i-- > 0;) {
    if (frames[i].native != NULL) {
      put_frame(out, frames[i].native->name);
    } else {
      put_python(out, frames[i].python);
    }
    if (i > 0) zbuffer_byte(out, ';');
  }
}

static void put_collapsed(zbuffer_t *out, const zprofile_snapshot_t *snapshot, bool with_freed) {
  for (uint32_t i = 0; i < snapshot->stack_count; i++) {
    double bytes = snapshot->live[i].bytes;
    for (unsigned j = 0; with_freed && j < ZSTACK_LIFETIMES; j++) {
      bytes += snapshot->freed[(size_t)i * ZSTACK_LIFETIMES + j].bytes;
    }
    if (bytes < 1) continue;
    put_stack(out, snapshot->stacks[i]);
    zbuffer_format(out, " %.0f\n", bytes);
  }
}

/* -- files ------------------------------------------------------------------------------------------------ */

static bool expand(const char *pattern) {
  size_t at = 0;
  bool has_pid = false;
  for (const char *p = pattern; *p != '\0'; p++) {
    if (at + 16 > sizeof target) return false;
    if (p[0] == '%' && p[1] == 'p') {
      at += (size_t)sprintf(target + at, "%d", (int)getpid());
      has_pid = true;
      p++;
    } else {
      target[at++] = *p;
    }
  }
  target[at] = '\0';
  if (is_child && !has_pid) sprintf(target + at, ".%d", (int)getpid());
  return true;
}

static int write_one(zbuffer_t *buffer, const char *suffix) {
  char path[ZPROFILE_PATH_BYTES + 32];
  snprintf(path, sizeof path, "%s%s", target, suffix);
  int error = zbuffer_write_file(buffer, path);
  zbuffer_free(buffer);
  return error;
}

static int write_all(const zprofile_snapshot_t *snapshot) {
  zbuffer_t pprof = {0}, live = {0}, allocated = {0};
  if (!name_all(snapshot) || !zpprof_write(snapshot, &pprof)) {
    zbuffer_free(&pprof);
    return -ENOMEM;
  }
  put_collapsed(&live, snapshot, false);
  put_collapsed(&allocated, snapshot, true);
  int errors[] = {write_one(&pprof, ""), write_one(&live, ".live.collapsed"),
                  write_one(&allocated, ".allocated.collapsed")};
  for (size_t i = 0; i < ZARRAY_LENGTH(errors); i++) {
    if (errors[i] != 0) return errors[i];
  }
  return 0;
}

int zprofile_dump(const char *path, const char **written) {
  if (is_dumping) return -EBUSY;
  is_dumping = true;
  zprofile_pause();
  uint64_t start = zos_now_ns();
  zprofile_snapshot_t snapshot;
  int error = -ENAMETOOLONG;
  if (path == NULL) {
    if (expand(zprofile_path())) error = 0;
  } else if (strlen(path) < sizeof target) {
    strcpy(target, path);
    error = 0;
  }
  *written = error == 0 ? target : zprofile_path();
  if (error == 0) {
    error = -ENOMEM;
    if (zprofile_snapshot(&snapshot)) {
      error = write_all(&snapshot);
      zlog_info("gc,profile", "%s: %u stacks, %.3fms", target, (unsigned)snapshot.stack_count,
                zlog_ms(zos_now_ns() - start));
      zprofile_snapshot_free(&snapshot);
    }
  }
  zprofile_resume();
  is_dumping = false;
  return error;
}

void zprofile_dump_quietly(void) {
  const char *path;
  int error = zprofile_dump(NULL, &path);
  if (error == 0 || error == -EBUSY) return;
  zlog_notice("ZGC_PROFILE: %.900s cannot be written (%s); this profile is lost", path,
              error == -EEXIST ? "not a regular file" : strerror(-error));
}

void zprofile_dump_after_fork_in_child(void) {
  is_child = true;
  is_dumping = false;
}
