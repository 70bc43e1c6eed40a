#include "preload/managed/zmanaged_cycles.h"

#include "collector/cpython/zconsult.h"
#include "collector/cpython/zmode.h"
#include "collector/managed/zsuspects.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zstat.h"
#include "preload/managed/zmanaged_sole.h"
#include "preload/managed/zmanaged_trial.h"
#include "preload/managed/zmanaged_verdict.h"

#define NODES_CHEAP 3000   /* so many objects are looked at whenever a full collection comes */
#define TRIAL_REFERENCES 512 /* from which one trial of a sweep begins */
#define TRIAL_OBJECTS 4000   /* that it walks at most: about 1 ms */
#define SUSPECTS_MOST 200000 /* that a sweep looks for: they are sorted and forgotten in pauses */
#define SWEEP_HANDLES 4096 /* looked at, at one time */
#define VAIN_MOST 5        /* a handle in vain is left out for up to 2^VAIN_MOST choices */

/* ---- taking groups -------------------------------------------------------------------------------- */

/* Groups that could not be judged by themselves are left to Python's gc until a full collection of its has seen
 * them: choosing would dissolve them. One is asked for when young collections have made them old. */
static struct {
  bool is_due, is_asked, is_left; /* left: a group was not judged */
  uint64_t young_at_form, collections_at_ask;
} verdict;

#define FORM_LOOK 16 /* groups between two looks at the clock */

static bool is_time_up(unsigned groups_done, uint64_t deadline) {
  return (zmanaged_verdict_is_empty() || groups_done % FORM_LOOK == 0) && zos_now_ns() >= deadline;
}

/* What runs meanwhile may come by here as well, in another thread, and take the rest. */
bool zmanaged_cycles_take(uint64_t deadline) {
  if (!zmanaged_has_groups()) return true;
  const zmanaged_group_t *group;
  for (unsigned i = 1; zmanaged_group_prepare() && zmanaged_group_form(&group); i++) {
    if (group != NULL) zmanaged_verdict_add(group);
    if (zmanaged_verdict_is_full() && !zmanaged_verdict_judge()) verdict.is_left = true;
    if (is_time_up(i, deadline)) return false;
  }
  if (zmanaged_has_groups()) zsuspects_clear();
  if (!zmanaged_verdict_is_empty() && !zmanaged_verdict_judge()) verdict.is_left = true;
  if (zmanaged_verdict_is_empty()) zmanaged_verdict_forget();
  verdict.is_due = zmanaged_groups != NULL && verdict.is_left;
  verdict.is_asked = verdict.is_left = false;
  verdict.young_at_form = zstat_get(young_collections);
  return true;
}

/* ---- choosing suspects --------------------------------------------------------------------------- */

static uint8_t *vain, *left_out; /* by handle id: choices in vain, choices that it is left out of */
static size_t references_looked_at, nodes_looked_at;

/* Each time that a handle's group was judged to be alive, it is left out for twice as long; but a collection that
 * the program asks for is exact. */
static bool is_left_out(const zhandle_entry_t *entry, bool is_asked_for) {
  uint32_t id = zhandle_id(entry);
  if (zmanaged_verdict_is_held(entry)) return true;
  if (is_asked_for || left_out == NULL || left_out[id] == 0) return false;
  left_out[id]--;
  return true;
}

static void note_vain(const zmanaged_group_t *proxy) {
  if (vain == NULL) vain = zos_table_map(zhandle_table.limit);
  if (left_out == NULL) left_out = zos_table_map(zhandle_table.limit);
  if (vain == NULL || left_out == NULL) return;
  for (size_t i = 0; i < proxy->handle_count; i++) {
    uint32_t id = zhandle_id(proxy->handles[i]->entry);
    if (vain[id] < VAIN_MOST) vain[id]++;
    left_out[id] = (uint8_t)(1u << vain[id]) - 1;
  }
}

/* A sole one would have been found by Python's gc, were there not other bodies in the cycle. */
static bool suspect(PyObject *handle, void *is_asked_for) {
  if (!zmanaged_is_handle(handle)) return true;
  zhandle_entry_t *entry = ((zhandle_t *)handle)->entry;
  if (entry == NULL || zhandle_is_weak(entry)) return true; /* in use by nothing of Python's */
  zmanaged_sole_share(entry);
  if (zpyabi_is_tracked(handle) || (entry->object & ZHANDLE_SUSPECT)) return true;
  return is_left_out(entry, *(const bool *)is_asked_for) || zsuspects_add(entry);
}

static void set_fates(void) {
  for (zclass_t *class = zmanaged_class_all; class != NULL; class = class->next) {
    if (class->type != NULL) class->shape.shared_fate = zmanaged_trial_has((PyObject *)class->type);
  }
}

static void log_choice(const char *what, uint64_t start, bool ok) {
  zlog_debug("gc,managed", "Pause Suspects%s %.3fms objects %zu suspects %zu%s", what, zlog_ms(zos_now_ns() - start),
             zmanaged_trial_count(), zsuspects_count(), ok ? "" : " (memory is short)");
}

/* What Python's gc has not taken so far is judged again: other bodies of its classes may have died. */
static void dissolve_all(void) {
  zmanaged_verdict_begin_choice();
  while (zmanaged_groups != NULL) {
    note_vain(zmanaged_groups);
    zmanaged_group_dissolve(zmanaged_groups);
  }
}

/* From all references at once. Runs no Python code. */
static void choose(bool is_asked_for) {
  uint64_t start = zos_now_ns();
  dissolve_all();
  bool ok = zmanaged_trial_of_all();
  if (ok) {
    set_fates();
    zmanaged_trial_each(suspect, &is_asked_for);
  }
  references_looked_at = zpyref_held();
  nodes_looked_at = zmanaged_trial_count();
  log_choice("", start, ok);
  zmanaged_trial_forget();
}

