#include "collector/python/zpyabi_frame.h"

#include <pthread.h>
#include <signal.h>

#include "heap/base/zos.h"

/* Frames of a thread hang on its state: directly (from 3.13 on), or on a small struct that each
 * evaluation loop has on the C stack (up to 3.12). A loop's frames end with one marked as its entry
 * (3.11), or with an empty frame on the C stack (from 3.12 on; 3.15 has one more in the thread state, at
 * the end of all). Pointers to code are tagged from 3.14 on. */
typedef struct {
  int minor;
  uint16_t current;     /* in PyThreadState: the _PyCFrame, or the frame */
  int16_t cframe_frame; /* in _PyCFrame: its frame; -1: there is none */
  uint16_t cframe_previous;
  uint16_t code, previous, instruction, owner; /* in _PyInterpreterFrame */
  int16_t is_entry; /* in it; -1: loops end with an empty frame */
} frame_layout_t;

#define OWNED_BY_C_STACK 3 /* or, by its name from 3.14 on, by the interpreter */
#define TAG_BITS ((uintptr_t)7)

static const frame_layout_t layouts[] = {
    {11, 56, 8, 16, 32, 48, 56, 69, 68},
    {12, 56, 0, 8, 0, 8, 56, 70, -1},
    {13, 72, -1, 0, 0, 8, 56, 70, -1},
    {14, 72, -1, 0, 0, 8, 56, 74, -1},
    {15, 72, -1, 0, 0, 8, 56, 74, -1},
};

static const frame_layout_t *layout; /* NULL: not proven, or stopped */
static const frame_layout_t *proving;
static ptrdiff_t code_start;         /* of the instructions in a code object */

static PyThreadState *current_thread(void) {
  if (zpy.PyThreadState_GetUnchecked != NULL) return zpy.PyThreadState_GetUnchecked();
  return zpy._PyThreadState_UncheckedGet != NULL ? zpy._PyThreadState_UncheckedGet() : NULL;
}

/* -- the walk --------------------------------------------------------------------------------------- */

/* During the proof nothing is followed before the kernel has said that it is there. */
static zalways_inline bool read_word(bool careful, const void *base, ptrdiff_t offset, void *word) {
  const char *at = (const char *)base + offset;
  if (careful) return zos_peek(at, word, sizeof(void *));
  *(void **)word = *(void *const *)at;
  return true;
}

static zalways_inline bool read_byte(bool careful, const void *base, ptrdiff_t offset, uint8_t *byte) {
  const char *at = (const char *)base + offset;
  if (careful) return zos_peek(at, byte, 1);
  *byte = *(const uint8_t *)at;
  return true;
}

/* A code object may be at its end: its last reference is dropped before its frame is. */
static zalways_inline bool is_live_code(bool careful, PyObject *code) {
  void *word;
  if (code == NULL || !read_word(careful, code, 0, &word)) return false;
  if (!read_word(careful, code, sizeof(void *), &word)) return false;
  return word == zpy.PyCode_Type && zpyabi_refcount(code) > 0;
}

static zalways_inline unsigned walk(bool careful, const frame_layout_t *l, PyThreadState *thread,
                                    zpyabi_frame_t *frames, unsigned max) {
  char *frame, *cframe = NULL;
  unsigned count = 0, of_loop = 0; /* of_loop: first frame of the loop being walked */
  if (!read_word(careful, thread, l->current, &frame)) return 0;
  if (l->cframe_frame >= 0) {
    cframe = frame;
    if (cframe == NULL || !read_word(careful, cframe, l->cframe_frame, &frame)) return 0;
  }
  while (frame != NULL && count < max) {
    uint8_t owner, is_entry = 0;
    if (!read_byte(careful, frame, l->owner, &owner)) return 0;
    if (l->is_entry < 0 && owner == OWNED_BY_C_STACK) {
      for (; of_loop < count; of_loop++) frames[of_loop].stack = (uintptr_t)frame;
    } else {
      char *code, *instruction;
      if (!read_word(careful, frame, l->code, &code)) return 0;
      code -= (uintptr_t)code & TAG_BITS;
      if (!read_word(careful, frame, l->instruction, &instruction)) return 0;
      if (!is_live_code(careful, (PyObject *)code)) break;
      frames[count++] = (zpyabi_frame_t){(PyObject *)code, (int32_t)(instruction - (code + code_start)),
                                         l->is_entry < 0 ? 0 : (uintptr_t)cframe};
    }
    if (l->is_entry >= 0 && !read_byte(careful, frame, l->is_entry, &is_entry)) return 0;
    if (is_entry && !read_word(careful, cframe, l->cframe_previous, &cframe)) return 0;
    if (!read_word(careful, frame, l->previous, &frame)) return 0;
  }
  return count;
}

