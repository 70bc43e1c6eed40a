"""How much slower the program runs while a full collection is under way.

Slices without a collection alternate with slices that last as long as a collection does. Stock
CPython takes no step at all during a collection: its slow-down is 100 %.
"""

import statistics
import sys
import time

from _heaps import LiveHeap
from _measure import Workload, main, zgc

QUIET_SECONDS = 0.5
ROUNDS = 8
LONGEST_COLLECTION = 30
CHECK_EVERY = 20


class Slowdown(Workload):
    seconds = None

    def build(self):
        self.heap = LiveHeap(self.args.objects)

    def rate(self, still_wanted):
        """Steps per second for as long as still_wanted() says so."""
        steps = 0
        started = time.perf_counter()
        while True:
            for _ in range(CHECK_EVERY):
                self.heap.churn()
            steps += CHECK_EVERY
            if not still_wanted():
                return steps / (time.perf_counter() - started)

    def quiet_rate(self):
        end = time.perf_counter() + QUIET_SECONDS
        return self.rate(lambda: time.perf_counter() < end)

    def collecting_rate(self):
        limit = time.perf_counter() + LONGEST_COLLECTION
        zgc.collect(wait=False)
        rate = self.rate(lambda: zgc.stats()["running"] and time.perf_counter() < limit)
        if zgc.stats()["running"]:
            sys.exit(f"the collection did not end within {LONGEST_COLLECTION} s")
        return rate

    def measure(self):
        quiet = [self.quiet_rate()]
        collecting = []
        for done in range(ROUNDS if zgc else 0):
            self.meter.progress(f"running {done / ROUNDS:.0%}")
            collecting.append(self.collecting_rate())
            quiet.append(self.quiet_rate())
        undisturbed = statistics.median(quiet)
        disturbed = statistics.median(collecting) if collecting else 0.0
        self.meter.metrics.update(
            quiet_steps_per_s=undisturbed,
            collecting_steps_per_s=disturbed,
            slowdown_pct=100.0 * (1.0 - disturbed / undisturbed))


if __name__ == "__main__":
    main(Slowdown, __doc__)
