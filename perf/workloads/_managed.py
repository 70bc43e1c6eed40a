"""What the workloads of managed objects share: one graph, made of zgc.Object where the library is
preloaded and of a class with __slots__ where it is not."""

import gc
import random

try:
    import zgc
except ImportError:
    zgc = None

if zgc:
    class Node(zgc.Object):
        left: "Node"
        right: "Node"
        key: zgc.i64
        weight: zgc.f64
else:
    class Node:
        __slots__ = ("left", "right", "key", "weight")

        def __init__(self, left=None, right=None, key=0, weight=0.0):
            self.left = left
            self.right = right
            self.key = key
            self.weight = weight


def build_tree(low, high):
    if low >= high:
        return None
    middle = (low + high) // 2
    return Node(build_tree(low, middle), build_tree(middle + 1, high), middle, middle * 0.5)


def new_table(n):
    """n places for nodes."""
    return zgc.allocate(n) if zgc else [None] * n


def fill_table(table, seed=1):
    """A node in every place, each with two links to earlier ones."""
    pick = random.Random(seed).random
    table[0] = Node(None, None, 0, 0.0)
    for i in range(1, len(table)):
        table[i] = Node(table[int(pick() * i)], table[int(pick() * i)], i, i * 0.5)


def full_collection():
    if zgc:
        zgc.collect("full")
    gc.collect()


def managed_stats():
    return zgc.stats()["managed"] if zgc else {}


def pauses():
    """Sorted (upper bound in ns, count) of all managed pauses so far."""
    merged = {}
    for rows in zgc.pause_histogram().values():
        for bound, count in rows:
            merged[bound] = merged.get(bound, 0) + count
    return sorted(merged.items())


def pause_percentile(rows, percent):
    wanted = sum(count for _, count in rows) * percent / 100
    for bound, count in rows:
        wanted -= count
        if wanted <= 0:
            return bound
    return 0
