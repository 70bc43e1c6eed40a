#include "preload/module/zmodule.h"

#include <string.h>

#include "collector/cpython/zcollector.h"
#include "collector/cpython/zmode.h"
#include "collector/cpython/zpublish.h"
#include "collector/cpython/zswitch.h"
#include "collector/cpython/zverify.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/base/zstatpage.h"
#include "preload/managed/zmanaged.h"
#include "preload/module/zcensus_dict.h"
#include "preload/module/zprofiling.h"
#include "preload/module/zprometheus.h"
#include "preload/start/zbinding.h"
#include "preload/start/zstage.h"

static const char *why_inactive(void) {
  bool is_replaced = zstage() == ZSTAGE_WAITING && zbinding_is_replaced();
  return is_replaced ? "the interpreter set allocators of its own over ours" : zstage_reason();
}

/* Sub-interpreters have CPython's own collector: ours knows the main interpreter's lists only. */
static bool require_active(void) {
  if (zpy.PyInterpreterState_Get() != zpy.PyInterpreterState_Main()) {
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError,
                        "zgc: this is a sub-interpreter, whose objects CPython's own collector "
                        "looks after; nothing was done");
    return false;
  }
  if (zstage() == ZSTAGE_ACTIVE) return true;
  zpy.PyErr_Format(*zpy.PyExc_RuntimeError, "zgcpreload is not active: %s", why_inactive());
  return false;
}

/* Finalizers may still call us once everything is handed back: they get CPython's own collector. */
static bool is_ending(void) { return zstage() == ZSTAGE_ENDING; }

/* Adds and releases the value; false with an exception set. */
static bool put(PyObject *dict, const char *key, PyObject *value) {
  if (value == NULL) return false;
  int error = zpy.PyDict_SetItemString(dict, key, value);
  zpy.Py_DecRef(value);
  return error == 0;
}

static PyObject *text(const char *s) { return zpy.PyUnicode_FromString(s); }

static PyObject *option_value(zoption_id_t id) {
  zoption_type_t type = zoption_rows[id].type;
  if (type == ZOPTION_TEXT || type == ZOPTION_LEVEL || type == ZOPTION_BINDING) {
    char value[ZOPTION_TEXT_MAX + 1];
    zoption_format(id, value, sizeof value);
    return text(value);
  }
  return zpy.PyLong_FromUnsignedLongLong(zoption_number(id));
}

static PyObject *option_values(void) {
  PyObject *dict = zpy.PyDict_New();
  for (unsigned id = 0; dict != NULL && id < ZOPTION_ID_COUNT; id++) {
    if (put(dict, zoption_rows[id].name, option_value((zoption_id_t)id))) continue;
    zpy.Py_DecRef(dict);
    dict = NULL;
  }
  return dict;
}

/* {"commit": (calls, of these injected)} for the kinds that ZGC_FAULT names. */
static PyObject *fault_counts(void) {
  PyObject *dict = zpy.PyDict_New();
  for (int fault = 0; dict != NULL && fault < ZOS_FAULT_COUNT; fault++) {
    uint64_t calls = zos_fault_calls((zos_fault_t)fault);
    if (calls == 0) continue;
    PyObject *pair = zpy.Py_BuildValue("(KK)", (unsigned long long)calls,
                                       (unsigned long long)zos_fault_injected((zos_fault_t)fault));
    if (put(dict, zos_fault_name((zos_fault_t)fault), pair)) continue;
    zpy.Py_DecRef(dict);
    dict = NULL;
  }
  return dict;
}

static PyObject *module_status(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  bool active = zstage() == ZSTAGE_ACTIVE;
  bool ours = active && zmode_is_on();
  char version[64];
  strncpy(version, zpy.Py_GetVersion(), sizeof version - 1);
  version[sizeof version - 1] = '\0';
  version[strcspn(version, " ")] = '\0';
  PyObject *why = why_inactive()[0] != '\0' && !active ? text(why_inactive()) : zpy_new_none();
  PyObject *dict = zpy.PyDict_New();
  bool made = dict != NULL;
  made = made && put(dict, "active", zpy.PyBool_FromLong(active));
  made = put(dict, "reason", why) && made;
  made = made && put(dict, "collector", text(ours ? "zgc" : "stock"));
  const char *no_symbols = zbinding_reason();
  made = made && put(dict, "binding", text(zbinding_name()));
  made = made && put(dict, "binding_reason",
                     no_symbols[0] != '\0' ? text(no_symbols) : zpy_new_none());
  made = made && put(dict, "interpreter", text(version));
  made = made && put(dict, "version", text(ZVERSION));
  const char *page = zstatpage_path();
  made = made && put(dict, "statpage", page != NULL ? text(page) : zpy_new_none());
  made = made && put(dict, "options", option_values());
  if (zoption_text(fault)[0] != '\0') made = made && put(dict, "injected", fault_counts());
  if (!made && dict != NULL) zpy.Py_DecRef(dict);
  return made ? dict : NULL;
}

