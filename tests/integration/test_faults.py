"""Failures of the library's own: after three in a row collections are CPython's for a while, and then ours again."""

import unittest

from zgctest import main, requires_active, run

# Allocates until collections have been given back and taken again, or as long as that takes at most.
PROGRAM = """
import gc, zgc
heap, garbage = [], 0
def work():
    for _ in range(20_000):
        ring = []
        ring.append(ring)
    heap.append([[] for _ in range(10_000)])
while zgc.status()["collector"] == "zgc":
    work()
print(zgc.stats()["faults"])
for _ in range(45):
    work()
print(zgc.status()["collector"], zgc.stats()["faults"])
"""

OPTIONS = {"STRESS": 0, "LOG": "stderr"}


class Faults(unittest.TestCase):

    def outcome(self, fault, program=PROGRAM):
        done = run(program, preload=True, options={**OPTIONS, "FAULT": fault})
        return done.out.split(), done.err

    @requires_active
    def test_collections_are_tried_again(self):
        (before, collector, after), log = self.outcome("thread=1-3")
        self.assertEqual((before, collector, after), ("3", "zgc", "3"))
        self.assertEqual(log.count("full collections are CPython's own for now"), 1)

    @requires_active
    def test_the_tries_are_few_while_it_goes_on(self):
        (before, collector, after), _ = self.outcome("thread=1+")
        self.assertEqual((before, collector), ("3", "stock"))
        self.assertIn(int(after), range(4, 8))

    @requires_active
    def test_what_the_program_has_switched_off_stays_off(self):
        (before, collector, after), _ = self.outcome(
            "thread=1-3", PROGRAM.replace("print(zgc.stats()", "zgc.disable(); print(zgc.stats()", 1))
        self.assertEqual((before, collector, after), ("3", "stock", "3"))


if __name__ == "__main__":
    main()
