"""In which order a program sees the end of its garbage.

A full collection of CPython's calls all callbacks of weak references, then all finalizers, and then takes objects
apart; callbacks and finalizers in the order of age. Garbage that is reclaimed in batches must show the program the
same. Each program prints what it saw, and stock CPython's output is the expectation.
"""

import unittest

from zgctest import main, requires_active, run

PRELUDE = """
import gc, random, sys, weakref
try:
    import zgc
except ImportError:
    zgc = None
COUNT = 4000
order, seen = [], {}

def note(what, value=True):
    seen[what] = seen.get(what, 0) + int(value)

class Node:
    def __init__(self, number=0):
        self.me, self.number = self, number

class Final(Node):
    def __del__(self):
        order.append(self.number)
        note("finalized")

def recycle():
    # Memory that is handed out in no order.
    junk = [[[i]] for i in range(3 * COUNT)]
    random.seed(2)
    random.shuffle(junk)
    del junk[::2]

def grow_old():
    for _ in range(3):
        gc.collect(1)

def collect():
    how = zgc.collect if zgc and "stopped" not in sys.argv else gc.collect
    print("collected", how())

def show():
    print(len(order), order[:5], hash(tuple(order)), sorted(seen.items()))

gc.collect()
gc.disable()
"""

PROGRAMS = {
    "callbacks": """
        recycle()
        nodes = [Node(i) for i in range(COUNT)]
        refs = [weakref.ref(node, lambda ref, i=i: order.append(i)) for i, node in enumerate(nodes)]
        refs += [weakref.ref(node, lambda ref, i=i: order.append(-i)) for i, node in enumerate(nodes)]
        grow_old()
        nodes = node = None
        collect()
    """,
    "finalizers": """
        recycle()
        nodes = [Final(i) for i in range(COUNT)]
        random.shuffle(nodes)
        for first, second in zip(nodes[::2], nodes[1::2]):
            first.other, second.other = second, first
        grow_old()
        nodes = first = second = None
        collect()
    """,
    "generators": """
        def closing(i):
            me = []
            me.append(me)
            try:
                yield me
            finally:
                order.append(i)
        for i in range(COUNT // 4):
            generator = closing(i)
            next(generator).append(generator)
        grow_old()
        generator = None
        collect()
    """,
    "all_callbacks_come_before_finalizers": """
        class Late(Final):
            def __del__(self):
                note("before a callback", len(order) < COUNT)
        nodes = [Late(i) for i in range(COUNT)]
        refs = [weakref.ref(node, lambda ref: order.append(1)) for node in nodes]
        grow_old()
        nodes = node = None
        collect()
    """,
    "finalizers_come_before_parts_go": """
        class Part:
            __slots__ = ()
            def __del__(self):
                note("a part goes while others wait", seen["finalized"] < COUNT)
        nodes = [Final(i) for i in range(COUNT)]
        for node in nodes:
            node.part = Part()
        grow_old()
        nodes = node = None
        collect()
    """,
    "finalizers_that_make_garbage": """
        class Maker(Final):
            def __del__(self):
                note("made", 3)
                for i in range(3):
                    Node().ref = weakref.ref(Node(i), lambda ref: note("called"))
        nodes = [Maker(i) for i in range(COUNT // 4)]
        grow_old()
        nodes = None
        collect()
        collect()
    """,
    "what_is_brought_back": """
        back = []
        class Saver(Final):
            def __del__(self):
                back.append(self.other)
                super().__del__()
        for i in range(COUNT // 4):
            saver = Saver(i)
            saver.other = Final(-i)
        grow_old()
        saver = None
        collect()
        show()
        back.clear()
        collect()
    """,
    "plain_weak_references_in_finalizers": """
        class Looker(Final):
            def __del__(self):
                note("alive", sum(ref() is not None for ref in refs[::100]))
                note("classes", len(Node.__subclasses__()))
        nodes = [Looker(i) for i in range(COUNT // 4)]
        classes = [type(f"C{i}", (Node,), {}) for i in range(COUNT // 20)]
        refs = [weakref.ref(each) for each in nodes + classes]
        grow_old()
        nodes = classes = None
        collect()
        print(sum(ref() is None for ref in refs))
    """,
    "errors_of_callbacks": """
        said = set()
        sys.unraisablehook = lambda what: said.add((type(what.exc_value).__name__, str(what.err_msg)[:40]))
        def fail(ref):
            note("called")
            raise KeyError(1)
        nodes = [Node(i) for i in range(COUNT // 4)]
        refs = [weakref.ref(node, fail) for node in nodes]
        grow_old()
        nodes = node = None
        collect()
        print(sorted(said))
    """,
}


