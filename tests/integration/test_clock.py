"""A clock that stands still, goes back or jumps: nothing of ours waits for it."""

import unittest

from zgctest import LIB, helper, main, requires_active, run

CLOCK = helper("clock")

# Garbage is made faster than it is found, with many objects of deferred types: safepoints have to help, and
# the collector thread has to wait for them.
QUEUE = """
import collections, gc, zgc
class Node:
    __slots__ = ("next", "prev", "generator")
def generator(x):
    yield x
queue = collections.deque()
def add():
    a, b = Node(), Node()
    a.next, b.prev = b, a
    for node in a, b:
        node.generator = generator(node)
        next(node.generator)
    queue.append(a)
for i in range(60000):
    add()
    if len(queue) > 10000:
        queue.popleft()
zgc.collect(wait=False)
for i in range(5000):
    add()
    queue.popleft()
print(gc.collect() > 0, zgc.collect() >= 0, zgc.verify() > 0)
gc.freeze()
zgc.disable()
"""


@requires_active
@unittest.skipUnless(CLOCK, "needs the test helpers of the build")
class Clock(unittest.TestCase):
    def ends(self, kind):
        env = {"LD_PRELOAD": f"{CLOCK}:{LIB}", "CLOCK": kind}
        self.assertEqual(run(QUEUE, env=env, timeout=60).out, "True True True\n")

    def test_stands_still(self):
        self.ends("still")

    def test_goes_back(self):
        self.ends("back")

    def test_jumps(self):
        self.ends("jumps")


if __name__ == "__main__":
    main()
