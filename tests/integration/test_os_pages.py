"""Kernels whose pages are larger than 4 KiB: nothing is given back that lies in a page with something alive."""

import unittest

import zgctest

KERNEL = zgctest.helper("kernel")

# Long runs of objects die, and a few between them stay; then memory goes back, and all that stayed is looked at.
PROGRAM = """
import gc, sys, time, zgc
L = [(i, [i, i + 1], {"k": i}, "s%d" % i, bytes([i % 256]) * (i % 7 * 300)) for i in range(60000)]
L = [x for k, x in enumerate(L) if k // 40 % 10 == 9]
big = [bytearray(70000 + 9000 * i) for i in range(40)]
for i, b in enumerate(big):
    b[0] = b[-1] = i
grown = []
for i in range(3_000_000 // 8):
    grown.append(i)
big = big[::3]
before = zgc.stats()["uncommitted"]
end = time.monotonic() + 20
while zgc.stats()["uncommitted"] < before + 2_000_000 and time.monotonic() < end:
    z = [[] for _ in range(1000)]
    time.sleep(0.005)
    zgc.collect()
again = [(i, [i], "t%d" % i) for i in range(60000)]        # what went back is used again
for x in L:
    i = x[0]
    assert x[1] == [i, i + 1] and x[2] == {"k": i} and x[3] == "s%d" % i, (i, x)
    assert x[4] == bytes([i % 256]) * (i % 7 * 300), i
for j, b in enumerate(big):
    assert b[0] == b[-1] == 3 * j and not any(b[1:-1]), j
assert grown == list(range(len(grown)))
assert all(a == (i, [i], "t%d" % i) for i, a in enumerate(again))
zgc.verify()
print("intact", zgc.stats()["uncommitted"] > before, zgc.stats()["faults"])
"""


@zgctest.requires_active
@unittest.skipUnless(KERNEL, "needs the test helpers of the build")
class OsPages(unittest.TestCase):

    def check(self, page):
        env = {"LD_PRELOAD": f"{KERNEL}:{zgctest.LIB}", "ZGCTEST_PAGE": str(page)}
        result = zgctest.run(PROGRAM, env=env, options={"UNCOMMIT_DELAY": 1})
        self.assertEqual(result.out, "intact True 0\n", result.describe())

    def test_16k(self):
        self.check(16384)

    def test_64k(self):
        self.check(65536)

    def test_4k(self):
        self.check(4096)


if __name__ == "__main__":
    zgctest.main()
