"""Nothing that a program does regularly keeps garbage from being reclaimed."""

import unittest

from zgctest import main, requires_active, run

# Rings that grow old and are dropped, while the program does something every now and then. How much garbage there
# was at most shows in the old set. On a busy machine a collection with the world stopped bounds it, at 16 times 50,000.
PROGRAM = """
import gc, sys, zgc
class Node:
    __slots__ = ("next",)
def ring():
    nodes = [Node() for _ in range(3)]
    for i, node in enumerate(nodes):
        node.next = nodes[i - 1]
    return nodes[0]
keep = [[i] for i in range(100000)]
zgc.collect()
buffer = [None] * 5000
base = zgc.stats()["old_objects"]
most = 0
def switch():
    zgc.disable()
    zgc.enable()
for i in range(500000):
    buffer[i % 5000] = ring()
    if i % {every} == 0:
        {act}
        most = max(most, zgc.stats()["old_objects"] - base)
print(most)
"""

# Collection is enabled for a ninth of the allocations.
SELDOM = """
import gc, zgc
class Node:
    __slots__ = ("next",)
def ring():
    nodes = [Node() for _ in range(3)]
    for i, node in enumerate(nodes):
        node.next = nodes[i - 1]
    return nodes[0]
most = 0
for i in range(60):
    gc.disable()
    x = [ring() for _ in range(8000)]
    gc.enable()
    [ring() for _ in range(1000)]
    most = max(most, zgc.stats()["old_objects"])
print(most)
"""


@requires_active
class Starvation(unittest.TestCase):
    def most(self, act, every):
        code = PROGRAM.format(act=act, every=every)
        return int(run(code, options={"SMALL": 0, "STRESS": 0}).out)

    def test_collections_of_generation_1(self):
        self.assertLess(self.most("gc.collect(1)", 500), 1000000)    # of 1,500,000

    def test_freezing(self):
        self.assertLess(self.most("gc.freeze(); gc.unfreeze()", 30), 1000000)

    def test_switching(self):
        self.assertLess(self.most("switch()", 100), 1000000)

    def test_collection_that_is_enabled_seldom(self):
        most = int(run(SELDOM, options={"SMALL": 0, "STRESS": 0}).out)
        self.assertLess(most, 500000)                               # of 1,440,000


if __name__ == "__main__":
    main()
