/* Start-up and end, in stages:
 *
 *   constructor   before main, maybe not even a Python process. There is no interpreter, no thread but
 *                 ours. Decides whether to stay asleep; otherwise sets the allocators. Where a Python is loaded
 *                 later, zboot_start_late does so in its place.
 *   late start    a pending call, queued by the allocator's slow path once the interpreter is up; it
 *                 fires while `site` is imported, before user code. GIL held. Proves the interpreter
 *                 and starts the collector.
 *   end           an atexit function, registered first and therefore run last: hands everything back.
 *
 * zstage.h says in which stage the library is, and which follows which. */
#define _GNU_SOURCE
#include "preload/start/zboot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "collector/cpython/zcollector.h"
#include "collector/cpython/zdirector.h"
#include "collector/cpython/zcollector_thread.h"
#include "collector/cpython/zexit.h"
#include "collector/cpython/zpending.h"
#include "collector/cpython/zpublish.h"
#include "collector/profile/zprofile.h"
#include "collector/python/zbuiltin.h"
#include "collector/python/zpyabi.h"
#include "heap/base/zatomic.h"
#include "heap/base/zlog.h"
#include "heap/base/zoption.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "heap/base/zstatpage.h"
#include "heap/zallocator.h"
#include "heap/zgranules.h"
#include "heap/zpopulator.h"
#include "preload/managed/zmanaged.h"
#include "preload/module/zgc_facade.h"
#include "preload/module/zmodule.h"
#include "preload/module/zprofiling.h"
#include "preload/start/zbinding.h"
#include "preload/start/zfork.h"
#include "preload/start/zsecond_gil.h"
#include "preload/start/zstage.h"
#include "preload/start/zsymbols.h"

static bool is_queued; /* the late start */
static bool seen_uninitialised; /* since the last end: a new interpreter may come up */

static void watch_for_interpreter(void);

/* Between two interpreters there is none: the next one's configuration is read then, into RAW blocks. */
static void look_whether_ended(void) {
  if (zpy.Py_IsInitialized()) return;
  zstore_relaxed(&seen_uninitialised, true);
  zbuiltin_restart();
}

/* -- end -------------------------------------------------------------------------------------------- */

static void print_stats(void) {
  zpublish_refresh();
  const char *name;
  uint64_t value;
  for (unsigned i = 0; zstat_at(i, &name, &value); i++) {
    if (value != 0) zlog_notice("%s=%llu", name, (unsigned long long)value);
  }
}

static PyObject *on_exit_of_interpreter(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  zprofiling_end();
  if (zstage() == ZSTAGE_ACTIVE) {
    if (zlog_is(ZLOG_INFO)) zpublish_refresh();
    zlog_info("gc,exit", "collections %llu reclaimed %llu pauses %llu max %.3fms faults %llu",
              (unsigned long long)zstat_get(collections), (unsigned long long)zstat_get(reclaimed),
              (unsigned long long)zstat_get(pauses), zlog_ms(zstat_get(pause_max_ns)),
              (unsigned long long)zstat_get(faults));
    if (zoption(stats)) print_stats();
    zmanaged_let_go();
    zgc_facade_remove();
    zcollector_stop();
    if (zoption(exit) == ZEXIT_FAST) zexit_prepare();
    zstatpage_disable();
    zstage_enter(ZSTAGE_ENDING);
    seen_uninitialised = is_queued = false;
    zbinding_watch_raw(look_whether_ended);
    zbinding_stay_for_next();
    zheap_hooks.slow = watch_for_interpreter;
  }
  return zpy_new_none();
}

static PyMethodDef exit_def = {"zgc_end", on_exit_of_interpreter, METH_NOARGS, NULL};

/* The functions registered are the interpreter's, not the module's. */
static bool register_exit(void) {
  PyObject *atexit = zbuiltin_module("atexit");
  PyObject *function = zpy.PyCFunction_NewEx(&exit_def, NULL, NULL);
  PyObject *done = NULL;
  if (atexit != NULL && function != NULL) {
    done = zpy.PyObject_CallMethod(atexit, "register", "O", function);
  }
  if (atexit != NULL) zpy.Py_DecRef(atexit);
  if (function != NULL) zpy.Py_DecRef(function);
  if (done != NULL) zpy.Py_DecRef(done);
  return done != NULL;
}

/* -- late start ---------------------------------------------------------------------------------------- */

static void start_thread(void) { zcollector_thread_ensure(); }

static void tick(void) {
  zdirector_tick();
  zpublish_by_thread();
}

/* NULL, or why it must not be. */
static const char *start_collector(void) {
  const char *why = "its end cannot be watched";
  zbuiltin_keep();
  bool started = zpending_open() && zcollector_start(&why);
  if (started) zgc_facade_install();
  zbuiltin_let_go();
  return started ? NULL : why;
}

static int late_start(void *unused) {
  (void)unused;
  if (zstage() != ZSTAGE_WAITING || !zpy.Py_IsInitialized()) return 0;
  zheap_hooks.slow = NULL;
  zbinding_settle();
  if (!register_exit()) {
    zpy.PyErr_Clear();
    zstage_become_passive("there is no atexit module");
    return 0;
  }
  const char *why = start_collector();
  if (why != NULL) {
    char text[160];
    snprintf(text, sizeof text, "this interpreter is not as expected: %.100s", why);
    zstage_become_passive(text);
    return 0;
  }
  zheap_hooks.idle = start_thread;
  zstage_enter(ZSTAGE_ACTIVE);
  if (zoption(huge_pages)) zpopulator_start();
  if (zoption(statpage)) zstatpage_enable();
  zcollector_thread_tick = tick;
  if (zprofile_is_on()) zprofiling_begin();
  return 0;
}

