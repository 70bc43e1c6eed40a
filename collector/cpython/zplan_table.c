#include "collector/cpython/zplan_table.h"

#include "collector/cpython/zforward.h"
#include "collector/cpython/zfull.h"
#include "collector/cpython/zmode.h"
#include "collector/cpython/zreclaim.h"
#include "collector/cpython/zyoung.h"

#define NO_PAUSE ZPLAN_NO_PAUSE
#define AS_ASKED ZPLAN_AS_ASKED
#define MIDDLE 1
#define OLDEST (ZGC_GENERATIONS - 1)
#define PLAN(id) (&zplan_table[ZPLAN_##id])
#define ALWAYS NULL, NULL
#define HEARD false
#define SILENT true
#define ALONE false
#define TURN true

/* clang-format off */
const zplan_t zplan_table[ZPLAN_COUNT] = {
  /* name, pause, generation told, silent?, a turn?,
   *     due?, otherwise, open, close */
  [ZPLAN_FORWARD] =     {"forward",    NO_PAUSE,       AS_ASKED, HEARD,  ALONE,
      ALWAYS,                         NULL,                   zforward_close},
  [ZPLAN_YOUNG] =       {"young",      ZPAUSE_YOUNG,   AS_ASKED, HEARD,  TURN,
      zmode_is_on, PLAN(FORWARD),     zyoung_open,            zyoung_close},
  [ZPLAN_TAKE_OVER] =   {"take over",  ZPAUSE_YOUNG,   AS_ASKED, HEARD,  TURN,
      zmode_is_on, PLAN(FORWARD),     zyoung_open_take_over,  zyoung_close_take_over},
  [ZPLAN_BATCH] =       {"batch",      ZPAUSE_RECLAIM, MIDDLE,   HEARD,  TURN,
      zreclaim_is_due, PLAN(YOUNG),   zreclaim_open,          zreclaim_close},
  [ZPLAN_LAST_BATCH] =  {"last batch", ZPAUSE_RECLAIM, OLDEST,   HEARD,  TURN,
      zreclaim_is_due, PLAN(YOUNG),   zreclaim_open_last,     zreclaim_close},
  [ZPLAN_FULL] =        {"full",       ZPAUSE_FULL,    OLDEST,   HEARD,  ALONE,
      ALWAYS,                         zfull_open,             zfull_close},
  [ZPLAN_WHOLE] =       {"whole",      ZPAUSE_FULL,    OLDEST,   HEARD,  ALONE,
      ALWAYS,                         zfull_open_whole,       zfull_close_whole},
  [ZPLAN_SMALL] =       {"small",      ZPAUSE_FULL,    OLDEST,   HEARD,  ALONE,
      ALWAYS,                         zfull_open_small,       zfull_close_small},
  [ZPLAN_SILENT] =      {"silent",     NO_PAUSE,       AS_ASKED, SILENT, ALONE,
      ALWAYS,                         zforward_open_silent,   zforward_close_silent},
};
/* clang-format on */
