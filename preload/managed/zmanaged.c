#include "preload/managed/zmanaged.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "collector/cpython/zpending.h"
#include "collector/cpython/zwarmup.h"
#include "heap/base/zlock.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "preload/managed/zmanaged_cycles.h"
#include "preload/managed/zmanaged_metaclass.h"
#include "preload/managed/zmanaged_number.h"
#include "preload/managed/zmanaged_source.h"
#include "preload/managed/zmanaged_types.h"
#include "preload/managed/zmanaged_verdict.h"

PyObject *zmanaged_helpers;
static PyObject *module_dict;
static PyObject *original_collect, *original_stats;

/* ---- the collector's host ------------------------------------------------------------------------ */

/* One pending call at a time: the interpreter's queue is short, and others need it too. */
static int is_queued;

static int pending_safepoint(void *unused) {
  (void)unused;
  zstore_release(&is_queued, 0);
  zmanaged_safepoint();
  zmanaged_release_some(200000);
  zmanaged_class_release_unused();
  if (zmanaged_cycles_await_collector()) zwarmup_try(); /* groups wait for a verdict */
  return 0;
}

static void request_safepoint(void) {
  if (!zpending_enter()) return;
  if (zexchange_acq_rel(&is_queued, 1) == 0 && !zpending_add(pending_safepoint)) zstore_release(&is_queued, 0);
  zpending_leave();
}

/* The low half is the count on every version; handles are never immortal. */
static uint32_t *count_of(void *object) { return (uint32_t *)&((PyObject *)object)->refcount; }

static bool weak_is_held(void *object) { return *count_of(object) > 1; }
static void weak_hide(void *object) {
  *count_of(object) = 0; /* a weak reference to an object without count reads as None */
  ((zhandle_t *)object)->entry = NULL;
}

/* Finalizers and callbacks must not see, or lose, an exception that is on its way. */
static void guarded(void (*run)(PyObject *), PyObject *object) {
  if (zlikely(zpy.PyErr_Occurred() == NULL)) {
    run(object);
    return;
  }
  PyObject *type, *value, *traceback;
  zpy.PyErr_Fetch(&type, &value, &traceback);
  run(object);
  zpy.PyErr_Restore(type, value, traceback);
}
static void weak_finish(void *object) { guarded(zmanaged_handle_finish_weak, object); }
static void release(void *object) { guarded(zpy.Py_DecRef, object); }

static void wait_without_gil(void) {
  PyThreadState *state = zpy.PyEval_SaveThread();
  zmanaged_wait();
  zpy.PyEval_RestoreThread(state);
}

static const zmanaged_host_t host = {
    .request_safepoint = request_safepoint,
    .weak_is_held = weak_is_held,
    .weak_hide = weak_hide,
    .weak_finish = weak_finish,
    .release = release,
    .touch = zmanaged_handle_touch,
    .choose_suspects = zmanaged_cycles_choose_some,
    .wait = wait_without_gil,
    .ask_verdict = zmanaged_cycles_ask,
    .awaits_verdict = zmanaged_cycles_await_verdict,
    .keeps_reference = zmanaged_group_keeps,
    .take_groups = zmanaged_cycles_take,
};

/* ---- start --------------------------------------------------------------------------------------- */

static size_t capacity(void) {
  size_t wished = zoption(managed_max);
  if (wished != 0) return wished;
  size_t limit = zos_memory_limit();
  size_t memory = limit != 0 ? limit : zos_memory_bytes();
  return memory / 4 * 3;
}

static bool run_helpers(void) {
  zmanaged_helpers = zpy.PyDict_New();
  PyObject *builtins = zpy.PyEval_GetBuiltins();
  PyObject *code = zpy.Py_CompileString((const char *)zmanaged_source, "<zgc>", 257 /* Py_file_input */);
  if (zmanaged_helpers == NULL || builtins == NULL || code == NULL) return false;
  zpy.PyDict_SetItemString(zmanaged_helpers, "__builtins__", builtins);
  PyObject *name = zpy.PyUnicode_FromString("zgc");
  zpy.PyDict_SetItemString(zmanaged_helpers, "__name__", name);
  zpy.Py_DecRef(name);
  PyObject *result = zpy.PyEval_EvalCode(code, zmanaged_helpers, zmanaged_helpers);
  zpy.Py_DecRef(code);
  if (result != NULL) zpy.Py_DecRef(result);
  return result != NULL;
}

