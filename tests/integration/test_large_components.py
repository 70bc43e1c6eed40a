"""Large components of garbage: taken apart in slices, and nobody can tell.

ZGC_COMPONENT_MAX makes every component a large one. Stock CPython's output is the expectation, where there is one;
the GC log says whether slices were at work.
"""

import re
import unittest

from zgctest import main, requires_active, run

PRELUDE = """
import gc, os, sys, weakref
try:
    import zgc
except ImportError:
    zgc = None
class Node:
    def __init__(self, parent=None):
        self.parent = parent
        self.children = []
class Leaf:
    died = 0
    def __del__(self):
        Leaf.died += 1
class Token:                    # each node has a reference to it: how many are left?
    pass
token = Token()
def left():
    return sys.getrefcount(token) - before
before = 0
before = left()
def tree(count, leaf=None):
    root = Node()
    level = [root]
    while count > 0:
        level = [Node(parent) for parent in level for _ in range(3)][:count]
        count -= len(level)
        for node in level:
            node.parent.children.append(node)
            node.token = token
            if leaf:
                node.leaf = leaf()
    return root
def code_with(callback):        # an object that no component has as a member, and that runs code as it dies
    code = compile("1", "a name", "exec")
    keep.append(weakref.ref(code, callback))
    return code
keep = [[i] for i in range(30_000)]
def grow_old():
    for _ in range(3):
        gc.collect(1)
def begin():                    # a full collection, which is over at once without the library
    if zgc:
        zgc.collect(wait=False)
    else:
        gc.collect()
def churn(until, most=3_000_000):
    keep = []
    for i in range(most):
        keep.append([i])
        if i % 1000 == 0:
            keep.clear()
            if until():
                return True
    return False
"""

LARGE = re.compile(r"Large Component .*objects (\d+)")


def ours(code, options=None, **how):
    return run(PRELUDE + code, options={"SMALL": 0, "COMPONENT_MAX": 1000, **(options or {})}, **how)


def large(result):
    return [int(n) for n in LARGE.findall(result.log)]


# A tree dies in slices, between which the program goes on.
SLICES = """
x = tree(20_000, Leaf)
grow_old()
x = None
counts = set()
begin()
done = churn(lambda: counts.add(left()) or left() == 0)
print(done, left(), Leaf.died)
if zgc:
    print("slices", len(counts), file=sys.stderr)
"""

# Nobody finds a member by any means while they are taken apart.
HIDDEN = """
x = tree(20_000)
grow_old()
x = None
begin()
found, looks = set(), 0
def look():
    global looks
    if 0 < left() < 20_000:
        looks += 1
        found.add(sum(type(o) is Node for o in gc.get_objects()))
        found.add(sum(type(o) is Node for o in gc.get_referrers(Node)))
        found.add(sum(o is not globals() for o in gc.get_referrers(token)))
    return left() == 0
print(churn(look), found <= {0}, left())
if zgc:
    print("slices", looks, file=sys.stderr)
"""

# What a program does in the midst of it.
INTERRUPTED = """
x = tree(20_000)
grow_old()
x = None
if zgc:
    zgc.collect(wait=False)
    churn(lambda: left() < 20_000)
%s
print(left())
"""

FORKED = """
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    churn(lambda: left() == 0)
    gc.collect()
    print("child", left(), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
gc.collect()
"""

# A finalizer, and a destructor in the midst of it, start a collection, switch the collector, freeze, fork.
FROM_WITHIN = """
class Trigger:
    def __del__(self):
        act()
def act(ref=None):
    %s
x = tree(20_000, Leaf)
x.children[0].children[0].trigger = Trigger()
x.children[1].children[1].trigger = code_with(act)
grow_old()
x = None
if zgc:
    zgc.collect(wait=False)
    churn(lambda: left() == 0, 300_000)
gc.collect()
gc.collect()
print(left(), Leaf.died)
"""

AT_EXIT = """
x = tree(20_000)
node = x
while node.children:
    node = node.children[-1]
node.last = code_with(lambda ref, write=os.write: write(1, b"the end\\n"))
del node
grow_old()
x = None
if zgc:
    zgc.collect(wait=False)
    churn(lambda: left() < 20_000)
"""

# Held from outside by one reference to a member in its middle: all of it lives.
HELD = """
x = tree(20_000)
middle = x.children[1].children[1]
grow_old()
x = None
if zgc:
    zgc.collect()
gc.collect()
print(left(), len(middle.parent.parent.children))
middle = None
if zgc:
    zgc.collect()
gc.collect()
print(left())
"""

# Weak references: they are dead before anything is taken apart.
WATCHED = """
called = []
x = tree(20_000)
refs = [weakref.ref(x, lambda ref: called.append(ref())), weakref.ref(x.children[0])]
grow_old()
x = None
if zgc:
    zgc.collect(wait=False)
    churn(lambda: left() < 20_000)
else:
    gc.collect()
print([r() for r in refs], called)
if zgc:
    zgc.collect()
gc.collect()
print(left())
"""

