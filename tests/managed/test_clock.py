"""A clock that the program sets, or that somebody has replaced, moves no wait of the managed collector's."""

import os
import sys
import unittest

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(TESTS, "support"))

import zgctest                                                          # noqa: E402

CLOCK = zgctest.helper("clock")

# select waits for a relative time; time.sleep would ask the clock.
TIMER = """
import select, zgc
class Node(zgc.Object):
    next: "Node"
zgc.collect("young")
head = None
for i in range(1000):
    head = Node(head)
before = zgc.stats()["managed"]["full_collections"]
for i in range(300):
    select.select([], [], [], 0.05)
    if zgc.stats()["managed"]["full_collections"] > before:
        break
zgc.collect("full")
print(zgc.stats()["managed"]["full_collections"] > before + 1)
"""


@zgctest.requires_active
@unittest.skipUnless(CLOCK, "needs the test helpers of the build")
class Clock(unittest.TestCase):
    def collects(self, kind):
        env = {"LD_PRELOAD": f"{CLOCK}:{zgctest.LIB}", "CLOCK": kind, "ZGC_INTERVAL": "1"}
        self.assertEqual(zgctest.run(TIMER, env=env, timeout=60).out, "True\n")

    def test_stands_still(self):
        self.collects("still")

    def test_goes_back(self):
        self.collects("back")

    def test_jumps(self):
        self.collects("jumps")


if __name__ == "__main__":
    zgctest.main()
