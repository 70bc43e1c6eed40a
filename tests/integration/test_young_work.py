"""What a young collection does is limited by what was allocated since the last one, whatever stands in generation 0."""

import collections
import functools
import gc
import unittest

from zgctest import age, automatic_gc_off, main, requires_active, run, zgc

MANY = 50_000


class Node:
    def __init__(self):
        self.me = self


def young_collections(count):
    """So many, of cycles that die at once."""
    before = zgc.stats()["young_collections"]
    while zgc.stats()["young_collections"] < before + count:
        for _ in range(100):
            Node()


def is_young(thing):
    return any(x is thing for x in gc.get_objects(generation=0))


def cached():
    @functools.lru_cache(maxsize=None)
    def function(i):
        return str(i)
    return function


# How each is filled with what CPython does not track.
KINDS = {
    "list": (list, lambda x, i: x.append((i, i))),
    "dict": (dict, lambda x, i: x.__setitem__(i, (i, i))),
    "set": (set, lambda x, i: x.add((i, i))),
    "deque": (collections.deque, lambda x, i: x.append((i, i))),
    "OrderedDict": (collections.OrderedDict, lambda x, i: x.__setitem__(i, str(i))),
    "defaultdict": (lambda: collections.defaultdict(int), lambda x, i: x.__setitem__(i, i)),
    "Counter": (collections.Counter, lambda x, i: x.__setitem__(i, i)),
    "a type without a walker": (cached, lambda x, i: x(i)),
}


@requires_active
class LongContainers(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        age()

    def test_what_grows_is_not_looked_at_for_ever(self):
        for name, (make, add) in KINDS.items():
            with self.subTest(name):
                thing = make()
                before = zgc.stats()
                for i in range(MANY):
                    add(thing, i)
                    Node()
                after = zgc.stats()
                self.assertFalse(is_young(thing))
                collections_run = after["young_collections"] - before["young_collections"]
                references = after["young_references"] - before["young_references"]
                # By far more when all of it is visited each time: a half of MANY on the average.
                self.assertLess(references / max(collections_run, 1), 5000)

    def test_what_is_made_at_once_is_not_looked_at(self):
        before = zgc.stats()["young_references"]
        things = []
        for _ in range(20):
            thing = [None] * 2_000_000
            things.append(thing)
            young_collections(2)
            self.assertFalse(is_young(thing))
        self.assertLess(zgc.stats()["young_references"] - before, 2_000_000)


@requires_active
class Age(unittest.TestCase):

    def test_small_ones_grow_old_too(self):
        age()
        things = [[i] for i in range(5)]
        young_collections(100)
        self.assertEqual([is_young(thing) for thing in things], [False] * 5)


# Rings of long lists: each is garbage at once, and is found young.
HEAVY = """
import zgc
from zgctest import age
age()
before = zgc.stats()["promoted"]
for i in range(3000):
    ring = [None] * 3000
    ring[0] = ring
    ring = [ring]
print(zgc.stats()["promoted"] - before)
"""

# The program is a small one so far. What gc.collect(0) leaves in generation 1 has become garbage since.
FILLED_BY_HAND = """
import gc
seen = []
def note(phase, info):
    if phase == "stop" and info["generation"] < 2:
        seen.append(info["collected"])
gc.disable()
rings = [[] for _ in range(100000)]
for ring in rings:
    ring.append(ring)
gc.enable()
gc.collect({generation})
del rings, ring
gc.callbacks.append(note)
for i in range(200000):
    x = []
    x.append(x)
print(max(seen), sum(seen))
"""


class Heavy(unittest.TestCase):

    @requires_active
    def test_garbage_of_heavy_objects_is_found_young(self):
        promoted = int(run(HEAVY, preload=True, options={"STRESS": 0}).out)
        self.assertLess(promoted, 1500)

    @requires_active
    def test_generation_1_filled_by_hand_is_not_walked_whole(self):
        done = run(FILLED_BY_HAND.format(generation=0), preload=True, options={"STRESS": 0})
        largest, _ = map(int, done.out.split())
        self.assertLess(largest, 50000)


class ByHand(unittest.TestCase):
    """gc.collect(0) is CPython's own, with the users' callbacks."""

    def setUp(self):
        self.seen = []
        gc.callbacks.append(self.note)
        self.addCleanup(gc.callbacks.remove, self.note)

    def note(self, phase, info):
        self.seen.append((phase, info["generation"], info["collected"]))

    def events(self, generation):
        with automatic_gc_off():
            self.seen.clear()
            rings = [Node() for _ in range(7)]
            del rings
            return gc.collect(generation), list(self.seen)

    def test_callbacks_are_told(self):
        count, seen = self.events(0)
        self.assertEqual(seen, [("start", 0, 0), ("stop", 0, count)])
        self.assertGreaterEqual(count, 7)

    def test_each_generation_is_told_once_after_another(self):
        for generation in (0, 1, 0, 2, 0):
            _, seen = self.events(generation)
            self.assertEqual([(phase, told) for phase, told, _ in seen],
                             [("start", generation), ("stop", generation)])

    def test_a_finalizer_may_ask_for_another_and_change_the_callbacks(self):
        other = []

        class Asks:
            def __del__(self):
                other.append(gc.collect(0))
                gc.callbacks.append(other.append)
                gc.callbacks.remove(other.append)
                if zgc:
                    zgc.disable()
                    zgc.enable()

        asks = Asks()
        asks.me = asks
        del asks
        gc.collect(0)
        self.assertEqual(other, [0])
        _, seen = self.events(0)
        self.assertEqual(len(seen), 2)

    @requires_active
    def test_automatic_collections_go_on_afterwards(self):
        gc.collect(0)
        age()


if __name__ == "__main__":
    main()
