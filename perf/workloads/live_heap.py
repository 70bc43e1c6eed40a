"""A big live heap without garbage, which grows and has its parts replaced.

Nothing here is ever collectable, so each full collection is wasted work: the shape of most
reports about long pauses. The last 30 % of the objects are added while measuring, enough growth
to make any collector with CPython's 25 % rule collect at least once.
"""

from _heaps import LiveHeap, Node, Tide
from _measure import Workload, main

GROWN_WHILE_MEASURED = 0.3
NODES_PER_STEP = 2


class LiveHeapWorkload(Workload):
    objects = 3_000_000

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--links", choices=("random", "near"), default="random",
                            help="where references point (default: %(default)s)")

    def build(self):
        self.heap = LiveHeap(int(self.args.objects * (1 - GROWN_WHILE_MEASURED)),
                             self.args.links == "random")
        self.tide = Tide(self.heap, 50_000)
        self.left = int(self.args.objects * GROWN_WHILE_MEASURED)

    def step(self):
        self.heap.churn()
        if self.left > 0:
            added = NODES_PER_STEP * Node.TRACKED
            self.heap.grow(added)
            self.left -= added
        else:
            self.tide.move(NODES_PER_STEP)

    def measure(self):
        self.meter.run_steps(self.step, self.args.seconds, self.args.steps,
                             until=lambda: self.left <= 0)


if __name__ == "__main__":
    main(LiveHeapWorkload, __doc__)
