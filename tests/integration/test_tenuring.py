"""Rings that the program drops soon are reclaimed young, as without the library: they do not grow old."""

import gc
import unittest
import weakref

from zgctest import age, main, requires_active, run, zgc

# The target of pauses is out of the way: how fast this machine is makes no difference. Under stress
# generation 0 would be a tiny one, and nothing would be young for long.
OPTIONS = {"PAUSE_TARGET": 100000, "STRESS": 0}

BEGIN = """
import gc, zgc
from zgctest import age
age()
def promoted(make, times):
    before = zgc.stats()["promoted"]
    for _ in range(times):
        make()
    return zgc.stats()["promoted"] - before
"""

# That it is worth while to look shows in what old collections find; in how many of them it does is not ours to
# say.
SHARES = """
def lowest_share(ring, size):
    shares = []
    while not shares or shares[-1] > 0.3 and len(shares) < 40:
        shares.append(promoted(ring, 30) / (30 * size))
        zgc.collect()
    return shares[-1]
"""

# They are tracked all at once, when no collection is due, and make generation 0 a large one.
DICTS = BEGIN + SHARES + """
def ring():
    nodes = [{"peer": None} for _ in range(3000)]
    for i, node in enumerate(nodes):
        node["peer"] = nodes[i - 1]
print(lowest_share(ring, 3000))
"""

# Collections come while they are half built.
INSTANCES = BEGIN + SHARES + """
class Node:
    def __init__(self):
        self.next = None
def ring():
    first = node = Node()
    for _ in range(8000):
        node.next = Node()
        node = node.next
    node.next = first
print(lowest_share(ring, 8000))
"""

# A callback of the program's moves all objects between lists while a collection begins.
MOVED = BEGIN + """
import random
chance = random.Random(5)
acts = [lambda: gc.collect(1), gc.collect, lambda: (gc.freeze(), gc.unfreeze()), lambda: zgc.collect()]
def callback(phase, info):
    if phase == "start" and info["generation"] == 0 and chance.randrange(4) == 0:
        chance.choice(acts)()
gc.callbacks.append(callback)
class Node:
    pass
def ring():
    nodes = [Node() for _ in range(3000)]
    for i, node in enumerate(nodes):
        node.peer = nodes[i - 1]
for _ in range(60):
    ring()
print("done")
"""

# Each entry dies old: it is of no use to keep it young.
CACHE = BEGIN + """
cache = {}
def entries():
    for i in range(50000):
        x = cache[i] = []
        x.append(x)
entries()
shares = []
for _ in range(20):
    shares.append(promoted(entries, 2) / (2 * 50000))
    zgc.collect()
print(sum(share > 0.8 for share in shares))
"""

# Young collections of so many objects leave no time for anything else.
RARE = """
import gc, zgc
gc.set_threshold(20000)
cache = {}
def ring(size):
    nodes = [[] for _ in range(size)]
    for i, node in enumerate(nodes):
        node.append(nodes[i - 1])
    return nodes[0]
for i in range(80000):
    cache[i % 2000] = ring(20)
print(zgc.stats()["found"])
"""


class Tenuring(unittest.TestCase):

    def value(self, program):
        return float(run(program, preload=True, options=OPTIONS).out)

    @requires_active
    def test_a_ring_tracked_at_once_does_not_grow_old(self):
        self.assertLess(self.value(DICTS), 0.3)

    @requires_active
    def test_rings_caught_half_built_do_not_grow_old(self):
        self.assertLess(self.value(INSTANCES), 0.3)

    @requires_active
    def test_what_dies_old_is_not_kept_young(self):
        self.assertGreater(self.value(CACHE), 10)

    @requires_active
    def test_young_collections_without_time_left_do_not_keep_old_ones_waiting(self):
        done = run(RARE, preload=True, options={"PAUSE_TARGET": 50, "STRESS": 0})
        self.assertGreater(int(done.out), 0)


class Ring:
    def __init__(self):
        self.me = self


class Kept(unittest.TestCase):
    """What is kept young is as reachable for the program as anything."""

    def test_callbacks_that_move_all_objects(self):
        self.assertEqual(run(MOVED, options=OPTIONS, timeout=60).out, "done\n")

    def test_collect_finds_it(self):
        age()
        kept = [Ring() for _ in range(300)]
        shown = [weakref.ref(ring) for ring in kept]
        age()
        kept.clear()
        gc.collect()
        self.assertEqual([ref() for ref in shown], [None] * 300)

    @requires_active
    def test_get_objects_shows_it_once(self):
        age()
        mine = [[] for _ in range(5000)]
        age()
        wanted = set(map(id, mine))
        shown = [id(x) for x in gc.get_objects() if id(x) in wanted]
        self.assertEqual(sorted(shown), sorted(wanted))
        self.assertTrue(zgc.status()["active"])


if __name__ == "__main__":
    main()
