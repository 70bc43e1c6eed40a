#!/usr/bin/env python3
"""What operations of managed containers and fields cost beside list, dict and __slots__.

  LD_PRELOAD=build/libzgcpreload.so perf/managed_cost.py [ROUNDS]

Each round runs stock's and ours by turns; the figures are medians of the thread's CPU time. Copies are made 60 times,
one behind the other: ours include what memory costs that is not used again at once.
"""

import statistics
import sys
import time

import zgc

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
N, COPIES, ACCESSES = 80_000, 60, 300_000


def timed(run, subject):
    start = time.thread_time()
    run(subject)
    return (time.thread_time() - start) * 1e3


def compare(name, run, *makes):
    """Each run on a subject of its own."""
    times = [[timed(run, make()) for make in makes] for _ in range(ROUNDS)]
    stock, ours = (statistics.median(column) for column in zip(*times))
    print(f"{name:28} {stock:9.2f} {ours:9.2f} ms  x{ours / stock:.1f}", flush=True)


def repeat(name, run, *subjects):
    def often(subject):
        for _ in range(COPIES):
            run(subject)
    compare(f"{COPIES} x {name}", often, *(lambda subject=subject: subject for subject in subjects))


def lists():
    texts = [str(i) for i in range(N)]
    for kind, values in ("ints", range(N)), ("strings", texts):
        stock, ours = list(values), zgc.List(values)
        repeat(f"a == b, {kind}", lambda pair: pair[0] == pair[1], (stock, stock.copy()), (ours, ours.copy()))
        repeat(f"copy(), {kind}", lambda row: row.copy(), stock, ours)
        repeat(f"a + a, {kind}", lambda row: row + row, stock, ours)
        repeat(f"a[::-2], {kind}", lambda row: row[::-2], stock, ours)
        repeat(f"Array [:], {kind}", lambda row: row[:], stock, zgc.Array(values))
        repeat(f"List(list), {kind}", lambda make: make(stock), list, zgc.List)
    repeat("tolist()", lambda row: row.tolist() if isinstance(row, zgc.List) else row.copy(), list(range(N)),
           zgc.List(range(N)))


def ends():
    def take(row):
        while row:
            row.pop(0)

    def put(row):
        for i in range(40_000):
            row.insert(0, i)

    def middle(row):
        for i in range(10_000):
            row.insert(len(row) // 2, i)

    def append(row):
        for i in range(400_000):
            row.append(i)

    def small(row):
        for _ in range(10_000):
            row[10:13] = (1, 2, 3)
            row[5:7] = [1]
            row[5:6] = [2, 3]

    compare("pop(0), 40,000", take, lambda: list(range(40_000)), lambda: zgc.List(range(40_000)))
    for name, run in (("insert(0), 40,000", put), ("insert(middle), 10,000", middle), ("append, 400,000", append)):
        compare(name, run, list, zgc.List)
    compare("small slices, 30,000", small, lambda: list(range(100)), lambda: zgc.List(range(100)))


def dicts():
    texts = [str(i) for i in range(N)]
    for kind, keys in ("ints", range(N)), ("strings", texts):
        stock, ours = dict.fromkeys(keys, 1), zgc.Dict.fromkeys(keys, 1)
        repeat(f"dict copy(), {kind}", lambda table: table.copy(), stock, ours)
        repeat(f"dict ==, {kind}", lambda pair: pair[0] == pair[1], (stock, stock.copy()), (ours, ours.copy()))
    for name, keys in (("i", range(200_000)), ("i << 44", [i << 44 for i in range(200_000)]),
                       ("i / 65536", [i / 65536 for i in range(200_000)])):
        def fill(table, keys=keys):
            for key in keys:
                table[key] = 1
            for key in keys:
                table[key]
        compare(f"200,000 keys {name}", fill, dict, zgc.Dict)


class Slots:
    __slots__ = ("number", "other")


class Managed(zgc.Object):
    number: zgc.i64
    other: object


def write_number(node):
    for _ in range(ACCESSES):
        node.number = 5


def write_reference(node):
    other = node.other
    for _ in range(ACCESSES):
        node.other = other


def read_number(node):
    for _ in range(ACCESSES):
        node.number


def read_reference(node):
    for _ in range(ACCESSES):
        node.other


def loop(node):
    for _ in range(ACCESSES):
        node


def fields():
    nodes = Slots(), Managed()
    for node in nodes:
        node.number, node.other = 100_000, Managed()
    for run in write_number, write_reference, read_number, read_reference:
        times = [[timed(run, node) - timed(loop, node) for node in nodes] for _ in range(3 * ROUNDS)]
        stock, ours = (statistics.median(column) / ACCESSES * 1e6 for column in zip(*times))
        print(f"{run.__name__:28} {stock:9.1f} {ours:9.1f} ns, the loop taken off", flush=True)


for part in lists, ends, dicts, fields:
    part()
