"""A second pass looks at what the first took for garbage only where that has not been right."""

import re
import unittest

from zgctest import main, requires_active, run

BEGIN = """
import gc, zgc
from zgctest import age
class Node:
    __slots__ = ("next",)
def rings(n):
    made = [Node() for _ in range(2 * n)]
    for i in range(0, 2 * n, 2):
        made[i].next, made[i + 1].next = made[i + 1], made[i]
    return made
"""

QUIET = BEGIN + """
gc.collect()
for round in range(8):
    made = rings(3000)
    age()
    del made
    zgc.collect()
"""

# What is alive is moved about all the time, from one place to another and back.
MOVING = BEGIN + """
places = [{i: [i, [i]] for i in range(1000)} for _ in range(50)]
for lap in range(60):
    made = rings(200)
    zgc.collect(wait=False)
    for i in range(49):
        for key in range(0, 1000, 7):
            a = places[i].pop(key)
            places[i][key] = places[i + 1].pop(key)
            places[i + 1][key] = a
    del made
print(all(p[i] == [i, [i]] for p in places for i in range(1000)), zgc.verify() > 0)
"""


@requires_active
class FirstPass(unittest.TestCase):
    def test_one_pass_is_enough_where_the_first_was_right(self):
        # No collection but those that the program waits for: beside it, what moves can be taken for garbage.
        log = run(QUIET, options={"SMALL": 0, "STRESS": 0, "TRIGGER": 1000}).log
        ends = re.findall(r"GC\((\d+)\) Full Collection \(\w+\) found (\d+) reclaimed (\d+)", log)
        fruitful = [number for number, found, _ in ends if int(found) > 0]
        passes = [log.count(f"GC({number}) Concurrent Pass") for number in fruitful]
        self.assertGreaterEqual(len(passes), 4)
        self.assertEqual((passes[0], passes[-1]), (2, 1), passes)
        self.assertTrue(all(found == reclaimed for _, found, reclaimed in ends), ends)

    def test_what_is_moved_about_stays(self):
        self.assertEqual(run(MOVING, options={"SMALL": 0}).out, "True True\n")


if __name__ == "__main__":
    main()
