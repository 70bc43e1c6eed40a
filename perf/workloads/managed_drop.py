"""Nine tenths of a large graph are dropped at random, then one full collection runs beside the
program: what stays resident, and how long the program is ever held up."""

import random
import time

from _managed import Node, full_collection, managed_stats, new_table, zgc
from _measure import Workload, main, vm_mb


class Drop(Workload):
    objects = 5_000_000
    seconds = 3.0

    def build(self):
        n = self.args.objects
        self.base_mb = vm_mb("VmRSS")
        self.table = new_table(n)
        for i in range(n):
            self.table[i] = Node(None, None, i, i * 0.5)
        full_collection()
        self.full_mb = vm_mb("VmRSS")
        pick = random.Random(1).random
        for i in range(n):
            if pick() < 0.9:
                self.table[i] = None
        self.position = 0

    def step(self):
        total = 0
        table, at = self.table, self.position
        for i in range(at, at + 100):
            node = table[i]
            if node is not None:
                total += node.key
        self.position = (at + 100) % (len(table) - 100)

    def measure(self):
        if zgc:
            before = managed_stats()["full_collections"]
            zgc.collect("full", wait=False)
            self.meter.run_steps(self.step, self.args.seconds,
                                 until=lambda: managed_stats()["full_collections"] > before)
        else:
            full_collection()
            self.meter.run_steps(self.step, self.args.seconds)
        time.sleep(0.1)
        metrics = self.meter.metrics
        metrics["rss_full_mb"] = self.full_mb - self.base_mb
        metrics["rss_left_mb"] = vm_mb("VmRSS") - self.base_mb
        if zgc:
            metrics["managed_pause_max_ms"] = managed_stats()["pause_max_ns"] / 1e6
        assert all(node is None or node.key == i for i, node in enumerate(self.table))


if __name__ == "__main__":
    main(Drop, __doc__)
