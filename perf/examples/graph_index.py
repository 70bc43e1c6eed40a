#!/usr/bin/env python3
"""A graph index: a few million nodes and edges in cyclic lists, queried and changed all the time.

    LD_PRELOAD=build/libzgcpreload.so python3 perf/examples/graph_index.py
    python3 perf/examples/graph_index.py --plain          # the same on objects with __slots__

The program loads the graph, serves queries while nodes are replaced, drops two thirds of the graph
half-way, and goes on. Every fifth of a second it notes the resident memory and the longest
request; --samples FILE keeps them for plot_graph_index.py.
"""

import argparse
import json
import random
import sys
import time


def managed_classes():
    try:
        import zgc
    except ImportError:
        sys.exit("graph_index.py: there is no zgc here; start it as its first lines say, or with --plain")

    class Vertex(zgc.Object):
        first: "Edge"
        key: zgc.i64
        score: zgc.f64

    class Edge(zgc.Object):
        target: "Vertex"
        next: "Edge"
        weight: zgc.f64

    return Vertex, Edge, zgc.allocate


def plain_classes():
    class Vertex:
        __slots__ = ("first", "key", "score")

        def __init__(self, first, key, score):
            self.first = first
            self.key = key
            self.score = score

    class Edge:
        __slots__ = ("target", "next", "weight")

        def __init__(self, target, next, weight):
            self.target = target
            self.next = next
            self.weight = weight

    return Vertex, Edge, lambda n: [None] * n


class Index:
    """Vertices by number; each has a list of edges, and there are cycles everywhere."""

    def __init__(self, classes, size):
        self.Vertex, self.Edge, allocate = classes
        self.table = allocate(size)
        self.size = size
        self.pick = random.Random(1).random

    def add(self, key):
        vertex = self.Vertex(None, key, self.pick())
        self.table[key] = vertex
        for _ in range(2):
            self.link(vertex, self.table[int(self.pick() * self.size)])

    def link(self, vertex, other):
        if other is not None:
            vertex.first = self.Edge(other, vertex.first, self.pick())
            if other.first is None:
                other.first = self.Edge(vertex, None, 1.0)

    def drop(self, key):
        self.table[key] = None

    def checksum(self):
        """Of what was loaded; the same however the objects are made."""
        return sum(self.query(key) for key in range(0, self.size, 7))

    def query(self, key):
        """The sum of scores two steps around a vertex."""
        vertex = self.table[key]
        if vertex is None:
            return 0.0
        total = vertex.score
        edge = vertex.first
        while edge is not None:
            inner = edge.target.first
            while inner is not None:
                total += inner.weight * inner.target.score
                inner = inner.next
            edge = edge.next
        return total


def resident_mb():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 2**20


class Samples:
    def __init__(self):
        self.started = time.perf_counter()
        self.rows = []
        self.next = self.longest = self.longest_cpu = 0.0
        self.before = self.before_cpu = 0.0

    def begin(self):
        self.before_cpu = time.thread_time()
        self.before = time.perf_counter()

    def end(self):
        """One request is over. Its CPU time is noted as well: on a busy machine a thread is often held
        up by other programs."""
        self.longest = max(self.longest, time.perf_counter() - self.before)
        self.longest_cpu = max(self.longest_cpu, time.thread_time() - self.before_cpu)
        now = time.perf_counter() - self.started
        if now >= self.next:
            self.rows.append((round(now, 2), round(resident_mb(), 1), round(self.longest * 1e3, 3),
                              round(self.longest_cpu * 1e3, 3)))
            self.next, self.longest, self.longest_cpu = now + 0.2, 0.0, 0.0


def serve(index, seconds, samples):
    pick = index.pick
    end = time.perf_counter() + seconds
    while True:
        samples.begin()
        if samples.before >= end:
            return
        for _ in range(20):
            index.query(int(pick() * index.size))
        key = int(pick() * index.size)
        if index.table[key] is not None:
            index.drop(key)
            index.add(key)
        samples.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vertices", type=int, default=2_000_000)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each serving phase")
    parser.add_argument("--plain", action="store_true", help="objects with __slots__, no zgc")
    parser.add_argument("--samples", help="write the samples to this file")
    args = parser.parse_args()

    samples = Samples()
    index = Index(plain_classes() if args.plain else managed_classes(), args.vertices)
    for low in range(0, args.vertices, 100):
        samples.begin()
        for key in range(low, min(low + 100, args.vertices)):
            index.add(key)
        samples.end()
    checksum = index.checksum()
    marks = [time.perf_counter() - samples.started]
    serve(index, args.seconds, samples)
    marks.append(time.perf_counter() - samples.started)
    for low in range(0, args.vertices, 300):
        samples.begin()
        for key in range(low, min(low + 300, args.vertices)):
            if key % 3:
                index.drop(key)
        samples.end()
    # The rest still refers to much of what was dropped: cut those links.
    for key in range(0, args.vertices, 3):
        samples.begin()
        index.table[key].first = None
        samples.end()
    if not args.plain:
        import zgc
        zgc.collect("full", wait=False)     # much is gone: no need to wait for the next trigger
    serve(index, args.seconds, samples)

    rows = samples.rows
    print(f"loaded in {marks[0]:.1f} s, peak {max(r[1] for r in rows):.0f} MB, "
          f"at the end {rows[-1][1]:.0f} MB, longest request {max(r[2] for r in rows):.2f} ms, "
          f"by CPU time {max(r[3] for r in rows):.2f} ms")
    if not args.plain:
        import zgc
        stats = zgc.stats()["managed"]
        print(f"{stats['young_collections']} young and {stats['full_collections']} full collections, "
              f"longest pause {stats['pause_max_ns'] / 1e6:.3f} ms")
    if args.samples:
        with open(args.samples, "w") as file:
            json.dump({"plain": args.plain, "vertices": args.vertices, "checksum": checksum, "marks": marks,
                       "rows": rows}, file)


if __name__ == "__main__":
    main()