# What callbacks and finalizers find when they look at all objects, or freeze them.
FINDINGS = {
    "no_garbage_among_all_objects": """
        def look():
            objects = gc.get_objects()
            note("garbage", sum(type(each) in (Node, Final, Looker) for each in objects))
            note("others", len(objects) > 1000)
        class Looker(Final):
            def __del__(self):
                note("referrers", len(gc.get_referrers(self)))
                look()
        nodes = [Node(i) for i in range(COUNT)]
        refs = [weakref.ref(node, lambda ref: look()) for node in nodes[::500]]
        lookers = [Looker(i) for i in range(8)]
        grow_old()
        nodes = node = lookers = None
        collect()
    """,
    "callbacks_that_freeze": """
        nodes = [Node(i) for i in range(COUNT)]
        refs = [weakref.ref(nodes[9], lambda ref: gc.freeze())] + [weakref.ref(node) for node in nodes]
        grow_old()
        nodes = node = None
        collect()
        print(gc.get_freeze_count() > 1000, sum(ref() is None for ref in refs))
        gc.unfreeze()
        collect()
    """,
    "finalizers_that_freeze": """
        class Freezer(Final):
            def __del__(self):
                if self.number % 500 == 0:
                    gc.freeze()
                super().__del__()
        nodes = [Freezer(i) for i in range(COUNT)]
        grow_old()
        nodes = node = None
        collect()
        gc.unfreeze()
        collect()
    """,
}

# A class whose base changes while the class is garbage: its finalizers find what the base has.
BASES = """
class Base:
    value = object()
    def __del__(self):
        note("finalized")
        note("stale", self.value is not Base.value or type(self).value is not Base.value)

class Other(Node):
    def __del__(self):
        pass

classes = [type(f"C{i}", (Base,), {}) for i in range(30)]
instances = [each() for each in classes]
for each in instances:
    each.me = each
others = [Other() for i in range(60_000)]
grow_old()
for each in instances:
    each.value, type(each).value
each = instances = classes = others = None
if zgc:
    zgc.collect(wait=False)
gc.enable()
for i in range(400_000):
    keep = [i]
    if zgc and not Base.__subclasses__() or i == 399_999:
        Base.value = object()
        break
if zgc:
    zgc.collect()
gc.collect()
show()
"""


@requires_active
class Order(unittest.TestCase):
    def check(self, name, *arguments, **options):
        program = PRELUDE + {**PROGRAMS, **FINDINGS}[name].replace("\n        ", "\n") + "\nshow()\n"
        stock = run(program, *arguments, preload=False).out
        self.assertEqual(run(program, *arguments, preload=True, options={"SMALL": 0, **options}).out, stock)

    def test_order(self):
        for name in PROGRAMS:
            with self.subTest(name):
                self.check(name)

    def test_all_objects(self):
        for name in FINDINGS:
            with self.subTest(name):
                self.check(name)

    def test_base_of_a_class_that_is_garbage(self):
        for options in {}, {"PAUSE_TARGET": 50}:
            result = run(PRELUDE + BASES, options={"SMALL": 0, **options})
            self.assertIn("('finalized', 30), ('stale', 0)", result.out, result.describe())

    def test_order_with_the_world_stopped(self):
        for name in "callbacks", "finalizers", "generators", "all_callbacks_come_before_finalizers":
            with self.subTest(name):
                self.check(name, "stopped")

    def test_order_in_small_slices(self):
        for name in "finalizers", "plain_weak_references_in_finalizers", "what_is_brought_back":
            with self.subTest(name):
                self.check(name, PAUSE_TARGET=50)


@requires_active
class SwitchedOff(unittest.TestCase):
    def test_nothing_ends_while_collections_are_off(self):
        for off, on in ("gc.set_threshold(0)", "gc.set_threshold(700)"), ("gc.disable()", "gc.enable()"):
            with self.subTest(off):
                result = run(PRELUDE + f"""
import time
nodes = [Final(i) for i in range(COUNT)]
grow_old()
nodes = None
gc.enable()
zgc.collect(wait=False)
{off}
before = len(order)
for _ in range(60):
    keep = [[i] for i in range(2000)]
    time.sleep(0.003)
print(len(order) - before)
{on}
zgc.collect()
print(len(order))
""", options={"SMALL": 0})
                self.assertEqual(result.out, "0\n4000\n", result.describe())


@requires_active
class Abandoned(unittest.TestCase):
    def test_finalizers_run_once(self):
        """Whatever ends the collection between callbacks and finalizers, each finalizer runs once."""
        for end in "gc.collect()", "zgc.disable()", "os.fork() or os._exit(0)", "gc.collect(0)":
            with self.subTest(end):
                result = run(PRELUDE + f"""
import os
nodes = [Final(i) for i in range(COUNT)]
refs = [weakref.ref(node, lambda ref: note("called")) for node in nodes]
class Ends(Node):
    def __del__(self):
        {end}
ends = Ends()
grow_old()
nodes = node = ends = None
zgc.collect(wait=False)
gc.enable()
for i in range(300_000):
    keep = [i]
    if i == 150_000:
        {end}
gc.collect()
print(seen["finalized"], len(set(order)), seen["called"])
""", options={"SMALL": 0, "PAUSE_TARGET": 50})
                self.assertEqual(result.out, "4000 4000 4000\n", result.describe())


if __name__ == "__main__":
    main()
