"""A program whose objects change in size from phase to phase, and which keeps a few of each, takes little more memory
than one phase needs: pages with few live blocks are cut again for the next size."""

import unittest

import zgctest

# `keep` is how many blocks there are for one that stays.
PROGRAM = """
import sys, zgc
first, step, keep = map(int, sys.argv[1:])
kept, peaks = [], []
for phase in range(6):
    size = first + phase * step
    blocks = [bytes(size) for _ in range(30_000_000 // (size + 33))]
    peaks.append(zgc.stats()["heap_committed"])
    kept += [(size, b) for b in blocks[::keep]]
    del blocks
assert all(b == bytes(size) for size, b in kept)
live = sum(size + 33 for size, b in kept)
print((max(peaks) - live) / peaks[0])
"""


class Phases(unittest.TestCase):
    def growth(self, *arguments):
        return float(zgctest.run(PROGRAM, *arguments).out)

    def test_sizes_that_grow(self):
        self.assertLess(self.growth(480, 16, 130), 1.15)

    def test_sizes_that_shrink(self):
        self.assertLess(self.growth(980, -64, 100), 1.15)

    def test_medium_sizes(self):
        self.assertLess(self.growth(1000, 300, 130), 1.17)

    def test_few_pages_are_left_whole(self):
        self.assertLess(self.growth(520, 40, 30), 1.25)


if __name__ == "__main__":
    zgctest.main()