static bool may_choose(void) { return zmanaged_phase() == ZMANAGED_IDLE && !zsuspects_has_results(); }

void zmanaged_cycles_choose(void) {
  if (zmanaged_phase() == ZMANAGED_IDLE) zmanaged_cycles_take(UINT64_MAX);
  if (may_choose() && (zpyref_table.live > 0 || zmanaged_class_all != NULL)) choose(true);
}

/* A walk over all would hold the program up, as CPython's own collection of as many objects would. So, other than
 * that which the program asks for, it is done in parts: trials that begin at some references each. What two parts
 * have in common looks to each as if it were held from elsewhere; so a sweep that has found little is followed by
 * a walk over all, the next time. */
static struct {
  uint32_t next, next_handle; /* 0: none under way */
  uint32_t end, end_handle;   /* of the tables when it began: what is made meanwhile waits for the next one */
  uint64_t *sole; /* references that are left out: sole handles hold them (or did when they were looked at) */
  size_t sole_words;
  size_t references, suspects; /* at its start */
  size_t found; /* suspects, by the last one that has ended */
  bool is_done, is_whole_due;
} sweep;

static bool begin_sweep(void) {
  sweep.sole_words = zpyref_table.top / 64 + 1;
  sweep.sole = zos_table_map(sweep.sole_words * sizeof *sweep.sole);
  if (sweep.sole == NULL) return false;
  dissolve_all();
  sweep.next = sweep.next_handle = 1;
  sweep.end = zpyref_table.top;
  sweep.end_handle = zhandle_table.top;
  sweep.references = zpyref_held();
  sweep.suspects = zsuspects_count();
  return true;
}

static bool is_left_to_sole(uint32_t i) {
  return (sweep.sole[i / 64] >> i % 64 & 1) != 0;
}

/* References that came after the sweep's start are not in the map. */
static void look_at_handles(void) {
  uint32_t to = (uint32_t)zmin(sweep.next_handle + SWEEP_HANDLES, sweep.end_handle);
  zmanaged_sole_mark_references(sweep.sole, sweep.sole_words * 64, sweep.next_handle, to);
  sweep.next_handle = to;
}

static void end_sweep(void) {
  sweep.found = zsuspects_count() - sweep.suspects;
  bool is_cut = sweep.next < sweep.end;
  sweep.is_whole_due = !is_cut && sweep.found < (sweep.references - zmin(references_looked_at, sweep.references)) / 8;
  references_looked_at = zpyref_held();
  zos_table_unmap(sweep.sole, sweep.sole_words * sizeof *sweep.sole);
  sweep.next = 0;
  sweep.is_done = true;
}

static void sweep_some(void) {
  uint32_t references[TRIAL_REFERENCES];
  size_t count = 0;
  uint64_t start = zos_now_ns();
  bool is_asked_for = false;
  for (; sweep.next < sweep.end && count < TRIAL_REFERENCES; sweep.next++) {
    if (!is_left_to_sole(sweep.next) && !zpyref_is_free(&zpyref_table.entries[sweep.next])) {
      references[count++] = sweep.next;
    }
  }
  bool ok = zmanaged_trial_of(references, count, TRIAL_OBJECTS);
  if (ok) zmanaged_trial_each(suspect, &is_asked_for);
  log_choice(" (part)", start, ok);
  zmanaged_trial_forget();
  if (sweep.next >= sweep.end || zsuspects_count() >= SUSPECTS_MOST) end_sweep();
}

/* True: a full collection that comes now finds suspects. */
static bool is_ready(void) {
  bool is_cheap = nodes_looked_at < NODES_CHEAP && zpyref_held() < NODES_CHEAP;
  if (sweep.is_done || sweep.is_whole_due || is_cheap) return true;
  if (sweep.next == 0 && !begin_sweep()) return true;
  if (sweep.next_handle < sweep.end_handle) {
    look_at_handles();
  } else {
    sweep_some();
  }
  return sweep.is_done;
}

#define YOUNG_UNTIL_OLD 3

bool zmanaged_cycles_await_collector(void) { return verdict.is_due && zmode_is_on() && !zmode_is_warm(); }

bool zmanaged_cycles_ask(void) {
  if (zmanaged_cycles_await_collector()) return true;
  if (!verdict.is_due || verdict.is_asked || !zmode_is_on()) return false;
  if (zstat_get(young_collections) < verdict.young_at_form + YOUNG_UNTIL_OLD) return false;
  verdict.collections_at_ask = zstat_get(collections);
  verdict.is_asked = zconsult_begin(ZCAUSE_EXPLICIT);
  return false;
}

static bool awaits_gc(void) {
  if (zmanaged_groups == NULL || !verdict.is_due || !zmode_is_on()) return false;
  zmanaged_cycles_ask();
  if (!verdict.is_asked || zstat_get(collections) == verdict.collections_at_ask) return true;
  verdict.is_due = verdict.is_asked = false;
  return false;
}

bool zmanaged_cycles_await_verdict(void) { return awaits_gc() || (may_choose() && !is_ready()); }

void zmanaged_cycles_choose_some(bool is_whole) {
  bool is_cheap = nodes_looked_at < NODES_CHEAP && zpyref_held() < NODES_CHEAP;
  bool is_due = is_whole ? !sweep.is_done : is_cheap;
  if (may_choose() && zpyref_held() > 0 && is_due && !awaits_gc()) {
    choose(false);
    sweep.is_whole_due = false;
  }
  sweep.is_done = false;
}
