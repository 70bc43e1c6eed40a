"""The figures that collectors in this field quote: containers created, tracked and dropped, and
garbage cycles built and dropped, with collection as the interpreter has it.
"""

import gc
import statistics
import time

from _measure import Workload, main

CONTAINERS = 1_000_000
RING = 10_000
RINGS = 20
ROUNDS = 5


class Node:
    def __init__(self):
        self.next = None


def lists():
    kept = [[] for _ in range(CONTAINERS)]
    del kept


def nested():
    kept = [{"key": [i], "pair": (i, [])} for i in range(CONTAINERS // 4)]
    del kept


def rings():
    """Rings of RING instances, each dropped as the next one is built."""
    for _ in range(RINGS):
        first = node = Node()
        for _ in range(RING - 1):
            node.next = Node()
            node = node.next
        node.next = first


def small_rings():
    for _ in range(RING * RINGS // 2):
        one, other = [], []
        one.append(other)
        other.append(one)


def seconds(run):
    times = []
    for _ in range(ROUNDS):
        gc.collect()
        started = time.perf_counter()
        run()
        gc.collect()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


class Containers(Workload):
    objects = None
    seconds = None

    def measure(self):
        self.meter.metrics.update(
            lists_s=seconds(lists), nested_s=seconds(nested),
            rings_s=seconds(rings), small_rings_s=seconds(small_rings))


if __name__ == "__main__":
    main(Containers, __doc__)
