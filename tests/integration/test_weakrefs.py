"""Weak references to garbage: what callbacks and finalizers of one collection can still see.

A full collection of CPython's clears the weak references to all of its garbage, then calls callbacks, then
finalizers. Garbage that is reclaimed in batches must show the program the same. Each program prints what it saw,
and stock CPython's output is the expectation.
"""

import unittest

from zgctest import main, requires_active, run

PRELUDE = """
import gc, weakref
try:
    import zgc
except ImportError:
    zgc = None

seen = {}
live = []

def note(what, value=True):
    seen[what] = seen.get(what, 0) + bool(value)

class Node:
    def __init__(self, **attributes):
        self.me = self                      # garbage only a collector finds
        self.__dict__.update(attributes)

class Final(Node):
    def __del__(self):
        self.do(self)

def die(*lists):
    for _ in range(3):
        gc.collect(1)
    gc.disable()
    for each in lists:
        each.clear()
    print(zgc.collect() if zgc else gc.collect())
    for what in sorted(seen):
        print(what, seen[what])
"""

# Every component watches another one, far away in memory, from a callback.
CALLBACKS = """
first, second = [Node() for i in range(3000)], [Node() for i in range(3000)]
for a, b in zip(first, reversed(second)):
    watched = weakref.ref(b, lambda ref: note("called"))
    live.append(watched)
    live.append(weakref.ref(a, lambda ref, watched=watched: note("alive in a callback", watched() is not None)))
del a, b, watched
die(first, second)
"""

# ... from a finalizer, and through a dictionary of weak references.
FINALIZERS = """
first, second = [Final() for i in range(3000)], [Node() for i in range(3000)]
values = weakref.WeakValueDictionary(enumerate(second))
for a, b in zip(first, reversed(second)):
    watched = weakref.ref(b, lambda ref: note("called"))
    live.append(watched)
    def do(self, watched=watched):
        note("alive in a finalizer", watched() is not None)
        note("in the dictionary", len(values))
    a.do = do
del a, b, watched, do
die(first, second)
"""

# Weak references without a callback: 3.15 clears them after the finalizers.
PLAIN = """
first, second = [Final() for i in range(3000)], [Node() for i in range(3000)]
for a, b in zip(first, reversed(second)):
    watched = weakref.ref(b)
    live.append(watched)
    live.append(weakref.ref(a, lambda ref, watched=watched: note("alive in a callback", watched() is not None)))
    a.do = lambda self, watched=watched: note("alive in a finalizer", watched() is not None)
del a, b, watched
die(first, second)
"""

# The callback of a weak reference that is garbage itself is not called.
GARBAGE_REFERENCES = """
first, second = [Node() for i in range(3000)], [Final(do=lambda self: note("finalized")) for i in range(3000)]
for a, b in zip(first, reversed(second)):
    a.ref = weakref.ref(b, lambda ref: note("called"))
    b.ref = weakref.proxy(a, lambda ref: note("called"))
    live.append(weakref.ref(b, lambda ref, a=weakref.ref(a): note("alive in a callback", a() is not None)))
del a, b
die(first, second)
"""

# A callback may raise, resurrect nothing, allocate, start collections and drop other weak references.
BUSY_CALLBACKS = """
import sys
sys.unraisablehook = lambda what: note("raised " + type(what.exc_value).__name__)
nodes = [Node(number=i) for i in range(3000)]
def busy(ref):
    note("called")
    live[:2] = []
    [[i] for i in range(50)]
    gc.collect(0)
    raise KeyError(ref() is None)
refs = [weakref.ref(node, busy) for node in nodes]
die(nodes)
"""

# What a finalizer brings back to life lives on, its weak references do not.
RESURRECTION = """
back = []
first = [Final(do=back.append) for i in range(300)]
refs = [weakref.ref(a, lambda ref: note("called")) for a in first]
die(first)
print(len(back), sum(ref() is None for ref in refs), all(each.me is each for each in back))
del back[:]
print(zgc.collect() if zgc else gc.collect())
"""


@requires_active
class WhatProgramsSee(unittest.TestCase):
    def check(self, program):
        stock = run(PRELUDE + program, preload=False).out
        self.assertEqual(run(PRELUDE + program, preload=True, options={"SMALL": 0}).out, stock)

    def test_callbacks(self):
        self.check(CALLBACKS)

    def test_finalizers(self):
        self.check(FINALIZERS)

    def test_plain_references(self):
        self.check(PLAIN)

    def test_garbage_references(self):
        self.check(GARBAGE_REFERENCES)

    def test_busy_callbacks(self):
        self.check(BUSY_CALLBACKS)

    def test_resurrection(self):
        self.check(RESURRECTION)


@requires_active
class Abandoned(unittest.TestCase):
    def test_callbacks_are_called(self):
        """Whatever ends the collection, callbacks of weak references that it has cleared are called."""
        result = run(PRELUDE + """
nodes = [Node() for i in range(20000)]
def end(ref):
    note("called")
    if seen["called"] == 1:
        zgc.disable()
refs = [weakref.ref(node, end) for node in nodes]
die(nodes)
gc.collect()
print(seen["called"])
""", options={"SMALL": 0})
        self.assertEqual(result.out.split()[-1], "20000", result.describe())


if __name__ == "__main__":
    main()