/* Starting runs Python code, so other threads may come by meanwhile: they wait. The fields change under
 * both the GIL and the lock. */
static struct {
  pthread_cond_t changed;
  enum { START_NEW, START_RUNNING, START_DONE, START_FAILED } state;
  pthread_t thread; /* while running */
  pid_t process;
} startup = {.changed = PTHREAD_COND_INITIALIZER};

static void set_start(int state) {
  zlock_take(ZLOCK_MANAGED_TYPES);
  startup.state = state;
  startup.thread = pthread_self();
  startup.process = getpid();
  pthread_cond_broadcast(&startup.changed);
  zlock_drop(ZLOCK_MANAGED_TYPES);
}

static void await_start(void) {
  PyThreadState *state = zpy.PyEval_SaveThread();
  zlock_take(ZLOCK_MANAGED_TYPES);
  while (startup.state == START_RUNNING) zlock_wait(ZLOCK_MANAGED_TYPES, &startup.changed);
  zlock_drop(ZLOCK_MANAGED_TYPES);
  zpy.PyEval_RestoreThread(state);
}

/* The thread that has begun the start is the parent's. So are those that waited: their condition is made again. */
static void fail_start_in_child(void) {
  pthread_cond_init(&startup.changed, NULL);
  set_start(START_FAILED);
}

static bool start_types(void) {
  PyObject *names = zpy.PyDict_New();
  bool ok = names != NULL && zmanaged_number_start() && run_helpers() && zmanaged_object_start(names) &&
            zmanaged_array_start(names) && zmanaged_list_start(names) && zmanaged_dict_start(names) &&
            zmanaged_raw_start(names) && zmanaged_group_start();
  if (!ok) return false;
  zmanaged_metaclass_close();
  PyObject *finish = zpy.PyDict_GetItemString(zmanaged_helpers, "finish");
  PyObject *done = zpy.PyObject_CallFunction(finish, "O", names);
  if (done == NULL) return false;
  zpy.Py_DecRef(done);
  Py_ssize_t position = 0;
  PyObject *key, *value;
  while (zma.PyDict_Next(names, &position, &key, &value)) {
    if (zma.PyDict_SetItem(module_dict, key, value) != 0) return false;
  }
  zpy.Py_DecRef(names);
  return true;
}

static bool start_all(void) {
  if (!zmanaged_api_prepare()) return false;
  if (!zpending_open()) {
    zma.PyErr_NoMemory();
    return false;
  }
  size_t bytes = capacity();
  while (!zmanaged_start(bytes, (unsigned)zoption(managed_threads), &host)) {
    bytes /= 2; /* a limit on address space, perhaps */
    if (bytes < 16 * ZM || zoption(managed_max) != 0) {
      zma.PyErr_NoMemory();
      return false;
    }
  }
  return start_types();
}

bool zmanaged_ensure_started(void) {
  if (zpy.PyInterpreterState_Get() != zpy.PyInterpreterState_Main()) {
    /* Another interpreter may have another GIL, and ours is what the barriers rely on. */
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, "zgc: managed objects serve the main interpreter only");
    return false;
  }
  if (zlikely(startup.state == START_DONE)) return true;
  if (zpy_is_free_threaded()) {
    zpy.PyErr_SetString(*zpy.PyExc_RuntimeError,
                        "zgc: managed objects need a GIL, and this is a free-threaded build");
    return false;
  }
  if (startup.state == START_RUNNING && startup.process != getpid()) fail_start_in_child();
  if (startup.state == START_RUNNING && !pthread_equal(startup.thread, pthread_self())) await_start();
  if (startup.state == START_NEW) {
    set_start(START_RUNNING);
    bool ok = start_all();
    set_start(ok ? START_DONE : START_FAILED);
    return ok;
  }
  if (startup.state == START_DONE) return true;
  zpy.PyErr_SetString(*zpy.PyExc_RuntimeError, "zgc: managed objects could not be started");
  return false;
}