static PyObject *module_stats(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  if (zstage() == ZSTAGE_ACTIVE) {
    zpublish_refresh();
    zstatpage_publish();
  }
  PyObject *dict = zpy.PyDict_New();
  const char *name;
  uint64_t value;
  for (unsigned i = 0; dict != NULL && zstat_at(i, &name, &value); i++) {
    if (put(dict, name, zpy.PyLong_FromUnsignedLongLong(value))) continue;
    zpy.Py_DecRef(dict);
    dict = NULL;
  }
  return dict;
}

static PyObject *module_prometheus(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  if (zstage() == ZSTAGE_ACTIVE) zpublish_refresh();
  return zprometheus_text();
}

static PyObject *describe_option(zoption_id_t id) {
  const zoption_row_t *row = &zoption_rows[id];
  char range[128], fallback[32];
  zoption_describe_range(id, range, sizeof range);
  zoption_format_default(id, fallback, sizeof fallback);
  PyObject *dict = zpy.PyDict_New();
  bool made = dict != NULL && put(dict, "name", text(row->name)) &&
              put(dict, "type", text(zoption_type_name(row->type))) &&
              put(dict, "default", text(fallback)) &&
              put(dict, "range", text(range)) && put(dict, "help", text(row->help)) &&
              put(dict, "value", option_value(id));
  if (!made && dict != NULL) zpy.Py_DecRef(dict);
  return made ? dict : NULL;
}

static PyObject *module_options(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  PyObject *list = zpy.PyList_New(0);
  for (unsigned id = 0; list != NULL && id < ZOPTION_ID_COUNT; id++) {
    PyObject *row = describe_option((zoption_id_t)id);
    bool added = row != NULL && zpy.PyList_Append(list, row) == 0;
    if (row != NULL) zpy.Py_DecRef(row);
    if (added) continue;
    zpy.Py_DecRef(list);
    list = NULL;
  }
  return list;
}

static PyObject *module_enable(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  if (is_ending()) return zpy_new_none();
  if (!require_active()) return NULL;
  zswitch(true);
  return zpy_new_none();
}

static PyObject *module_disable(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  if (is_ending()) return zpy_new_none();
  if (!require_active()) return NULL;
  zswitch(false);
  return zpy_new_none();
}

static PyObject *module_collect(PyObject *self, PyObject *arguments, PyObject *keywords) {
  (void)self;
  static char *names[] = {"wait", NULL};
  int wait = 1;
  if (!zpy.PyArg_ParseTupleAndKeywords(arguments, keywords, "|p:collect", names, &wait)) {
    return NULL;
  }
  if (!is_ending() && !require_active()) return NULL;
  Py_ssize_t count = is_ending() ? zcollector_collect(2) : zcollector_collect_concurrently(wait);
  return count < 0 ? NULL : zpy.PyLong_FromLong(count);
}

static PyObject *module_census(PyObject *self, PyObject *arguments, PyObject *keywords) {
  (void)self;
  static char *names[] = {"of", NULL};
  const char *of = "live";
  if (!zpy.PyArg_ParseTupleAndKeywords(arguments, keywords, "|s:census", names, &of)) return NULL;
  return require_active() ? zcensus_dict(of) : NULL;
}

static PyObject *module_verify(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  if (is_ending()) return zpy.PyLong_FromLong(0);
  if (!require_active()) return NULL;
  Py_ssize_t count = zverify();
  return count < 0 ? NULL : zpy.PyLong_FromLong(count);
}

static PyObject *module_dump_profile(PyObject *self, PyObject *arguments, PyObject *keywords) {
  if (!require_active()) return NULL;
  return zprofiling_dump(self, arguments, keywords);
}

