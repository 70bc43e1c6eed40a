"""A tree of nodes with two references and two numbers: time and memory to build it, what reading it
costs, and what CPython's full collection costs with it alive."""

import gc
import time

from _managed import Node, build_tree, full_collection, zgc
from _measure import Workload, main, vm_mb


def best_ns(function, repeat=9):
    """Cheapest run per element, in ns."""
    best = float("inf")
    for _ in range(repeat):
        started = time.perf_counter_ns()
        count = function()
        best = min(best, (time.perf_counter_ns() - started) / count)
    return best


def loop(nodes):
    for _ in nodes:
        pass
    return len(nodes)


def read_number(nodes):
    for node in nodes:
        node.key
    return len(nodes)


def follow(nodes):
    for node in nodes:
        node.left
    return len(nodes)


class Tree(Workload):
    objects = 5_000_000
    seconds = None

    def measure(self):
        metrics = self.meter.metrics
        before = vm_mb("VmRSS")
        started = time.perf_counter()
        root = build_tree(0, self.args.objects)
        metrics["tree_build_s"] = time.perf_counter() - started
        full_collection()
        metrics["bytes_per_node"] = (vm_mb("VmRSS") - before) * 2**20 / self.args.objects
        times = []
        for _ in range(3):
            started = time.perf_counter()
            gc.collect()
            times.append((time.perf_counter() - started) * 1e3)
        metrics["gc_full_ms"] = min(times)
        # Handles that exist, and whose children have handles too: what the barriers and lookups cost.
        parents = [Node(Node(), None, i, 0.5) for i in range(1000, 2000)]
        children = [node.left for node in parents]
        empty = best_ns(lambda: loop(parents))
        metrics["loop_ns"] = empty
        metrics["read_number_ns"] = best_ns(lambda: read_number(parents), 200)
        metrics["follow_ns"] = best_ns(lambda: follow(parents), 200)
        del children
        metrics["follow_new_handle_ns"] = best_ns(lambda: follow(parents), 200)
        if zgc:
            metrics["managed_used_mb"] = zgc.stats()["managed"]["used_bytes"] / 2**20
        assert root.key == self.args.objects // 2


if __name__ == "__main__":
    main(Tree, __doc__)
