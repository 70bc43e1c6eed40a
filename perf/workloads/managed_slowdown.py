"""The speed of a program on managed objects while they are marked and moved, against its speed while
nothing runs. Slices alternate; the medians are compared."""

import random
import statistics
import time

from _managed import Node, fill_table, full_collection, managed_stats, new_table, zgc
from _measure import Workload, main


class Slowdown(Workload):
    objects = 5_000_000
    seconds = None

    def build(self):
        self.table = new_table(self.args.objects)
        fill_table(self.table)
        full_collection()
        self.pick = random.Random(2).random

    def step(self):
        table, pick, n = self.table, self.pick, len(self.table)
        for _ in range(20):
            node = table[int(pick() * n)]
            node.weight = node.key * 0.5
            other = node.left
            if other is not None:
                node.right = other.right

    def rate(self, seconds, until=None):
        """Steps per second, and per second of this thread's CPU time: on a busy machine the first
        tells as much about the scheduler as about us."""
        clock = time.perf_counter
        started, started_cpu = clock(), time.thread_time()
        done = 0
        while True:
            for _ in range(50):
                self.step()
            done += 50
            now = clock()
            if until() if until else now - started > seconds:
                return done / (now - started), done / (time.thread_time() - started_cpu)

    def measure(self):
        quiet, collecting = [], []
        for _ in range(7):
            quiet.append(self.rate(0.4))
            if not zgc:
                continue
            # Garbage in every page, so that there is something to move.
            for i in range(0, len(self.table), 3):
                self.table[i] = None
            for i in range(0, len(self.table), 3):
                self.table[i] = Node(self.table[i + 1] if i + 1 < len(self.table) else None, None, i)
            before = managed_stats()["full_collections"]
            zgc.collect("full", wait=False)
            collecting.append(self.rate(0, lambda: managed_stats()["full_collections"] > before))
        metrics = self.meter.metrics
        quiet, quiet_cpu = map(statistics.median, zip(*quiet))
        metrics["quiet_steps_per_s"] = quiet
        if collecting:
            collecting, collecting_cpu = map(statistics.median, zip(*collecting))
            metrics["collecting_steps_per_s"] = collecting
            metrics["slowdown_pct"] = 100 * (1 - collecting / quiet)
            metrics["slowdown_cpu_pct"] = 100 * (1 - collecting_cpu / quiet_cpu)


if __name__ == "__main__":
    main(Slowdown, __doc__)
