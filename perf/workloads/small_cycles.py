"""Small cycles made and dropped at once, beside a live heap.

Nearly all of this garbage dies young. Every --keep'th cycle waits in a ring first, and is old
garbage by the time it is dropped.
"""

from _heaps import LiveHeap, family
from _measure import Workload, main

CYCLES_PER_STEP = 10
WAITING = 20_000


class SmallCycles(Workload):

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--cycle-size", type=int, default=8, metavar="N",
                            help="objects in one cycle (default: %(default)s)")
        parser.add_argument("--keep", type=int, default=10, metavar="N",
                            help="every N-th cycle waits before it is dropped "
                                 "(default: %(default)s)")

    def build(self):
        self.garbage_size = self.meter.calibrate(lambda: family(self.args.cycle_size))
        self.heap = LiveHeap(self.args.objects)
        self.ring = [None] * WAITING
        self.made = 0

    def step(self):
        self.heap.churn(2)
        ring = self.ring
        size = self.args.cycle_size
        for _ in range(CYCLES_PER_STEP):
            cycle = family(size)
            self.made += 1
            if self.made % self.args.keep == 0:
                slot = self.made // self.args.keep % WAITING
                dropped, ring[slot] = ring[slot], cycle
                if dropped is None:
                    continue
            self.meter.garbage_made += self.garbage_size


if __name__ == "__main__":
    main(SmallCycles, __doc__)