unsigned zpyabi_frames(zpyabi_frame_t *frames, unsigned max) {
  const frame_layout_t *l = layout;
  if (l == NULL) return 0;
  PyThreadState *thread = current_thread();
  if (thread == NULL) return 0;
  /* Code objects of a sub-interpreter end with it, strings and all, whoever holds them. */
  if (zpy.PyThreadState_GetInterpreter(thread) != zpy.PyInterpreterState_Main()) return 0;
  return walk(false, l, thread, frames, max);
}

void zpyabi_frames_stop(void) { layout = NULL; }

/* -- proof -------------------------------------------------------------------------------------------- */

#define DEPTH_MAX 200
#define STACK_SPAN (64 * ZM) /* a thread's C stack is not larger above us */

static const char *mismatch;
static unsigned probes, proven_depth;

/* Where the stacks should be: behind us, growing outwards, one for each loop. */
static bool stacks_are_plausible(const zpyabi_frame_t *frames, unsigned count) {
  uintptr_t here = (uintptr_t)__builtin_frame_address(0);
  for (unsigned i = 0; i < count; i++) {
    if (frames[i].stack < here || frames[i].stack - here > STACK_SPAN) return false;
    if (i > 0 && frames[i].stack < frames[i - 1].stack) return false;
  }
  return true;
}

/* Whether `frame` is what the API says of `object`. Takes the reference. */
static const char *compare(PyObject *object, const zpyabi_frame_t *frame) {
  PyObject *code = zpy.PyFrame_GetCode(object);
  const char *wrong = NULL;
  if (code != frame->code) {
    wrong = "a frame's code";
  } else if (zpy.PyFrame_GetLasti(object) != frame->instruction) {
    wrong = "a frame's instruction";
  } else if (zpy.PyFrame_GetLineNumber(object) != zpy.PyCode_Addr2Line(code, frame->instruction)) {
    wrong = "a frame's line";
  }
  if (code != NULL) zpy.Py_DecRef(code);
  return wrong;
}

/* A frame of the interpreter's own, between a class and its __init__: the API does not show it. The
 * first instruction of a module has no line either, but there the API's next object is this frame. */
static bool is_hidden(const zpyabi_frame_t *frame, PyObject *next) {
  if (zpy.PyCode_Addr2Line(frame->code, frame->instruction) > 0) return false;
  PyObject *code = next == NULL ? NULL : zpy.PyFrame_GetCode(next);
  if (code != NULL) zpy.Py_DecRef(code);
  return code != frame->code;
}

static const char *compare_stack(void) {
  static zpyabi_frame_t frames[DEPTH_MAX];
  PyThreadState *thread = current_thread();
  unsigned count = walk(true, proving, thread, frames, DEPTH_MAX), i = 0;
  if (count == 0) return "no frames";
  if (count < DEPTH_MAX && !stacks_are_plausible(frames, count)) return "a loop's place on the C stack";
  const char *wrong = NULL;
  PyObject *object = zpy.PyThreadState_GetFrame(thread);
  for (; object != NULL && wrong == NULL && i < DEPTH_MAX; i++) {
    while (i < count && is_hidden(&frames[i], object)) i++;
    wrong = i < count ? compare(object, &frames[i]) : "too few frames";
    PyObject *back = zpy.PyFrame_GetBack(object);
    zpy.Py_DecRef(object);
    object = back;
  }
  if (object != NULL) zpy.Py_DecRef(object);
  while (i < count && is_hidden(&frames[i], NULL)) i++;
  if (wrong == NULL && i != count) wrong = "too many frames";
  if (count > proven_depth) proven_depth = count;
  return wrong;
}

static PyObject *probe(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  probes++;
  if (mismatch == NULL) mismatch = compare_stack();
  return zpy_new_none();
}

