/* Preloaded beside the library: writes to the file EVENT_LOG what an interpreter tells its hooks, each event
 * a line. From before the interpreter is initialised: audit events. From the start of the program on: what the
 * watchers of code objects and functions see being made. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct object PyObject;
typedef int (*watcher_t)(int event, PyObject *object);
typedef int (*function_watcher_t)(int event, PyObject *function, PyObject *value);

static int file = -1;
static PyObject *(*get_attribute)(PyObject *, const char *);
static PyObject *(*get_item)(PyObject *, ssize_t);
static const char *(*text_of)(PyObject *);
static void (*drop)(PyObject *);

static void write_event(const char *kind, const char *what) { dprintf(file, "%s %s\n", kind, what); }

static void write_name(const char *kind, PyObject *object, const char *attribute) {
  PyObject *name = get_attribute(object, attribute);
  write_event(kind, name == NULL ? "?" : text_of(name));
  if (name != NULL) drop(name);
}

static int on_code(int event, PyObject *code) {
  if (event == 0) write_name("code", code, "co_name"); /* created: when it dies is the collector's to say */
  return 0;
}

static int on_function(int event, PyObject *function, PyObject *value) {
  (void)value;
  if (event == 0) write_name("function", function, "__qualname__");
  return 0;
}

static void watch(void) {
  int (*add_code)(watcher_t) = (int (*)(watcher_t))dlsym(RTLD_DEFAULT, "PyCode_AddWatcher");
  int (*add_function)(function_watcher_t) =
      (int (*)(function_watcher_t))dlsym(RTLD_DEFAULT, "PyFunction_AddWatcher");
  if (add_code != NULL) add_code(on_code);
  if (add_function != NULL) add_function(on_function);
}

static int on_audit(const char *event, PyObject *arguments, void *unused) {
  (void)unused;
  if (strcmp(event, "import") == 0) {
    PyObject *name = get_item(arguments, 0);
    write_event(event, text_of(name));
  } else {
    write_event("audit", event);
  }
  static int is_watching;
  if (!is_watching && strncmp(event, "cpython.run_", 12) == 0) {
    is_watching = 1;
    watch();
  }
  return 0;
}

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("EVENT_LOG");
  int (*add)(int (*)(const char *, PyObject *, void *), void *) =
      (int (*)(int (*)(const char *, PyObject *, void *), void *))dlsym(RTLD_DEFAULT, "PySys_AddAuditHook");
  if (path == NULL || add == NULL) return;
  get_attribute = (PyObject * (*)(PyObject *, const char *)) dlsym(RTLD_DEFAULT, "PyObject_GetAttrString");
  get_item = (PyObject * (*)(PyObject *, ssize_t)) dlsym(RTLD_DEFAULT, "PyTuple_GetItem");
  text_of = (const char *(*)(PyObject *))dlsym(RTLD_DEFAULT, "PyUnicode_AsUTF8");
  drop = (void (*)(PyObject *))dlsym(RTLD_DEFAULT, "Py_DecRef");
  file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file >= 0) add(on_audit, NULL);
}