/* ---- the end of the interpreter ------------------------------------------------------------------ */

/* A handle holds its class. Python's gc collects modules at the end, and must see that. */
static void track_handles(void) {
  for (uint32_t i = 1; i < zhandle_table.top; i++) {
    zhandle_entry_t *entry = &zhandle_table.entries[i];
    if (entry->word == 0 || (entry->object & (ZHANDLE_FREE | ZHANDLE_WEAK))) continue;
    PyObject *handle = zhandle_object(entry);
    if (!zpyabi_is_tracked(handle)) zma.PyObject_GC_Track(handle);
  }
}

void zmanaged_let_go(void) {
  if (startup.state != START_DONE) return;
  for (size_t i = 1; i < zpyref_table.top; i++) {
    zpyref_t *entry = &zpyref_table.entries[i];
    if (zpyref_is_free(entry) || entry->object == 0) continue;
    release(zpyref_empty(entry)); /* the slot reads as None from here on */
  }
  zmanaged_class_let_go(); /* a class may lead to its module's namespace, from 3.14 on by its annotations */
  track_handles();
}

/* ---- waiting ------------------------------------------------------------------------------------- */

static bool is_done(uint64_t ticket) { return zmanaged_is_done(ticket); }

static bool is_idle(uint64_t unused) {
  (void)unused;
  return zmanaged_phase() == ZMANAGED_IDLE;
}

/* Until `is_reached` says so. GIL; lets it go. False with an exception set (a signal handler's). */
static bool wait_until(bool (*is_reached)(uint64_t), uint64_t ticket) {
  while (!is_reached(ticket)) {
    zmanaged_safepoint();
    zmanaged_run_if_stuck();
    if (is_reached(ticket)) break;
    PyThreadState *state = zpy.PyEval_SaveThread();
    zmanaged_wait();
    zpy.PyEval_RestoreThread(state);
    if (zpy.PyErr_CheckSignals() != 0) return false;
  }
  return true;
}

static bool wait_for(uint64_t ticket) { return wait_until(is_done, ticket); }

static void release_all(void) {
  for (int i = 0; i < 100000 && !zmanaged_release_some(1000000); i++) {
  }
  zmanaged_class_release_unused();
}

static bool collect_full(void) {
  if (!wait_until(is_idle, 0)) return false; /* one under way does not see what is garbage by now */
  release_all();
  zmanaged_cycles_choose();
  if (!wait_for(zmanaged_request(ZGENERATION_OLD, "Explicit"))) return false;
  release_all();
  return true;
}

/* Memory is short: the allocation waits for a full collection, twice at most; and before that, where one
 * is under way, for a young one beside it, which is sooner over. */
zaddress_t zmanaged_stall(const zshape_t *shape, uint64_t length) {
  uint64_t start = zos_now_ns();
  zmanaged_stat_values.allocation_stalls++;
  zaddress_t body = zaddress(0);
  for (int i = zmanaged_phase() == ZMANAGED_OLD_MARK ? -1 : 0; i < 2 && zaddress_is_null(body); i++) {
    zgeneration_t generation = i < 0 ? ZGENERATION_YOUNG : ZGENERATION_OLD;
    if (!wait_for(zmanaged_request(generation, "Allocation Stall"))) return zaddress(0);
    release_all();
    body = zmanaged_alloc(shape, length);
  }
  uint64_t ns = zos_now_ns() - start;
  zmanaged_stat_values.stall_total_ns += ns;
  zprobe_alloc_stall(zbody_size_of(shape, length), ns);
  if (zlog_is(ZLOG_WARN)) {
    PyObject *text = zpy.PyObject_CallFunction(zpy.PyDict_GetItemString(zmanaged_helpers, "stack_text"), NULL);
    if (text == NULL) zpy.PyErr_Clear();
    zlog_warn("gc,managed", "Allocation Stall %.3fms, %s, used %luM of %luM: %s", zlog_ms(ns),
              zaddress_is_null(body) ? "in vain" : "served",
              zlog_mb(zbody_space.used_units << ZUNIT_SHIFT), zlog_mb(zbody_space.capacity_units << ZUNIT_SHIFT),
              text != NULL ? zpy.PyUnicode_AsUTF8AndSize(text, NULL) : "?");
    if (text != NULL) zpy.Py_DecRef(text);
    /* Running Python code was a chance for others to allocate or collect. */
    body = zmanaged_alloc(shape, length);
  }
  if (zaddress_is_null(body)) zma.PyErr_NoMemory();
  return body;
}

