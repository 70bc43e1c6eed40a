"""Peak memory and page faults of programs whose blocks change in size, against stock's on this interpreter."""

import unittest

from zgctest import main, requires_active, run

MB = 1 << 20

# What a program needs for itself: only what it does in `work` counts.
MEASURE = """
import resource

def usage():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_maxrss << 10, u.ru_minflt

before = usage()
work()
after = usage()
print(*after, *(a - b for a, b in zip(after, before)))
"""


def measure(code, preload):
    """(peak RSS in bytes, page faults) of a program; the faults of work() only."""
    peak, _, _, faults = map(int, run(code + MEASURE, preload=preload).out.split())
    return peak, faults


@requires_active
class Footprint(unittest.TestCase):
    def assert_like_stock(self, code, peak=1.10, faults=None):
        stock, ours = measure(code, False), measure(code, True)
        self.assertLess(ours[0], stock[0] * peak + 2 * MB, f"stock {stock}")
        if faults is not None:
            self.assertLess(ours[1], stock[1] * faults + 1000, f"stock {stock}")

    def phases(self, first, step, keep=130, megabytes=40):
        return f"""
def work():
    kept = []
    for size in range({first}, {first} + 6 * {step}, {step}):
        phase = [bytes(size) for _ in range({megabytes} * 1000000 // (size + 33))]
        kept.append(phase[::{keep}])
        del phase
"""

    def test_a_few_small_blocks_of_each_phase_stay(self):
        self.assert_like_stock(self.phases(200, 16), faults=1.15)
        self.assert_like_stock(self.phases(100, 48), faults=1.15)

    def test_one_block_of_each_phase_keeps_an_os_page_and_no_more(self):
        # Stock's malloc gives all but the block itself to the next phase.
        self.assert_like_stock(self.phases(480, 16), peak=1.4)
        self.assert_like_stock(self.phases(600, 64), peak=1.4)
        self.assert_like_stock(self.phases(1000, 300), peak=1.4)

    def test_blocks_a_little_over_64_kib_are_used_again(self):
        self.assert_like_stock("""
def work():
    for i in range(20000):
        bytearray(65537 + i % 3 * 70000)
""", faults=1.0)

    def test_blocks_that_grow_and_shrink(self):
        self.assert_like_stock("""
def work():
    b = bytearray(1)
    for i in range(20000):
        b.extend(b"x" * 70000)
        del b[10:]
""", faults=1.0)

    def test_blocks_that_grow_side_by_side(self):
        self.assert_like_stock("""
from array import array
def work():
    growing = [array("q") for _ in range(20)]
    more = array("q", range(1000))
    for i in range(700):
        for a in growing:
            a.extend(more)
    assert all(a[-1] == 999 and a[350_000] == 0 and len(a) == 700_000 for a in growing)
""", faults=1.4)

    def test_random_blocks_of_many_sizes_are_replaced(self):
        self.assert_like_stock("""
import random
rng = random.Random(1)
def work():
    kept = [bytearray(rng.randrange(1025, 65000)) for _ in range(2000)]
    for i in range(12000):
        kept[rng.randrange(2000)] = bytearray(rng.randrange(1025, 65000))
""", peak=1.15, faults=1.2)


if __name__ == "__main__":
    main()
