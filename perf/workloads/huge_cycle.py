"""One cycle of a million objects, grown old beside a live heap, is dropped.

Measured until it has been reclaimed, or for --seconds at most. The live heap grows all the while,
so that CPython's 25 % rule asks for a full collection.
"""

import time

from _heaps import LiveHeap, Node, family
from _measure import Workload, main


class HugeCycle(Workload):
    seconds = 60.0

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--cycle-size", type=int, default=1_000_000, metavar="N",
                            help="objects in the cycle (default: %(default)s)")

    def build(self):
        self.heap = LiveHeap(self.args.objects)
        self.cycle = family(self.args.cycle_size)
        self.growth_left = self.args.objects

    def step(self):
        self.heap.churn(2)
        if self.growth_left > 0:
            self.heap.grow(4 * Node.TRACKED)
            self.growth_left -= 4 * Node.TRACKED

    def reclaimed(self):
        return self.meter.watch.reclaimed >= self.args.cycle_size * 0.99

    def measure(self):
        dropped = time.perf_counter()
        self.cycle = None
        self.meter.garbage_made += self.args.cycle_size
        self.meter.run_steps(
            self.step,
            until=lambda: self.reclaimed() or time.perf_counter() - dropped > self.args.seconds)
        self.meter.metrics.update(
            reclaim_s=time.perf_counter() - dropped,
            reclaimed_all=int(self.reclaimed()))


if __name__ == "__main__":
    main(HugeCycle, __doc__)
