"""Objects that live long enough to be old, and are then freed by their reference count.

CPython counts them towards its next full collection although they are gone, and collects again
and again for nothing (cpython#122569). Its young collections find only survivors, with references
all over the old heap: the costliest kind.
"""

from _heaps import LiveHeap, Node, Tide
from _measure import Workload, main

TIDE_SHARE = 0.2
NODES_PER_STEP = 5


class PromoteThenDie(Workload):

    def build(self):
        tide = int(self.args.objects * TIDE_SHARE)
        self.heap = LiveHeap(self.args.objects - tide)
        self.tide = Tide(self.heap, tide // Node.TRACKED)

    def step(self):
        self.heap.churn(2)
        self.tide.move(NODES_PER_STEP)


if __name__ == "__main__":
    main(PromoteThenDie, __doc__)
