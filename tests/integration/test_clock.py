"""A clock that stands still, goes back or jumps: nothing of ours waits for it."""

import os
import shutil
import subprocess
import tempfile
import unittest

from zgctest import LIB, main, requires_active, run

EXT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ext")

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
class Clock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            raise unittest.SkipTest("needs a C compiler")
        folder = tempfile.TemporaryDirectory(prefix="zgctest-")
        cls.addClassCleanup(folder.cleanup)
        cls.clock = os.path.join(folder.name, "clock.so")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", os.path.join(EXT, "clock.c"), "-o", cls.clock],
                       check=True)

    def ends(self, kind):
        env = {"LD_PRELOAD": f"{self.clock}:{LIB}", "CLOCK": kind}
        self.assertEqual(run(QUEUE, env=env, timeout=60).out, "True True True\n")

    def test_stands_still(self):
        self.ends("still")

    def test_goes_back(self):
        self.ends("back")

    def test_jumps(self):
        self.ends("jumps")


if __name__ == "__main__":
    main()