# A finalizer makes its object, and with it the tree, reachable again; one sees weak references as CPython's would.
REVIVED = """
saved, seen = [], set()
class Back(Node):
    def __del__(self):
        saved.append(self)
        seen.add((plain() is None, called != []))
called = []
x = tree(20_000, Leaf)
x.children[0].back = Back(x)
plain = weakref.ref(x.children[2])
refs = weakref.ref(x.children[1], called.append)
grow_old()
x = None
if zgc:
    zgc.collect()
gc.collect()
print(left(), Leaf.died, len(saved), len(saved[0].parent.children), seen)
saved[0].parent = None
saved.clear()
if zgc:
    zgc.collect()
gc.collect()
print(left(), Leaf.died, seen, plain())
"""

# Finalizers are called in the order of age, before anything is taken apart.
ORDERED = """
order = []
class Numbered(Node):
    def __init__(self, number, parent):
        Node.__init__(self, parent)
        self.number = number
    def __del__(self):
        order.append((self.number, left()))
nodes = [Numbered(i, None) for i in range(2000)]
import random
random.Random(1).shuffle(nodes)
x = tree(20_000)
x.nodes = nodes
for node in nodes:
    node.parent = x
nodes = node = None
grow_old()
x = None
if zgc:
    zgc.collect()
gc.collect()
print(order == [(i, 20_000) for i in range(2000)], left())
"""

# Linked through each other, deep, and wide.
SHAPES = """
def ring(count):
    first = last = Node()
    for _ in range(count):
        last = Node(last)
    first.parent = last
    return first
class Owner:
    pass
owner = Owner()
owner.me = owner
owner.items = [token for _ in range(50_000)]
owner.others = [[token] for _ in range(5000)]
owner.table = {i: [token] for i in range(5000)}
owner.chain = ring(20_000)
nested = ()
for _ in range(2000):
    nested = (nested, owner)
owner.nested = nested
del nested
grow_old()
del owner
if zgc:
    zgc.collect()
gc.collect()
print(left())
"""

CALLBACKS = """
events = []
x = tree(20_000)
grow_old()
gc.callbacks.append(lambda phase, info: events.append((phase, info["generation"], info["collected"])))
before = [s["collected"] for s in gc.get_stats()]
x = None
if zgc:
    zgc.collect()
gc.collect()
after = [s["collected"] for s in gc.get_stats()]
phases = [e[0] for e in events]
print(phases == ["start", "stop"] * (len(phases) // 2))
print(sum(e[2] for e in events) // 10_000, (sum(after) - sum(before)) // 10_000)
print(all(e[2] == 0 for e in events if e[0] == "stop" and e[1] == 1))
"""


@requires_active
class LargeComponentsTest(unittest.TestCase):
    maxDiff = None

    def same(self, code, options=None):
        expected = run(PRELUDE + code, preload=False)
        result = ours(code, options)
        self.assertEqual(result.out, expected.out, result.describe())
        self.assertNotIn("Error", result.err, result.describe())
        self.assertGreater(sum(large(result)), 0, result.describe())
        return result

    def test_it_dies_in_slices(self):
        for code in SLICES, HIDDEN:
            result = self.same(code, {"PAUSE_TARGET": 100})
            self.assertGreaterEqual(int(result.err.split("slices ")[1]), 4, result.describe())

    def test_what_a_program_does_meanwhile(self):
        for code in ("gc.collect()", "zgc and zgc.disable(); gc.collect()", "gc.freeze(); gc.unfreeze(); gc.collect()",
                     "gc.set_debug(gc.DEBUG_SAVEALL); gc.collect()", FORKED):
            with self.subTest(code=code):
                act = f"if zgc: {code}\nelse: gc.collect()" if "DEBUG" in code else code
                self.same(INTERRUPTED % act)

    def test_what_a_destructor_does_in_it(self):
        for code in ("gc.collect()", "zgc and zgc.disable()", "ref and gc.freeze()", "gc.get_objects()",
                     "zgc and (zgc.collect(), zgc.disable(), zgc.enable())",
                     "os.waitpid(os.fork() or os._exit(0), 0)"):
            with self.subTest(code=code):
                result = ours(FROM_WITHIN % code)
                self.assertEqual(result.out, "0 20000\n", result.describe())

    def test_it_is_done_before_the_end(self):
        self.same(AT_EXIT)

    def test_a_held_one_lives(self):
        self.same(HELD)

    def test_weak_references(self):
        self.same(WATCHED)

    def test_finalizers(self):
        self.same(ORDERED)
        self.same(REVIVED)

    def test_shapes(self):
        self.same(SHAPES, {"COMPONENT_MAX": 1, "PAUSE_TARGET": 50, "VERIFY": 1})

    def test_callbacks_and_statistics(self):
        self.same(CALLBACKS)


if __name__ == "__main__":
    main()