/* ---- functions of the module --------------------------------------------------------------------- */

static bool text_is(PyObject *object, const char *text) {
  if ((PyObject *)object->type != zma.PyUnicode_Type) return false;
  const char *own = zpy.PyUnicode_AsUTF8AndSize(object, NULL);
  return own != NULL && strcmp(own, text) == 0;
}

#define ROUNDS_MOST 8 /* of a full collection that the program asks for, while each shows more */

static PyObject *collect_managed(PyObject *which, bool wait) {
  if (!zmanaged_ensure_started()) return NULL;
  bool ok;
  bool full = text_is(which, "full");
  if (!wait && (full || text_is(which, "young"))) {
    if (full) zmanaged_cycles_choose_some(true);
    zmanaged_request(full ? ZGENERATION_OLD : ZGENERATION_YOUNG, "Explicit");
    return zpy_new_none();
  }
  if (text_is(which, "young")) {
    ok = wait_for(zmanaged_request(ZGENERATION_YOUNG, "Explicit"));
    if (ok) release_all();
  } else if (full) {
    zmanaged_verdict_judge_sole();
    ok = collect_full();
    if (ok && zmanaged_group_count() > 0) zma.PyGC_Collect();
    for (int i = 0; i < ROUNDS_MOST && ok && zmanaged_group_count() > 0; i++) {
      ok = collect_full();
      if (!zmanaged_verdict_has_more()) break;
    }
  } else {
    zpy.PyErr_SetString(*zpy.PyExc_ValueError, "collect() of managed objects takes \"young\" or \"full\"");
    return NULL;
  }
  if (!ok) return NULL;
  return zpy_new_none();
}

/* A word means managed objects. */
static PyObject *module_collect(PyObject *self, PyObject *arguments, PyObject *keywords) {
  (void)self;
  PyObject *which = NULL;
  if (zpy.PyObject_Size(arguments) > 0) which = zpy.PyTuple_GetItem(arguments, 0);
  if (which == NULL || zpy.PyUnicode_AsUTF8AndSize(which, NULL) == NULL) {
    zpy.PyErr_Clear();
    return zpy.PyObject_Call(original_collect, arguments, keywords);
  }
  static char *names[] = {"", "wait", NULL};
  int wait = 1;
  if (!zpy.PyArg_ParseTupleAndKeywords(arguments, keywords, "O|p:collect", names, &which, &wait)) return NULL;
  return collect_managed(which, wait);
}

static bool put(PyObject *dict, const char *key, PyObject *value) {
  if (value == NULL) return false;
  int error = zpy.PyDict_SetItemString(dict, key, value);
  zpy.Py_DecRef(value);
  return error == 0;
}

/* The dict, unless something that should be in it could not be made. */
static PyObject *complete(PyObject *dict) {
  if (dict == NULL || !zpy.PyErr_Occurred()) return dict;
  zpy.Py_DecRef(dict);
  return NULL;
}

static PyObject *number(uint64_t n) { return zpy.PyLong_FromUnsignedLongLong(n); }

static PyObject *generation_stats(zgeneration_t generation) {
  const zmanaged_generation_stats_t *stats = &zmanaged_generation_values[generation];
  PyObject *dict = zpy.PyDict_New();
  if (dict == NULL) return NULL;
#define X(field, ...) put(dict, #field, number(stats->field));
  ZMANAGED_GENERATION_STATS(X)
#undef X
  return complete(dict);
}

static PyObject *managed_stats(void) {
  zmanaged_stats_t stats;
  zmanaged_stats_read(&stats);
  PyObject *dict = zpy.PyDict_New();
  if (dict == NULL) return NULL;
#define X(field, ...) put(dict, #field, number(stats.field));
  ZMANAGED_STATS(X)
#undef X
  put(dict, "young", generation_stats(ZGENERATION_YOUNG));
  put(dict, "old", generation_stats(ZGENERATION_OLD));
  zmanaged_usage_t usage[2];
  zmanaged_usage_read(usage);
  put(dict, "young_pages", number(usage[ZGENERATION_YOUNG].pages));
  put(dict, "old_pages", number(usage[ZGENERATION_OLD].pages));
  put(dict, "young_bytes", number(usage[ZGENERATION_YOUNG].bytes));
  put(dict, "old_bytes", number(usage[ZGENERATION_OLD].bytes));
  return complete(dict);
}