/* On an allocation's slow path, GIL held: must not run anything of Python. */
static void watch_for_interpreter(void) {
  bool up = zpy.Py_IsInitialized();
  if (!up) {
    seen_uninitialised = true;
    zbinding_check_raw();
  }
  if (!up || is_queued) return;
  if (zstage() == ZSTAGE_ENDING) {
    if (!zload_relaxed(&seen_uninitialised)) return;
    zbinding_watch_raw(NULL);
    zstage_enter(ZSTAGE_WAITING);
  }
  if (zstage() != ZSTAGE_WAITING) return;
  is_queued = zpy.Py_AddPendingCall(late_start, NULL) == 0;
}

/* -- constructor ------------------------------------------------------------------------------------------- */

static size_t range_size(void) {
  size_t wished = zoption(heap_max);
  if (wished != 0) return zalign_up(wished, 2 * ZM);
  /* Side tables take about a hundredth of the range, and RLIMIT_DATA counts them in full. */
  size_t memory = zmin(zmax(zos_memory_bytes(), 16 * ZG), zmax(zos_data_limit(), 4 * ZM));
  return (size_t)1 << (zlog2(memory) + 2);
}

/* Otherwise the program has set others, for reasons of its own. */
static bool allocators_are_cpythons(void) {
  PyMemAllocatorEx object, mem;
  zpy.PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &object);
  zpy.PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &mem);
  return zpy_is_code(*(void **)&object.malloc) && zpy_is_code(*(void **)&mem.malloc);
}

/* Why we keep out of a Python that came after our constructor, or NULL. */
static const char *why_not_late(void *library) {
  if (library != NULL) return "the program loaded libpython without RTLD_GLOBAL, so not all of it can be found";
  if (zpy.Py_IsInitialized()) return "the program loaded libpython, which was up before it was noticed";
  if (!allocators_are_cpythons()) return "the program loaded libpython, and has set allocators of its own";
  return NULL;
}

/* Reads the options and opens the log. Why the environment keeps us out, or NULL. */
static const char *why_not_wanted(void) {
  static const char misread[] = "an option was not understood";
  if (!zoption_parse()) return misread;
  if (zoption_text(log)[0] != '\0') zlog_start(zoption_text(log), (zlog_level_t)zoption(log_level));
  if (!zoption(enable)) return "ZGC_ENABLE=0";
  if (zoption_text(fault)[0] != '\0' && !zos_fault_parse(zoption_text(fault))) {
    zlog_notice("ZGC_FAULT=%s not understood (as in commit=3,thread=1+,table=2-4); running as stock "
                "CPython", zoption_text(fault));
    return misread;
  }
  const char *allocator = getenv("PYTHONMALLOC");
  if (allocator == NULL || allocator[0] == '\0') return NULL;
  static char text[96];
  snprintf(text, sizeof text, "PYTHONMALLOC=%.30s asks for another allocator than ours: unset it", allocator);
  return text;
}

static void start_in_python(void *library, bool is_late) {
  const char *missing;
  if (!zpy_resolve(library, &missing)) {
    char text[120];
    snprintf(text, sizeof text, "the interpreter has no %.80s", missing);
    zstage_tell(text);
    return;
  }
  zbuiltin_start((zbuiltin_t){"zgc", zmodule_init}, "gc", zgc_facade_adopt);
  zstage_enter(ZSTAGE_PASSIVE);
  const char *why = why_not_wanted();
  if (why == NULL && is_late) why = why_not_late(library);
  if (why != NULL) {
    zstage_become_passive(why);
    return;
  }
  int minor = zpyabi_recognise(&why);
  if (minor == 0) {
    zstage_become_passive(why);
    return;
  }
  if (!zsecond_gil_start(minor)) {
    zstage_become_passive("the interpreter has several GILs, but no function that tells which a thread holds");
    return;
  }
  if (!zallocator_start(range_size())) {
    zstage_become_passive("no address range for the heap");
    return;
  }
  if (!zfork_start()) {
    zstage_become_passive("no handlers for fork can be registered");
    return;
  }
  if (zoption_text(profile)[0] != '\0') zprofile_start(zoption_text(profile));
  zbinding_bind();
  zlog_info("gc,init", "zgcpreload %s pid %d python %.*s binding %s heap range %luM", ZVERSION,
            (int)getpid(), (int)strcspn(zpy.Py_GetVersion(), " "), zpy.Py_GetVersion(),
            zbinding_name(), zlog_mb(zgranules_range.size));
  zheap_hooks.slow = watch_for_interpreter;
  zstage_enter(ZSTAGE_WAITING);
}

static void start(void *library, bool is_late) {
  if (getauxval(AT_SECURE) != 0 || !zsymbols_are_of_first_copy()) return;
  zos_start_ns();
  zos_note_filters();
  start_in_python(library, is_late);
}

void zboot_start_late(void *library) { start(library, true); }

__attribute__((constructor)) static void construct(void) {
  if (zpy_is_python()) start(NULL, false);
}
