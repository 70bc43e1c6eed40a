"""A cache of parent and child graphs that evicts the least recently used one.

Each evicted graph is a component of cyclic garbage old enough to need a full collection. The
cache holds half of the live objects.
"""

from collections import OrderedDict

from _heaps import LiveHeap, family
from _measure import Workload, main

LOOKUPS_PER_STEP = 20


class LruGraphs(Workload):

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--graph-size", type=int, default=40, metavar="N",
                            help="objects in one graph (default: %(default)s)")

    def build(self):
        size = self.args.graph_size
        self.garbage_size = self.meter.calibrate(lambda: family(size))
        self.heap = LiveHeap(self.args.objects // 2)
        self.capacity = max(self.args.objects // 2 // size, 2)
        # A step makes about 100 new objects, however they are grouped.
        self.hits_per_miss = max(size // 100, 1)
        self.cache = OrderedDict((key, family(size)) for key in range(self.capacity))
        self.next_key = self.capacity
        self.steps = 0

    def step(self):
        cache = self.cache
        oldest = self.next_key - self.capacity
        for _ in range(LOOKUPS_PER_STEP):
            key = oldest + int(self.heap.random() * self.capacity)
            if key in cache:
                cache.move_to_end(key)
        self.heap.churn(1)
        self.steps += 1
        if self.steps % self.hits_per_miss:
            return
        for _ in range(max(100 // self.args.graph_size, 1)):
            cache[self.next_key] = family(self.args.graph_size)
            self.next_key += 1
            cache.popitem(last=False)
            self.meter.garbage_made += self.garbage_size


if __name__ == "__main__":
    main(LruGraphs, __doc__)
