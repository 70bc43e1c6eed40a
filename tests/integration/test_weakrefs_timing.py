"""Garbage that becomes garbage while a collection is under way.

Parts of what a program drops at one moment are found by the collection under way, and parts by the next one only.
Callbacks and finalizers must not see that: tests/attack/programs/weak_timing.py says what they look at. Stock
CPython's output with the same seed is the expectation.
"""

import sys
import unittest
from pathlib import Path

from zgctest import main, requires_active, run

PROGRAM = (Path(__file__).resolve().parents[1] / "attack" / "programs" / "weak_timing.py").read_text()
SEEDS = 5, 7, 11, 17, 23

PRELUDE = """
import gc, weakref
try:
    import zgc
except ImportError:
    zgc = None
seen = {}
def note(what, value=True):
    seen[what] = seen.get(what, 0) + bool(value)
class Node:
    def __init__(self):
        self.me = self
keep = [[i] for i in range(100_000)]
def grow_old():
    for _ in range(3):
        gc.collect(1)
    gc.disable()
def begin():
    # A collection that begins now, and what a program does meanwhile.
    if zgc:
        zgc.collect(wait=False)
def end():
    gc.enable()
    for i in range(60_000):
        keep.append([i])
    if zgc:
        zgc.collect()
    gc.collect()
    for what in sorted(seen):
        print(what, seen[what])
"""

# Weak references with callbacks, younger than what they refer to, and held by garbage alone.
YOUNGER = """
live = []
pairs = [(Node(), Node()) for _ in range(5000)]
grow_old()
for (a, _), (_, b) in zip(pairs, reversed(pairs)):
    watched = weakref.ref(b)
    live.append(weakref.ref(a, lambda ref, watched=watched: note("alive", watched() is not None)))
    b.ref = weakref.ref(a, lambda ref: note("garbage"))
a = b = watched = _ = None
begin()
pairs.clear()
end()
"""

# Half of each pair is held by old objects, half by young ones, and all go at one moment.
YOUNG_HOLDERS = """
class Final(Node):
    def __del__(self):
        note("finalized")
        note("alive in a finalizer", any(ref() is not None for ref in self.refs))
live = []
def ignore(ref):
    note("called")
pairs = [(Final(), Final()) for _ in range(2000)]
grow_old()
for a, b in pairs:
    a.refs = b.refs = [weakref.ref(a, ignore), weakref.ref(b, ignore)]
    live.append(a.refs)
pairs = [[a, [b]] for a, b in pairs]
a = b = None
begin()
pairs = None
end()
"""

# Collections begun one behind the other, and garbage made all the time: what waits does not wait for ever.
ONE_BEHIND_THE_OTHER = """
chain = Node()
refs = []
grow_old()
gc.enable()
for i in range(30):
    begin()
    for _ in range(300):
        new = Node()
        chain.next, new.before = new, chain
        refs.append(weakref.ref(chain, lambda ref: note("called")))
        chain = new
    if i == 15:
        chain.before = None
    for j in range(4000):
        keep.append([j])
new = chain = None
end()
print(sum(ref() is None for ref in refs))
"""

# Components of any size.
LARGE = """
class Final(Node):
    def __del__(self):
        note("finalized")
        note("alive in a finalizer", any(ref() is not None for ref in refs[:50]))
rings = [[Node() for _ in range(count)] for count in (30_000, 22_000)]
for ring in rings:
    for i, node in enumerate(ring):
        node.next = ring[i - 1]
small = [Final() for _ in range(1000)]
def called(ref):
    note("called")
    note("alive", any(each() is not None for each in refs[::997]))
refs = [weakref.ref(node, called) for node in rings[0][::60] + rings[1][::60] + small]
grow_old()
node = ring = None
everything = [rings, small]
del rings, small
begin()
everything.clear()
end()
"""


@requires_active
class WhatProgramsSee(unittest.TestCase):
    def check(self, program, *arguments):
        stock = run(program, *arguments, preload=False).out
        self.assertEqual(run(program, *arguments, preload=True, options={"SMALL": 0}).out, stock)

    def test_younger_weak_references(self):
        self.check(PRELUDE + YOUNGER)

    def test_young_holders(self):
        self.check(PRELUDE + YOUNG_HOLDERS)

    def test_collections_one_behind_the_other(self):
        self.check(PRELUDE + ONE_BEHIND_THE_OTHER)

    def test_large_components(self):
        self.check(PRELUDE + LARGE)

    def test_random_graphs(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                self.check(PROGRAM, seed)


if __name__ == "__main__":
    main()
