"""A program that disables the collector while it loads two million objects, then enables it.

Stock CPython walks all of them in its next young collection.
"""

import gc

from _heaps import LiveHeap, Tide
from _measure import Workload, main


class BigYoung(Workload):
    seconds = 5.0

    def build(self):
        gc.disable()
        self.heap = LiveHeap(self.args.objects)
        self.tide = Tide(self.heap, 50_000)

    def step(self):
        gc.enable()
        self.heap.churn(2)
        self.tide.move(2)


if __name__ == "__main__":
    main(BigYoung, __doc__)