static PyMethodDef functions[] = {
    {"status", module_status, METH_NOARGS,
     "status($module, /)\n--\n\n"
     "Whether the library is at work here: active, reason (why not), collector ('zgc' or 'stock'),\n"
     "binding ('symbols', 'table' or 'none'), binding_reason (why not symbols), interpreter, version,\n"
     "statpage (path of the statistics page, None while there is none), options."},
    {"stats", module_stats, METH_NOARGS, NULL}, /* zmanaged.c puts its own before it; so collect */
    {"prometheus", module_prometheus, METH_NOARGS,
     "prometheus($module, /)\n--\n\n"
     "The counters as text for Prometheus to scrape (format 0.0.4, ends with a newline): times in\n"
     "seconds, sizes in bytes, pauses as a histogram by kind. Works where the library is passive, too."},
    {"options", module_options, METH_NOARGS,
     "options($module, /)\n--\n\nEvery option: name, type, default, range, help, value."},
    {"enable", module_enable, METH_NOARGS,
     "enable($module, /)\n--\n\n"
     "Let this library do the full collections from now on. RuntimeError when it is not active."},
    {"disable", module_disable, METH_NOARGS,
     "disable($module, /)\n--\n\n"
     "Let CPython's own collector do the full collections, exactly as without the library."},
    {"collect", (PyCFunction)(void (*)(void))module_collect, METH_VARARGS | METH_KEYWORDS,
     NULL},
    {"census", (PyCFunction)(void (*)(void))module_census, METH_VARARGS | METH_KEYWORDS,
     "census($module, /, of='live')\n--\n\n"
     "{type: (objects, bytes)}, most bytes first. of='live': what is alive now, counted with the\n"
     "program stopped, about 0.2 s per million objects; of='last': what the last full collection\n"
     "reclaimed (without what died with it by reference count: strings, numbers, untracked dicts);\n"
     "of='total': what all of them reclaimed. Bytes are the objects' own blocks, headers,\n"
     "items of lists, tables of dicts and sets and attribute values included. Types are named\n"
     "'module.Class', without builtins and __main__; those of one name are one. Live are the objects\n"
     "known to the gc module, gc.freeze'd ones too, and strings, numbers and the like in our heap that\n"
     "they refer to. ValueError for another word, RuntimeError when the library is not active."},
    {"dump_profile", (PyCFunction)(void (*)(void))module_dump_profile, METH_VARARGS | METH_KEYWORDS,
     "dump_profile($module, /, path=None)\n--\n\n"
     "Write the allocation profile (option ZGC_PROFILE) to path, for pprof, and as collapsed stacks to\n"
     "path + '.live.collapsed' and path + '.allocated.collapsed'; path is a str or path-like object, by\n"
     "default that of ZGC_PROFILE. Files there are replaced. Returns the path. RuntimeError without a\n"
     "profile, OSError when a file cannot be written."},
    {"verify", module_verify, METH_NOARGS,
     "verify($module, /)\n--\n\n"
     "Check the heap, and our collector against CPython's own, with the world stopped. Collects\n"
     "garbage. Returns the number of old objects checked; RuntimeError when something is wrong."},
    {NULL, NULL, 0, NULL},
};

#define DEFINITION(documentation) \
  {PyModuleDef_HEAD_INIT, "zgc", documentation, -1, functions, NULL, NULL, NULL, NULL}

static PyModuleDef definition = DEFINITION(
    "The zgcpreload library: a region-based heap and a concurrent full collection for CPython.\n\n"
    "Managed objects: inherit from zgc.Object and declare fields by annotations; zgc.allocate(n),\n"
    "zgc.Array, zgc.List and zgc.Dict are containers; i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 b8 are types\n"
    "of raw fields. These classes come into being at their first use.");

/* Nothing works there but what tells about the library, so that is all that it says. */
static zpy_free_threaded_def_t free_threaded_definition = {
    ZPY_FREE_THREADED_HEAD_INIT,
    DEFINITION("The zgcpreload library, which is passive in a free-threaded build: see zgc.status().")};

/* Only status(), stats(), prometheus() and options() do more there than raise an exception, and they read what
 * is fixed or atomic. Without this, `import zgc` would switch the GIL on. */
static void leave_gil_off(PyObject *module) {
  if (zpy.PyUnstable_Module_SetGIL != NULL) zpy.PyUnstable_Module_SetGIL(module, (void *)1);
}

static PyObject *create(void) {
  if (!zpy_is_free_threaded()) return zpy.PyModule_Create2(&definition, PYTHON_API_VERSION);
  PyModuleDef *start = (PyModuleDef *)&free_threaded_definition;
  PyObject *module = zpy.PyModule_Create2(start, PYTHON_API_VERSION);
  if (module != NULL) leave_gil_off(module);
  return module;
}

/* CPython makes further modules (another interpreter's, or imported again) from the first one's names: they
 * must be the main interpreter's, which lives longest. */
static bool is_main_interpreter(void) {
  if (zpy.PyInterpreterState_Get() == zpy.PyInterpreterState_Main()) return true;
  zpy.PyErr_SetString(*zpy.PyExc_ImportError, "zgc serves the main interpreter only: import it there first");
  return false;
}

static bool add_version(PyObject *module) {
  PyObject *version = text(ZVERSION);
  bool added = version != NULL && zpy.PyObject_SetAttrString(module, "__version__", version) == 0;
  if (version != NULL) zpy.Py_DecRef(version);
  return added;
}

PyObject *zmodule_init(void) {
  PyObject *module = is_main_interpreter() ? create() : NULL;
  if (module == NULL || (add_version(module) && zmanaged_add_to_module(module))) return module;
  zpy.Py_DecRef(module);
  return NULL;
}
