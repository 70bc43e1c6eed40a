#include "collector/cpython/zforward.h"

#include "collector/cpython/zconsult.h"
#include "collector/cpython/zdriver.h"
#include "collector/cpython/zmode.h"
#include "collector/cpython/zpace.h"
#include "collector/cpython/zplan.h"
#include "collector/cpython/zpromotion.h"
#include "collector/cpython/zswitch.h"
#include "collector/cpython/zwarmup.h"
#include "heap/base/zos.h"

static zgc_head_t set_aside; /* only between start and stop, in which nothing of the program's runs */

/* CPython has collected all objects, and reordered the oldest list. */
static void follow_full(void) {
  zpromotion_rewind();
  zdriver_abandoned = 0;
}

/* gc.collect(1) puts its survivors into the oldest list: a program that calls it all the time would keep
 * promotion from ever catching up, and so the director from its turn. They are enumerated in a part of the time
 * that their collection took. */
static void follow_middle(uint64_t since) {
  if (!zmode_is_on() || !zmode_is_warm()) return;
  zpromotion_slice(since + zmax(since - zplan_now.start_ns, zplan_budget_ns() / 4), 0);
  zconsult_director();
  zpace_keep(since);
}

static void follow_young(size_t collected) {
  if (!zmode_is_on() || zmode_is_warm()) return;
  zwarmup_note_survivors(zplan_now.looked > collected ? zplan_now.looked - collected : 0);
}

void zforward_close(PyObject *info) {
  uint64_t since = zos_now_ns();
  switch (zplan_now.generation) {
    case 0:
      follow_young((size_t)zcallbacks_number(info, "collected"));
      break;
    case 1:
      follow_middle(since);
      break;
    default:
      follow_full();
  }
  zswitch_try_again();
}

void zforward_open_silent(void) {
  set_aside = (zgc_head_t){(uintptr_t)&set_aside, (uintptr_t)&set_aside};
  zgc_list_splice(zplan_list(2), &set_aside);
}

void zforward_close_silent(PyObject *info) {
  (void)info;
  zgc_list_splice(&set_aside, zplan_list(2));
}
