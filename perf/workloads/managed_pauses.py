"""A large graph of managed objects, a million handles, and a program that keeps changing the graph:
how long the pauses are. Without the library the same program on objects with __slots__."""

import random

from _managed import Node, fill_table, managed_stats, new_table, pause_percentile, pauses, zgc
from _measure import Workload, main


class Pauses(Workload):
    objects = 5_000_000
    seconds = 10.0

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--handles", type=int, default=1_000_000)

    def build(self):
        n = self.args.objects
        self.table = new_table(n)
        fill_table(self.table)
        step = max(n // self.args.handles, 1)
        self.handles = [self.table[i] for i in range(0, n, step)][:self.args.handles]
        self.pick = random.Random(2).random
        self.before = dict(pauses()) if zgc else {}
        self.count = 0

    def step(self):
        table, pick, n = self.table, self.pick, len(self.table)
        for _ in range(10):
            i = int(pick() * n)
            node = table[i]
            node.left = table[int(pick() * n)]
            table[int(pick() * n)] = Node(node, node.left, i, 0.5)
        self.count += 1
        if zgc and self.count % 1000 == 0:
            zgc.collect("full" if self.count % 10000 == 0 else "young", wait=False)

    def measure(self):
        if not zgc:
            super().measure()
            return
        full = managed_stats()["full_collections"]
        zgc.collect("full", wait=False)
        self.meter.run_steps(self.step, self.args.seconds, self.args.steps,
                             until=lambda: managed_stats()["full_collections"] >= full + 2)
        rows = [(bound, count - self.before.get(bound, 0)) for bound, count in pauses()]
        rows = [row for row in rows if row[1]]
        stats = managed_stats()
        self.meter.metrics.update(
            managed_pauses=sum(count for _, count in rows),
            managed_pause_p99_ms=pause_percentile(rows, 99) / 1e6,
            managed_pause_max_ms=rows[-1][0] / 1e6,
            managed_young=stats["young_collections"],
            managed_full=stats["full_collections"],
            managed_handles=stats["handles"],
            managed_moved_mb=stats["relocated_pages"] / 4)


if __name__ == "__main__":
    main(Pauses, __doc__)