static PyMethodDef probe_def = {"probe", probe, METH_NOARGS, NULL};

/* Calls from Python, from a generator, from a class, and through C. */
static const char source[] =
    "def inner(probe):\n"
    "  x = 1\n"
    "  probe()\n"
    "def generator(probe):\n"
    "  yield inner(probe)\n"
    "  yield probe()\n"
    "class Class:\n"
    "  def __init__(self, probe): inner(probe)\n"
    "def outer(probe):\n"
    "  for _ in generator(probe): pass\n"
    "  for _ in 1, 2, 3, 4, 5, 6, 7, 8, 9: Class(probe)\n" /* 3.13 calls it in its own way by then */
    "  list(map(inner, (probe,)))\n"
    "  return [(lambda: inner(probe))()]\n"
    "outer(probe)\n";
#define PROBES 13
#define STACK_TO_COMPILE (128 * ZK)

static bool run_source(void) {
  enum { FILE_INPUT = 257 };
  PyObject *globals = zpy.PyDict_New();
  PyObject *function = zpy.PyCFunction_NewEx(&probe_def, NULL, NULL);
  PyObject *code = zpy.Py_CompileString(source, "<zgc: proof of frames>", FILE_INPUT);
  PyObject *result = NULL;
  if (globals != NULL && function != NULL && code != NULL &&
      zpy.PyDict_SetItemString(globals, "probe", function) == 0 &&
      zpy.PyDict_SetItemString(globals, "__builtins__", zpy.PyEval_GetBuiltins()) == 0) {
    result = zpy.PyEval_EvalCode(code, globals, globals);
  }
  PyObject *made[] = {globals, function, code, result};
  for (size_t i = 0; i < ZARRAY_LENGTH(made); i++) {
    if (made[i] != NULL) zpy.Py_DecRef(made[i]);
  }
  if (result == NULL) zpy.PyErr_Clear();
  return result != NULL;
}

/* The program's handlers of signals would run in these frames, and lose what they raise; its trace functions would
 * see them. Signals of this thread wait for the end. */
static bool run_unnoticed(void) {
  sigset_t all, before;
  PyThreadState *thread = current_thread();
  sigfillset(&all);
  if (zos_stack_left() < STACK_TO_COMPILE || pthread_sigmask(SIG_BLOCK, &all, &before) != 0) return false;
  zpy.PyThreadState_EnterTracing(thread);
  bool ran = run_source();
  zpy.PyThreadState_LeaveTracing(thread);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return ran;
}

static bool has_api(void) {
  return zpy.PyThreadState_EnterTracing != NULL && zpy.PyThreadState_LeaveTracing != NULL &&
         zpy.PyThreadState_GetFrame != NULL && zpy.PyThreadState_GetInterpreter != NULL &&
         zpy.PyFrame_GetBack != NULL && zpy.PyFrame_GetCode != NULL && zpy.PyFrame_GetLasti != NULL &&
         zpy.PyFrame_GetLineNumber != NULL && zpy.PyCode_Addr2Line != NULL && current_thread() != NULL;
}

/* Frames that are not proven are read through the kernel, which a seccomp filter may refuse. */
static bool may_look(void) {
  char byte = 0;
  return zos_peek(&mismatch, &byte, 1);
}

bool zpyabi_frames_prove(const char **why) {
  const frame_layout_t *found = NULL;
  for (size_t i = 0; i < ZARRAY_LENGTH(layouts); i++) {
    if (layouts[i].minor == zpyabi_layout->minor) found = &layouts[i];
  }
  mismatch = found == NULL ? "this version's frames are not known" : has_api() ? NULL : "no API to compare with";
  if (mismatch == NULL && !may_look()) mismatch = "process_vm_readv is refused, by a seccomp filter or the kernel";
  if (mismatch == NULL) {
    /* Instructions are the variable part of a code object. */
    code_start = zpyabi_read_type(zpy.PyCode_Type).basic_size;
    proving = found;
    probes = proven_depth = 0;
    bool ran = run_unnoticed();
    if (mismatch == NULL && (!ran || probes != PROBES)) mismatch = "the proof did not run";
    if (mismatch == NULL && proven_depth < 4) mismatch = "the proof saw too little";
  }
  *why = mismatch;
  if (mismatch == NULL) layout = found;
  return mismatch == NULL;
}
