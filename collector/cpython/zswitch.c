#include "collector/cpython/zswitch.h"

#include "collector/cpython/zdriver.h"
#include "collector/cpython/zfaults.h"
#include "collector/cpython/zmode.h"
#include "collector/cpython/zpromotion.h"
#include "collector/cpython/zreclaim.h"
#include "collector/cpython/zteardown.h"
#include "collector/cpython/zthresholds.h"
#include "heap/base/zlog.h"

static void change(bool on) {
  if (on == zmode_is_on()) return;
  if (!on) zreclaim_settle_weakrefs();
  if (!on) zdriver_abandon("switched to the stock collector");
  if (!on) zteardown_finish();
  if (on) zpromotion_rewind(); /* the stock collector has reordered the list meanwhile */
  zmode_switch(on);
  zthresholds_apply();
  zlog_info("gc,init", "full collections: %s", on ? "zgc" : "stock");
}

void zswitch(bool on) {
  zfaults_forget();
  change(on);
}

void zswitch_note_fault(const char *what) {
  if (zfaults_note(what)) change(false);
}

void zswitch_try_again(void) {
  if (!zmode_is_on() && zfaults_rest_is_over()) change(true);
}