/* The counters of the main collector, and under "managed" those of managed objects once they are used. */
static PyObject *module_stats(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  PyObject *dict = zpy.PyObject_CallObject(original_stats, NULL);
  if (dict != NULL && zmanaged_is_started()) put(dict, "managed", managed_stats());
  return complete(dict);
}

static const char *age_name(uint8_t age) {
  static const char *const names[] = {"eden", "survivor 1", "survivor 2", "old"};
  return names[age];
}

static PyObject *module_pages(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  static const char *const kinds[] = {"free", "small", "medium", "large"};
  if (!zmanaged_ensure_started()) return NULL;
  PyObject *list = zpy.PyList_New(0);
  for (size_t i = 0; list != NULL && i < zbody_space.highest; i++) {
    zbody_page_t *page = &zbody_space.pages[i];
    uint8_t kind = zload_acquire(&page->kind);
    if (kind == ZBODY_PAGE_FREE || page->inner != 0) continue;
    double size = (double)zbody_page_size(page);
    /* What was allocated or moved here since the last mark is counted as live. */
    uint64_t live = zbody_page_is_snapshot(page) ? zload_relaxed(&page->live_bytes) : page->top;
    PyObject *row = zpy.Py_BuildValue("{s:s,s:s,s:n,s:n,s:d}", "kind", kinds[kind], "age", age_name(page->age),
                                      "size", (Py_ssize_t)size, "used", (Py_ssize_t)page->top, "live",
                                      (double)live / size);
    int error = row == NULL ? -1 : zpy.PyList_Append(list, row);
    if (row != NULL) zpy.Py_DecRef(row);
    if (error == 0) continue;
    zpy.Py_DecRef(list);
    list = NULL;
  }
  return list;
}

/* {kind: [(upper bound in ns, count), ...]} */
static PyObject *module_pause_histogram(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  PyObject *dict = zpy.PyDict_New();
  for (int kind = 0; dict != NULL && kind < ZMANAGED_PAUSE_KINDS; kind++) {
    PyObject *list = zpy.PyList_New(0);
    if (list == NULL) break;
    for (unsigned i = 0; i < ZMANAGED_PAUSE_BUCKETS; i++) {
      if (zmanaged_pauses[kind][i] == 0) continue;
      PyObject *row = zpy.Py_BuildValue("(KK)", (unsigned long long)zmanaged_pause_bucket_ns(i),
                                        (unsigned long long)zmanaged_pauses[kind][i]);
      if (row == NULL) break;
      zpy.PyList_Append(list, row);
      zpy.Py_DecRef(row);
    }
    put(dict, zmanaged_pause_names[kind], list);
  }
  return complete(dict);
}

/* The number of a raw type (zgc.f64 ...), or -1 with an exception set. */
static long kind_of(PyObject *type) {
  PyObject *code = zpy.PyObject_GetAttrString(type, "code");
  bool is_raw = code != NULL && type->type == (PyTypeObject *)zpy.PyDict_GetItemString(zmanaged_helpers, "RawType");
  long kind = is_raw ? zpy.PyLong_AsLong(code) : -1;
  if (code != NULL) zpy.Py_DecRef(code);
  if (is_raw) return kind;
  zpy.PyErr_Clear();
  zmanaged_type_error("the type of an array's numbers must be one such as zgc.f64", type);
  return -1;
}

