#include "collector/cpython/zcollection.h"

#include "heap/base/zatomic.h"
#include "heap/base/zlog.h"
#include "heap/base/zos.h"
#include "heap/base/zprobe.h"
#include "heap/zgranules.h"
#include "heap/zold_map.h"

void zcollection_begin(zcollection_t *record, zcause_t cause) {
  uint64_t sequence = record->sequence + (record->cause != ZCAUSE_NONE);
  *record = (zcollection_t){.sequence = sequence, .cause = cause, .started_ns = zos_now_ns(),
                            .considered = zload_relaxed(&zold_map_count)};
  record->heap_before = zgranules_used_bytes();
  if (zlog_is(ZLOG_INFO)) record->rss_before = zos_rss_bytes();
}

void zcollection_log_start(const zcollection_t *record) {
  zprobe_collection_start(record->sequence, zcause_name(record->cause));
  zlog_info("gc,start", "GC(%llu) Full Collection (%s) old %zu heap %luM rss %luM", zcollection_number(record),
            zcause_name(record->cause), zload_relaxed(&zold_map_count), zlog_mb(record->heap_before),
            zlog_mb(record->rss_before));
}

void zcollection_log_end(const zcollection_t *c) {
  if (!zlog_is(ZLOG_INFO)) return;
  zlog_info("gc",
            "GC(%llu) Full Collection (%s) found %llu reclaimed %llu heap %luM->%luM rss %luM->%luM "
            "concurrent %.3fms pauses %llu max %.3fms total %.3fms",
            zcollection_number(c), zcause_name(c->cause), (unsigned long long)c->found,
            (unsigned long long)c->reclaimed, zlog_mb(c->heap_before), zlog_mb(zgranules_used_bytes()),
            zlog_mb(c->rss_before), zlog_mb(zos_rss_bytes()), zlog_ms(c->concurrent_ns), (unsigned long long)c->pauses,
            zlog_ms(c->pause_max_ns), zlog_ms(c->pause_total_ns));
}
