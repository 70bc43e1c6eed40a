"""Full collections are begun where they find something, and no more often than memory asks for where they do not."""

import unittest

from zgctest import main, requires_active, run

PROGRAM = """
import collections, gc, sys, zgc
from zgctest import age
class Node:
    def __init__(self):
        self.data = {{}}
age()
before = zgc.stats()
{body}
after = zgc.stats()
print(after["collections"] - before["collections"], after["found"] - before["found"])
"""

# All of it dies by reference count, and grows old before it does.
WITHOUT_GARBAGE = {
    "lists": "for _ in range(50): x = [[j, j] for j in range(40000)]",
    "instances": "for _ in range(60): x = [Node() for _ in range(20000)]",
    "a queue": """
q = collections.deque(maxlen=20000)
for i in range(800_000):
    q.append([i])
""",
    "a dict that is replaced": """
d = {}
for i in range(800_000):
    d[i % 15000] = [i]
""",
}


@requires_active
class Director(unittest.TestCase):

    def counts(self, body):
        done = run(PROGRAM.format(body=body), preload=True, options={"STRESS": 0})
        return map(int, done.out.split())

    def test_what_dies_by_reference_count_brings_no_collections(self):
        for name, body in WITHOUT_GARBAGE.items():
            with self.subTest(name):
                collections, found = self.counts(body)
                self.assertLess(collections, 12)
                self.assertLess(found, 1000)


if __name__ == "__main__":
    main()