static PyObject *module_allocate(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
  (void)self;
  if (!zmanaged_ensure_started()) return NULL;
  if (count < 1 || count > 2) {
    zpy.PyErr_Format(*zpy.PyExc_TypeError, "allocate() takes a length and a type, not %zd arguments", count);
    return NULL;
  }
  PyObject *length = arguments[0];
  Py_ssize_t n = zma.PyNumber_AsSsize_t(length, *zma.PyExc_OverflowError);
  if (n == -1 && zpy.PyErr_Occurred()) return NULL;
  if (n < 0) {
    zpy.PyErr_SetString(*zpy.PyExc_ValueError, "length must not be negative");
    return NULL;
  }
  long kind = count == 2 && arguments[1] != zpy_None() ? kind_of(arguments[1]) : 0;
  if (kind < 0) return NULL;
  if (kind > 0) return zmanaged_raw_new((unsigned)kind, n);
  if (!zmanaged_enter()) return NULL;
  return zmanaged_new_object(zmanaged_array_class, (uint64_t)n);
}

static const char *const lazy_names[] = {"Object", "ObjectType", "Array", "List", "Dict", "i8", "i16", "i32",
                                         "i64",    "u8",         "u16",   "u32",  "u64",  "f32", "f64", "b8",
                                         "RawArray", "_new_array", "_new_raw"};

/* The module's __getattr__: runs when a name is not there yet. */
static PyObject *module_getattr(PyObject *self, PyObject *name) {
  (void)self;
  const char *text = zpy.PyUnicode_AsUTF8AndSize(name, NULL);
  if (text == NULL) return NULL;
  for (size_t i = 0; i < ZARRAY_LENGTH(lazy_names); i++) {
    if (strcmp(text, lazy_names[i]) != 0) continue;
    if (!zmanaged_ensure_started()) return NULL;
    PyObject *found = zpy.PyDict_GetItemString(module_dict, text);
    if (found != NULL) return zmanaged_incref(found);
  }
  zpy.PyErr_Format(zpy.PyDict_GetItemString(zpy.PyEval_GetBuiltins(), "AttributeError"),
                   "module 'zgc' has no attribute '%U'", name);
  return NULL;
}

static PyMethodDef functions[] = {
    {"__getattr__", module_getattr, METH_O, NULL},
    {"allocate", (PyCFunction)(void (*)(void))module_allocate, METH_FASTCALL,
     "allocate(n, type=None, /)\n--\n\nA managed array of n times None; with a type such as zgc.f64, of n zeros that\n"
     "numpy and memoryview see in place."},
    {"pages", module_pages, METH_NOARGS,
     "pages()\n--\n\nA list of the managed pages: dicts of kind, age, size, bytes used, and the share that is live."},
    {"pause_histogram", module_pause_histogram, METH_NOARGS,
     "pause_histogram()\n--\n\nManaged pauses by kind: (upper bound in ns, count) pairs."},
    {"collect", (PyCFunction)(void (*)(void))module_collect, METH_VARARGS | METH_KEYWORDS,
     "collect(wait=True)\n--\n\n"
     "Start a concurrent full collection. With wait, return when all garbage that existed at the\n"
     "call is reclaimed: the number of objects; other threads run meanwhile. Without, return 0 at\n"
     "once. Use gc.collect() for a collection with the world stopped.\n"
     "collect('young') and collect('full') collect managed objects and return None; wait as above."},
    {"stats", module_stats, METH_NOARGS,
     "stats()\n--\n\n"
     "Counters since the start of the process, as a dict of ints. Times in nanoseconds (_ns), sizes\n"
     "in bytes. old_objects, running, pending_garbage, heap_used and heap_committed are of now.\n"
     "Once managed objects are in use, 'managed' has a dict of theirs."},
};

bool zmanaged_add_to_module(PyObject *module) {
  module_dict = zpy.PyObject_GetAttrString(module, "__dict__");
  if (module_dict == NULL) return false;
  original_collect = zpy.PyObject_GetAttrString(module, "collect");
  original_stats = zpy.PyObject_GetAttrString(module, "stats");
  if (original_collect == NULL || original_stats == NULL) return false;
  PyObject *name = zpy.PyUnicode_FromString("zgc");
  for (size_t i = 0; name != NULL && i < ZARRAY_LENGTH(functions); i++) {
    PyObject *function = zpy.PyCFunction_NewEx(&functions[i], NULL, name);
    if (!put(module_dict, functions[i].ml_name, function)) return false;
  }
  if (name != NULL) zpy.Py_DecRef(name);
  return name != NULL;
}
