"""gc.freeze and gc.unfreeze: what is frozen stays, whoever collects and whatever is under way, and costs nothing."""

import gc
import unittest

from zgctest import main, requires_active, run

BEGIN = """
import gc, sys, threading, weakref
try:
    import zgc
except ImportError:
    zgc = None
from zgctest import age, collect
class Node:
    pass
def ring():
    a, b = Node(), Node()
    a.x, b.x = b, a
    return a
def rings(n):
    return [ring() for _ in range(n)]
"""

# Rings that are garbage and frozen, looked at through weak references.
KEEPS = BEGIN + """
def check(freeze, what):
    keep = rings(30000)
    collect()
    age()
    refs = [weakref.ref(x) for x in keep[::1000]]
    freeze(keep)
    del keep
    for _ in range(2):
        gc.collect()
        collect()
        age()
    alive = sum(r() is not None for r in refs)
    gc.unfreeze()
    gc.collect()
    left = sum(r() is not None for r in refs)
    print(what, alive == len(refs), left, gc.get_freeze_count())
def while_off(keep):
    if zgc: zgc.disable()
    gc.freeze()
    if zgc: zgc.enable()
def twice(keep):
    gc.freeze()
    more.append(rings(1000))
    age()
    gc.freeze()
def while_collecting(keep):
    del keep
    if zgc: zgc.collect(wait=False)
    gc.freeze()
def thread(keep):
    t = threading.Thread(target=gc.freeze)
    t.start()
    t.join()
def in_callback(keep):
    def callback(phase, info):
        gc.callbacks.clear()
        gc.freeze()
    gc.callbacks.append(callback)
    gc.collect()
def in_finalizer(keep):
    class F:
        def __del__(self):
            gc.freeze()
    f = F()
    f.f = f
    del f
    gc.collect()
def in_off_and_thawed(keep):
    gc.freeze()
    if zgc: zgc.disable()
    gc.unfreeze()
    if zgc: zgc.enable()
    gc.freeze()
more = []
for f in (lambda keep: gc.freeze(), while_off, twice, while_collecting, thread, in_callback, in_finalizer,
          in_off_and_thawed):
    check(f, f.__name__)
"""

COSTS = BEGIN + """
keep = rings(100000)
zgc.collect()
def promoted():
    return zgc.stats()["promoted"]
before = promoted(), zgc.stats()["collections_abandoned"]
for i in range(50):
    gc.freeze()
    young = rings(100)
    gc.unfreeze()
    if i % 10 == 0:
        zgc.collect(wait=False)
age_count = promoted() - before[0]
zgc.collect()
print(age_count < 100000, zgc.stats()["collections_abandoned"] - before[1])
# Known again, without having been gone through: garbage among them is found.
del keep
print(zgc.collect() >= 200000, zgc.verify() >= 0)
"""

# A collection goes on with what is frozen since it began, finds it, and waits with it until it is not frozen.
MEANWHILE = BEGIN + """
keep = rings(100000)
zgc.collect()
refs = [weakref.ref(x) for x in keep[::100]]
del keep
zgc.collect(wait=False)
gc.freeze()
for _ in range(10000):
    if zgc.stats()["pending_garbage"]:
        break
    young = rings(100)
for _ in range(5):
    young = rings(1000)
print(zgc.stats()["pending_garbage"] >= 200000, all(r() is not None for r in refs))
gc.unfreeze()
before = zgc.stats()["collections_explicit"]
for _ in range(10000):
    if zgc.stats()["collections_explicit"] > before:
        break
    young = rings(100)
print(sum(r() is not None for r in refs), zgc.stats()["collections_abandoned"])
"""

# What stays frozen keeps no collection from ending.
FOREVER = BEGIN + """
keep = rings(100000)
zgc.collect()
del keep
zgc.collect(wait=False)
gc.freeze()
zgc.collect()
print(zgc.stats()["collections_explicit"], zgc.stats()["collections_abandoned"], zgc.stats()["pending_garbage"])
gc.unfreeze()
print(zgc.collect() >= 200000)
"""

# Growth is measured against what is not frozen.
GROWTH = BEGIN + """
keep = [[i] for i in range(600000)]
zgc.collect()
gc.freeze()
before = zgc.stats()
buffer = [None] * 10000
made = 0
while made < 140000 and zgc.stats()["collections"] == before["collections"]:
    for i in range(5000):
        buffer[made % 10000] = ring()
        made += 1
print(zgc.stats()["collections"] > before["collections"])
"""


class Freeze(unittest.TestCase):
    def test_what_is_frozen_stays(self):
        out = run(KEEPS, options={"SMALL": 0}).out
        for line in out.splitlines():
            self.assertRegex(line, r"^\S+ True 0 0$")
        self.assertEqual(len(out.splitlines()), 8)

    @requires_active
    def test_nothing_is_gone_through_again(self):
        self.assertEqual(run(COSTS, options={"SMALL": 0, "STRESS": 0}).out, "True 0\nTrue True\n")

    @requires_active
    def test_garbage_that_is_frozen_for_a_while_is_found_once(self):
        self.assertEqual(run(MEANWHILE, options={"SMALL": 0, "STRESS": 0}).out, "True True\n0 0\n")

    @requires_active
    def test_what_stays_frozen_holds_up_no_collection(self):
        self.assertEqual(run(FOREVER, options={"SMALL": 0, "STRESS": 0}).out, "2 1 0\nTrue\n")

    @requires_active
    def test_growth_leaves_out_what_is_frozen(self):
        self.assertEqual(run(GROWTH, options={"SMALL": 0, "STRESS": 0}).out, "True\n")


if __name__ == "__main__":
    main()
