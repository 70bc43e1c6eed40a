"""Garbage that becomes garbage while a collection is under way: what its callbacks and finalizers see of it.

Groups of objects are old, each group is dropped at one moment, and at random moments of collections that begin by
themselves. Each event notes what stock CPython never shows:
  alive     another member of the group, by a weak reference that stock has cleared by then
  garbage   a callback of a weak reference that is garbage itself
  early     a member was finalized, or a weak reference to one cleared, while the group was in use
Prints those, and how often each callback and finalizer was called.
"""

import gc
import random
import sys
import weakref

try:
    import zgc
except ImportError:
    zgc = None

LATE = sys.version_info >= (3, 15)       # weak references without a callback are cleared after the finalizers
chance = random.Random(int(sys.argv[1]))
GROUPS = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
seen, counts, dropped, watches = {}, {}, set(), []
names = weakref.WeakValueDictionary()
every = weakref.WeakSet()


def note(table, what):
    table[what] = table.get(what, 0) + 1


class Node:
    def __init__(self, group, number):
        self.group, self.number, self.links = group, number, []


class Slotted:
    __slots__ = ("group", "number", "links", "ref", "__weakref__", "__dict__")

    def __init__(self, group, number):
        self.group, self.number, self.links = group, number, []


class Final(Node):
    def __del__(self):
        event("finalizer", self.group, self.number)


class Watch:
    """Looks at members of a group from outside: by weak references that are alive as long as the program."""

    def __init__(self, group, nodes):
        self.plain = [weakref.ref(node) for node in nodes]
        self.called = [weakref.ref(node, self.callback(group, i)) for i, node in enumerate(nodes)
                       if chance.randrange(2)]

    @staticmethod
    def callback(group, number):
        return lambda ref: event("callback", group, number)

    def alive(self):
        refs = self.called if LATE else self.called + self.plain
        return sum(ref() is not None for ref in refs)


def event(what, group, number):
    note(counts, what)
    if group not in dropped:
        note(seen, f"early {what}")
    if watches[group].alive():
        note(seen, f"alive in a {what}")
    if names.get((group, number)) is not None:
        note(seen, f"in the dictionary in a {what}")


def garbage_callback(ref):
    note(seen, "garbage")


def make(group):
    nodes = [chance.choices((Node, Slotted, Final), (4, 3, 3))[0](group, i) for i in range(chance.randrange(2, 7))]
    is_one = not chance.randrange(3)
    for i, node in enumerate(nodes):
        node.links.append(nodes[(i + 1) % len(nodes)] if is_one else node)
        for _ in range(chance.randrange(2)):
            node.links.append(chance.choice(({}, [i], (i, []), lambda: group)))
        if not chance.randrange(3):
            names[group, i] = node
        if not chance.randrange(6):
            every.add(node)
    watches.append(Watch(group, nodes))
    return nodes


def tie(nodes):
    """Weak references among members, younger or older than those, which are garbage with them."""
    for node in nodes:
        if not chance.randrange(2):
            node.ref = weakref.ref(chance.choice(nodes), garbage_callback)
            if not chance.randrange(3):
                node.links.append([node.ref, weakref.proxy(chance.choice(nodes), garbage_callback)])


def churn(steps):
    """Makes objects grow old, so that collections begin and safepoints come."""
    junk = None
    for _ in range(steps):
        old.append([len(old)])
        junk = [[i] for i in range(chance.randrange(20))]
    if chance.randrange(4) == 0:
        del old[:chance.randrange(len(old) + 1)]
    return junk


old = [[i] for i in range(30_000)]
groups = [make(group) for group in range(GROUPS)]
is_early = chance.randrange(2)
if is_early:
    for nodes in groups:
        tie(nodes)
for _ in range(3):
    gc.collect(1)
gc.disable()
if not is_early:
    for nodes in groups:
        tie(nodes)
nodes = None
gc.enable()
order = list(range(GROUPS))
moment = chance.choice((0, 0, 10, 100, 1000))
if chance.randrange(2):
    chance.shuffle(order)
size = chance.choice((1, 10, 100, GROUPS))
for at in range(0, GROUPS, size):
    churn(chance.choice((0, 10, 1000, 3000)) if size < GROUPS else chance.choice((0, 1, 20_000)))
    some = order[at:at + size]
    if zgc is not None and size > 10 and chance.randrange(2):
        zgc.collect(wait=False)          # groups are dropped while it runs
        churn(chance.randrange(moment + 1))
    dropped.update(some)
    for group in some:
        groups[group] = None
    if size > 1 and chance.randrange(3) == 0:
        churn(chance.randrange(2000))
if chance.randrange(2):
    churn(20_000)
if zgc is not None and chance.randrange(2):
    zgc.collect()
gc.collect()
for table in seen, counts:
    for what in sorted(table):
        print(what, table[what])
print("left", sum(each.alive() for each in watches), len(names), len(every))
