"""What a program switches in the midst of a collection: in its callbacks, its finalizers, another thread.

Whatever has been set aside for a collection comes back, and nothing is collected that must not be."""

import gc
import unittest

from zgctest import ACTIVE, main, requires_active, run, zgc

# `change` is called once, in the midst of a collection; the program counts what is tracked, and what is
# collected, afterwards.
BEGIN = """
import gc, os, sys, threading, time
try:
    import zgc
except ImportError:
    zgc = None
class Node:
    pass
def ring():
    a, b = Node(), Node()
    a.x, b.x = b, a
    return a
class Finalizer:
    def __del__(self):
        change()
keep = [{} for _ in range(30000)]
done = []
def once(phase, info):
    if phase != PHASE or done:
        return
    done.append(1)
    gc.callbacks.remove(once)
    change()
def back():
    if zgc:
        zgc.enable()
"""

# By a callback in a young collection whose generation 0 is oversized.
YOUNG = """
gc.disable()
k = [ring() for _ in range(30000)]
gc.callbacks.append(once)
gc.enable()
x = [[] for _ in range(5000)]
"""
# The same in a full one; in one with garbage that is fed.
FULL = """
k = [ring() for _ in range(30000)]
gc.callbacks.append(once)
gc.collect()
"""
BATCH = """
k = [ring() for _ in range(30000)]
for _ in range(10000):
    ring()
if zgc:
    zgc.collect(wait=False)
gc.callbacks.append(once)
for _ in range(40):
    x = [[] for _ in range(2000)]
    time.sleep(0.001)
gc.collect()
"""
END = """
back()
assert done
gc.collect()
tracked = len(gc.get_objects())
del k
collected = gc.collect()
print(tracked > 60000, collected)
"""

CHANGES = {
    "off": "def change(): zgc and zgc.disable()",
    "off and on": "def change():\n    if zgc: zgc.disable(); zgc.enable()",
    "off in another thread": """
def change():
    def run():
        if zgc: zgc.disable()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
""",
    "nested": "def change():\n    for i in range(3): gc.collect(i)\n    if zgc: zgc.collect(); zgc.collect(wait=False)",
    "exception": "def change():\n    if zgc: zgc.disable()\n    raise ValueError",
    "child": """
def change():
    if os.fork() == 0:
        return
    os.wait()
    os._exit(0)
""",
}


class Switches(unittest.TestCase):
    def check(self, change, phase, what):
        code = BEGIN + CHANGES[change] + f"\nPHASE = {phase!r}\n" + what + END
        out = run(code).out
        self.assertTrue(out.startswith("True "), out)
        self.assertIn(int(out.split()[1]), (60000, 120000))    # with or without their __dict__

    def test_in_young_collections(self):
        for change in CHANGES:
            for phase in "start", "stop":
                with self.subTest(change, phase=phase):
                    self.check(change, phase, YOUNG)

    def test_in_full_collections(self):
        for change in CHANGES:
            for phase in "start", "stop":
                with self.subTest(change, phase=phase):
                    self.check(change, phase, FULL)

    def test_while_garbage_is_fed(self):
        for change in CHANGES:
            for phase in "start", "stop":
                with self.subTest(change, phase=phase):
                    self.check(change, phase, BATCH)

    def test_in_a_finalizer(self):
        program = """
for _ in range(1000):
    r = ring()
    r.f = Finalizer()
def change(switch=change):
    if not done:
        done.append(1)
        switch()
k = [ring() for _ in range(30000)]
del r
gc.collect()
"""
        for change in "off", "off and on", "off in another thread", "nested", "exception":
            with self.subTest(change):
                self.check(change, "start", program)


# A finalizer of a full collection gives the GIL away, to a thread that makes the timer's collection due.
TIMER = """
import gc, threading, time, zgc
keep = [[i] for i in range(50000)]
class Slow:
    def __del__(self):
        entered.set()
        for _ in range(30):
            time.sleep(0.05)
class Node:
    pass
entered = threading.Event()
def big():
    slow = Slow()
    slow.self = slow
    for _ in range(30000):
        node = Node()
        node.node = node
gc.disable()
big()
gc.enable()
before = zgc.stats()
thread = threading.Thread(target=gc.collect)
thread.start()
entered.wait()
counts = set()
while thread.is_alive():
    [i for i in range(1000)]
    assert zgc.collect() == 0
    counts.add(zgc.stats()["collections_timer"])
    time.sleep(0.001)
thread.join()
after = zgc.stats()
print(len(counts), *(after[x] - before[x] >= 30000 for x in ("found", "fed", "reclaimed")))
"""


@requires_active
class OtherThreads(unittest.TestCase):
    def test_the_timer_leaves_another_threads_collection_alone(self):
        self.assertEqual(run(TIMER, options={"INTERVAL": 1, "SMALL": 0}).out, "1 True True True\n")


if __name__ == "__main__":
    main()
