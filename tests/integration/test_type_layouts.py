"""C types whose references are hard to find: cycles through them go, whatever has been learned of the type.

What is learned of a C type comes from instances, so each type is first shown as something harmless: many
instances that hold nothing. Then come rings, some of them dead. ext/odd_types.c has the types.
"""

import ctypes
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import weakref

import zgctest
from zgctest import ACTIVE, age, collect, main, requires_active, zgc

HERE = os.path.dirname(os.path.abspath(__file__))
SHOWN = 200         # instances that hold nothing, more than a type is learned from
RINGS = 150         # of each kind, dead and alive
COLLECTIONS = 70    # after so many, each old instance has been compared with its tp_traverse once
WAYS = ["plain", "index", "boxed", "tagged", "halves", "aside", "scrambled", "malloced", "pooled", "maybe",
        "twice", "both", "armed", "untyped"]


def built():
    """The library, made with the others or here; None where there is no compiler."""
    beside = os.path.join(os.path.dirname(zgctest.LIB), "tests", "libodd_types.so")
    if zgctest.LIB and os.path.exists(beside):
        return beside
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    path = os.path.join(tempfile.mkdtemp(), "odd_types.so")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", path, os.path.join(HERE, "ext", "odd_types.c")],
                   check=True)
    return path


PATH = built()
odd = None
if PATH is not None:
    odd = ctypes.PyDLL(PATH)
    odd.make_type.restype = ctypes.py_object
    odd.change_traverse.argtypes = [ctypes.py_object, ctypes.py_object]


class Probe:
    """What a ring holds beside the odd object; says when the ring has gone."""


def odd_type(way, extra=0):
    return odd.make_type(WAYS.index(way), extra)


def subclass(base):
    class Sub(base):
        pass
    return Sub


def slotted(base):
    class Slotted(base):
        __slots__ = ("more", "__weakref__")
    return Slotted


def close(one):
    """Makes a ring of an object that held nothing."""
    probe = Probe()
    one.set([one, probe])
    return weakref.ref(probe)


class Rings:
    """Dead ones and living ones of a type, grown old."""

    def __init__(self, make, shown=SHOWN, count=RINGS, closed_late=False):
        self.harmless = [make() for _ in range(shown)]
        age()
        collect()
        objects = [make() for _ in range(2 * count)]
        if closed_late:             # when nobody looks at them for any other reason
            age()
            collect()
        probes = [close(one) for one in objects]
        age()                       # they are old before they die
        self.alive, self.kept = objects[count:], probes[count:]
        self.dead = probes[:count]

    def left(self):
        return sum(probe() is not None for probe in self.dead)

    def lost(self):
        return sum(probe() is None for probe in self.kept)


@unittest.skipIf(odd is None, "needs a C compiler")
class OddTypes(unittest.TestCase):
    maxDiff = None

    def check_all(self, find, make_makes, **options):
        wrong = {}
        for way in WAYS:
            made = Rings(make_makes(way), **options)
            find(made)
            if made.left() or made.lost():
                wrong[way] = f"{made.left()} of {RINGS} dead rings left, {made.lost()} live ones lost"
        self.assertEqual(wrong, {})

    def test_stopped_collection_finds_every_ring(self):
        self.check_all(lambda made: gc.collect(), odd_type)

    def test_stopped_collection_finds_rings_of_subclasses(self):
        self.check_all(lambda made: gc.collect(), lambda way: subclass(odd_type(way)))

    def test_stopped_collection_finds_rings_of_slotted_subclasses(self):
        self.check_all(lambda made: gc.collect(), lambda way: slotted(odd_type(way)))

    def test_stopped_collection_finds_rings_of_large_types(self):
        self.check_all(lambda made: gc.collect(), lambda way: odd_type(way, 600))

    @requires_active
    def test_concurrent_collections_find_every_ring(self):
        self.check_all(self.find_in_three, odd_type)

    @requires_active
    def test_concurrent_collections_find_rings_of_subclasses(self):
        self.check_all(self.find_in_three, lambda way: subclass(odd_type(way)))

    @requires_active
    def test_concurrent_collections_find_rings_that_were_closed_late(self):
        self.check_all(self.find_in_three, odd_type, closed_late=True)

    @requires_active
    def test_few_rings_among_many_instances_are_found(self):
        """Each old instance is looked at in its turn."""
        made = Rings(odd_type("index"), 3000, 2, closed_late=True)
        for _ in range(COLLECTIONS):
            collect()
            if made.left() == 0:
                break
        self.assertEqual((made.left(), made.lost()), (0, 0))

    @staticmethod
    def find_in_three(made):
        """The first one looks at instances, and finds out."""
        for _ in range(3):
            if made.left():
                collect()

    def test_stopped_collection_finds_what_live_objects_only_borrow(self):
        kind = odd_type("maybe")
        owners = [kind() for _ in range(SHOWN)]
        for owner in owners:
            owner.set([])
        age()
        collect()
        borrowers = [kind() for _ in range(RINGS)]
        dying = [kind() for _ in range(RINGS)]
        probes = [close(one) for one in dying]
        for borrower, one in zip(borrowers, dying):
            borrower.borrow(one)
        age()
        del one, dying
        gc.collect()
        self.assertEqual([probe() for probe in probes], [None] * RINGS)
        for borrower in borrowers:
            borrower.borrow(None)

    def test_stopped_collection_asks_the_traverse_of_now(self):
        for before in "plain", "aside":
            kind, other = odd_type("index"), odd_type(before)
            change = odd_type("index")
            odd.change_traverse(kind, other)
            made = Rings(kind)
            odd.change_traverse(kind, change)
            gc.collect()
            self.assertEqual((made.left(), made.lost()), (0, 0))


if __name__ == "__main__":
    main()
