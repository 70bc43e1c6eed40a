"""Groups of cycles that live on while some of their handles end, and collections come that choose no new ones."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import zgctest                                                          # noqa: E402

# Each handle in the list looks as if only a body held it; so all nodes are one group, which is alive. The first
# handle ends, and with it the way to the first node's own thing, which a collection by the clock finds.
PARTLY = """
import gc, time, zgc
class Node(zgc.Object):
    thing: object
    next: object
class Thing:
    pass
holder = Node([], None)
last = None
for i in range(50):
    last = Node([Thing()], last)
    holder.thing.append(last)
root = zgc.List([holder])
del last
gc.collect()
def fulls():
    return zgc.stats()["managed"]["full_collections"]
def one_more():
    before, end = fulls(), time.monotonic() + 30
    while fulls() == before and time.monotonic() < end:
        time.sleep(0.01)
        holder.next
zgc.collect("full", wait=False)
one_more()
for _ in range(1000):
    holder.next
found = zgc.stats()["managed"]["cycle_groups"]
del holder.thing[25:]
for _ in range(2):
    one_more()
    for _ in range(1000):
        holder.next
new = zgc.List([i] for i in range(200))
gc.collect()
for i, node in enumerate(holder.thing):
    assert isinstance(node.thing[0], Thing), i
assert new.tolist() == [[i] for i in range(200)]
gc.collect()
print(found > 0, zgc.verify() > 0)
"""


@zgctest.requires_active
class Groups(unittest.TestCase):

    def test_some_handles_end(self):
        self.assertEqual(zgctest.run(PARTLY, options={"INTERVAL": 1}).out, "True True\n")


if __name__ == "__main__":
    zgctest.main()
