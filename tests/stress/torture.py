#!/usr/bin/env python3
"""Random graphs over every container type, mutated where a concurrent collector could be fooled,
checked against a model that knows which objects are alive.

    torture.py                                       15 s, for a test run
    torture.py --seconds 3600 --objects 300000 --threads 4
    torture.py --seed 7 --kinds InDict,InSet --operations grow,move,cut     to narrow a failure
    LD_PRELOAD=libzgcpreload.so ZGC_VERIFY=1 torture.py      the library checks itself too

A world is a graph of nodes below a list of roots. Every node has a number, a few slots that may
hold another node, and one way of storing them: attributes, __slots__, a list, a dict, a set,
closures, the frame of a generator, ... The model knows the content of each slot as numbers in plain
arrays. Each node also holds a token, an int of its own whose only other owner is the model: the
token's reference count tells whether the node has been deallocated. So two things are noticed:
 - a node visited is not what the model says: a live object was damaged or reclaimed (at once);
 - a node that the model cannot reach survives full collections: garbage was missed (at a check).

There are several worlds, each used by one thread at a time and handed round, so objects die in
other threads than they were born in. On stock CPython gc.collect() is the collector.
"""

import argparse
import array
import collections
import contextvars
import faulthandler
import functools
import gc
import itertools
import os
import queue
import random
import sys
import threading
import time
import types
import warnings
import weakref

try:
    import zgc
    ACTIVE = zgc.status()["active"]
except ImportError:
    ACTIVE = False

SLOTS = 4
NOBODY = -1
TOKEN_SHIFT = 40        # token: world's number + 1 above, node's number below
WORLDS = {}


class Damage(Exception):
    """A live object is not what the model says, or garbage survives."""


def full_collection(wait=True):
    return zgc.collect(wait=wait) if ACTIVE else gc.collect()


def number_of(node):
    return node.token & (1 << TOKEN_SHIFT) - 1


def mark_of(number):
    """Depends on the number and is no shared constant: damaged contents show."""
    return number * 2654435761 & 0xffffffff, str(number)


# ---- kinds of nodes: load(i), store(i, x), and rearrange(rng), which keeps what is stored --------

KINDS = {}


def kind(weight=10):
    def register(cls):
        cls.weight = weight
        cls.kind = len(KINDS)
        KINDS[cls.__name__] = cls
        return cls
    return register


class Base:
    """What all nodes have. Equality and hash are identity, whatever a built-in base says."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other

    def __ne__(self, other):
        return self is not other

    def __init__(self, token):
        self.token = token
        self.mark = mark_of(token)
        self.start()

    def rearrange(self, rng):
        pass


@kind(25)
class Attributes(Base):
    """Inline values, which may become a dict, be replaced, outgrow the shared keys."""

    def start(self):
        self.s0 = self.s1 = self.s2 = self.s3 = None
        # 3.13.0 leaks an instance whose dict was made, or seen by a collection, while nothing in it
        # could be tracked, and was parted from the inline values later.
        self.always_tracked = []

    def load(self, i):
        return getattr(self, f"s{i}")

    def store(self, i, x):
        setattr(self, f"s{i}", x)

    def rearrange(self, rng):
        what = rng.randrange(7)
        if what == 0:
            self.__dict__
        elif what == 1:
            self.__dict__ = dict(self.__dict__)
        elif what == 2:
            old = self.__dict__
            self.__dict__ = {k: old[k] for k in reversed(list(old))}
        elif what == 3:
            for i in range(40):
                setattr(self, f"extra{i}", i)
        elif what == 4:
            for name in [n for n in vars(self) if n.startswith("extra")]:
                delattr(self, name)
        elif what == 5:
            self.__class__ = self.twin
        else:
            x = self.s0
            del self.s0
            self.s0 = x


class AttributesTwin(Attributes):
    twin = Attributes


Attributes.twin = AttributesTwin


@kind()
class Slotted(Base):
    __slots__ = ("token", "mark", "s0", "s1", "s2", "s3", "__weakref__")
    load, store = Attributes.load, Attributes.store

    def start(self):
        self.s0 = self.s1 = self.s2 = self.s3 = None

    def rearrange(self, rng):
        x = self.s1
        del self.s1
        self.s1 = x


class SlottedUpper(Base):
    __slots__ = ("token", "s0")


class SlottedMiddle(SlottedUpper):
    __slots__ = ("mark", "s1", "s2")


@kind()
class SlottedDeep(SlottedMiddle):
    __slots__ = ("s3", "__weakref__")
    start, load, store, rearrange = Slotted.start, Slotted.load, Slotted.store, Slotted.rearrange


class Boxed(Base):
    """Keeps its slots in self.box, which nodes of one kind may exchange."""

    def load(self, i):
        return self.box[i]

    def store(self, i, x):
        self.box[i] = x


@kind(20)
class InList(Boxed):
    def start(self):
        self.box = [None] * SLOTS

    def rearrange(self, rng):
        what = rng.randrange(6)
        if what == 0:
            self.box = self.box[:]
        elif what == 1:
            self.box[:] = list(self.box)
        elif what == 2:
            self.box.extend(range(rng.randrange(500)))
        elif what == 3:
            del self.box[SLOTS:]
        elif what == 4:
            rest = []
            while self.box:
                rest.append(self.box.pop())
            self.box += reversed(rest)
        else:
            self.box[1:3] = self.box[1:3]


@kind(20)
class InDict(Boxed):
    def start(self):
        self.box = dict.fromkeys(range(SLOTS))

    def rearrange(self, rng):
        what = rng.randrange(6)
        if what == 0:
            new = self.box.copy()
            self.box.clear()
            self.box = new
        elif what == 1:
            self.box.update((k, k) for k in range(100, 100 + rng.randrange(300)))
        elif what == 2:
            for k in [k for k in self.box if k >= 100]:
                del self.box[k]
        elif what == 3:
            i = rng.randrange(SLOTS)
            self.box[i] = self.box.pop(i)
        elif what == 4:
            new = {}
            while self.box:
                new.update([self.box.popitem()])
            self.box = new
        else:
            self.box = {**self.box}


@kind()
class InStringDict(Boxed):
    def start(self):
        self.box = dict.fromkeys("0123")

    def load(self, i):
        return self.box[str(i)]

    def store(self, i, x):
        self.box[str(i)] = x

    def rearrange(self, rng):
        i = str(rng.randrange(SLOTS))
        self.box[i] = self.box.pop(i)
        self.box = dict(self.box)


@kind()
class InTuple(Boxed):
    def start(self):
        self.box = (None,) * SLOTS

    def store(self, i, x):
        self.box = self.box[:i] + (x,) + self.box[i + 1:]

    def rearrange(self, rng):
        self.box = tuple(list(self.box))


@kind(6)
class InNestedTuples(Boxed):
    def start(self):
        self.box = (None, (None, (None, (None, ()))))

    def load(self, i):
        rest = self.box
        for _ in range(i):
            rest = rest[1]
        return rest[0]

    def store(self, i, x):
        items = [self.load(j) for j in range(SLOTS)]
        items[i] = x
        self.box = functools.reduce(lambda rest, item: (item, rest), reversed(items), ())


@kind()
class InDeque(Boxed):
    def start(self):
        self.box = collections.deque([None] * SLOTS)

    def rearrange(self, rng):
        what = rng.randrange(3)
        if what == 0:
            n = rng.randrange(200)
            self.box.rotate(n)
            self.box.rotate(-n)
        elif what == 1:
            self.box.extend(range(rng.randrange(300)))
        else:
            while len(self.box) > SLOTS:
                self.box.pop()


class Unordered(Boxed):
    """Stores the nodes without their slots: slot i is found through the number kept beside."""

    def start(self):
        self.numbers = array.array("q", [NOBODY] * SLOTS)
        self.box = self.empty()

    def members(self):
        return self.box

    def load(self, i):
        number = self.numbers[i]
        if number == NOBODY:
            return None
        for x in self.members():
            if number_of(x) == number:
                return x
        raise LookupError(f"{number} is not there")

    def store(self, i, x):
        old = self.load(i)
        self.numbers[i] = NOBODY if x is None else number_of(x)
        if x is not None:
            self.put(x)
        if old is not None and number_of(old) not in self.numbers:
            self.take(old)


@kind()
class InSet(Unordered):
    empty = set

    def put(self, x):
        self.box.add(x)

    def take(self, x):
        self.box.remove(x)

    def rearrange(self, rng):
        what = rng.randrange(3)
        if what == 0:
            self.box = set(self.box)
        elif what == 1 and self.box:
            self.box.add(self.box.pop())
        else:
            self.box |= set(range(0))


@kind(6)
class InFrozenSet(Unordered):
    empty = frozenset

    def put(self, x):
        self.box = self.box | {x}

    def take(self, x):
        self.box = self.box - {x}


@kind(6)
class AsDictKeys(Unordered):
    empty = dict

    def put(self, x):
        self.box[x] = 1

    def take(self, x):
        del self.box[x]


@kind(6)
class InSetOfTuples(Unordered):
    empty = set

    def members(self):
        return [x for x, in self.box]

    def put(self, x):
        self.box.add((x,))

    def take(self, x):
        self.box.remove((x,))


class OfBuiltin(Base):
    """The node is itself the container."""

    __slots__ = ()

    def load(self, i):
        return self[i]

    def store(self, i, x):
        self[i] = x


@kind()
class ListNode(OfBuiltin, list):
    def start(self):
        self[:] = [None] * SLOTS

    def rearrange(self, rng):
        self[:] = list(self) + [0] * rng.randrange(100)
        if rng.random() < 0.5:
            del self[SLOTS:]


@kind(6)
class SlottedListNode(OfBuiltin, list):
    __slots__ = ("token", "mark", "__weakref__")
    start, rearrange = ListNode.start, ListNode.rearrange


@kind()
class DictNode(OfBuiltin, dict):
    def start(self):
        self.update(dict.fromkeys(range(SLOTS)))

    def rearrange(self, rng):
        i = rng.randrange(SLOTS)
        self[i] = self.pop(i)
        if rng.random() < 0.2:
            copy = dict(self)
            self.clear()
            self.update(copy)


@kind(6)
class DefaultNode(OfBuiltin, collections.defaultdict):
    start, rearrange = DictNode.start, DictNode.rearrange


@kind(6)
class OrderedNode(OfBuiltin, collections.OrderedDict):
    start = DictNode.start

    def rearrange(self, rng):
        self.move_to_end(rng.randrange(SLOTS), last=rng.random() < 0.5)


@kind(6)
class DequeNode(OfBuiltin, collections.deque):
    def start(self):
        self.extend([None] * SLOTS)

    def rearrange(self, rng):
        self.rotate(1)
        self.rotate(-1)


@kind(6)
class SetNode(Unordered, set):
    empty = type(None)
    put, take = set.add, set.remove

    def members(self):
        return self


@kind(6)
class StringNode(Attributes, str):
    def __new__(cls, token):
        return str.__new__(cls, token)

    def rearrange(self, rng):
        self.__dict__ = dict(self.__dict__)


@kind()
class InClosure(Boxed):
    def start(self):
        a = b = c = d = None

        def load(i):
            return (a, b, c, d)[i]

        def store(i, x):
            nonlocal a, b, c, d
            if i == 0:
                a = x
            elif i == 1:
                b = x
            elif i == 2:
                c = x
            else:
                d = x
        self.box = load, store

    def load(self, i):
        return self.box[0](i)

    def store(self, i, x):
        self.box[1](i, x)


@kind(6)
class InCells(Boxed):
    def start(self):
        self.box = [types.CellType(None) for _ in range(SLOTS)]

    def load(self, i):
        return self.box[i].cell_contents

    def store(self, i, x):
        if i % 2:
            self.box[i].cell_contents = x
        else:
            self.box[i] = types.CellType(x)


@kind(6)
class InGenerator(Boxed):
    """The locals of a suspended frame, which runs on whenever it is asked."""

    def start(self):
        def frame():
            a = b = c = d = None
            while True:
                change = yield a, b, c, d
                if change is not None:
                    i, x = change
                    if i == 0:
                        a = x
                    elif i == 1:
                        b = x
                    elif i == 2:
                        c = x
                    else:
                        d = x
                    change = x = None
        self.box = frame()
        next(self.box)

    def load(self, i):
        return next(self.box)[i]

    def store(self, i, x):
        self.box.send((i, x))


@kind(6)
class InBoundMethods(Boxed):
    def start(self):
        self.box = [None] * SLOTS

    def load(self, i):
        m = self.box[i]
        return None if m is None else m.__self__

    def store(self, i, x):
        self.box[i] = None if x is None else types.MethodType(mark_of, x)


@kind(6)
class InPartials(Boxed):
    def start(self):
        self.box = [functools.partial(print, None) for _ in range(SLOTS)]

    def load(self, i):
        p = self.box[i]
        return p.args[0] if p.args else p.keywords["k"]

    def store(self, i, x):
        self.box[i] = functools.partial(print, x) if i % 2 else functools.partial(print, k=x)


@kind(6)
class InIterators(Boxed):
    def start(self):
        self.box = [itertools.repeat(None) for _ in range(SLOTS)]

    def load(self, i):
        return next(self.box[i])

    def store(self, i, x):
        self.box[i] = itertools.repeat(x) if i % 2 else itertools.cycle([x, x])


@kind(5)
class InNamespace(Boxed):
    def start(self):
        self.box = types.SimpleNamespace(s0=None, s1=None, s2=None, s3=None)

    def load(self, i):
        return getattr(self.box, f"s{i}")

    def store(self, i, x):
        setattr(self.box, f"s{i}", x)


@kind(5)
class InProxy(Boxed):
    def start(self):
        self.box = types.MappingProxyType(dict.fromkeys(range(SLOTS)))

    def store(self, i, x):
        self.box = types.MappingProxyType({**self.box, i: x})


@kind(5)
class InTraceback(Boxed):
    """The frame comes from a generator: a raised exception would hold all frames above, too."""

    def start(self):
        self.box = [None] * SLOTS

    def load(self, i):
        e = self.box[i]
        return None if e is None else e.__traceback__.tb_frame.f_locals["x"]

    def store(self, i, x):
        def frame(x):
            yield
        suspended = frame(x)
        next(suspended)
        traceback = types.TracebackType(None, suspended.gi_frame, 0, 1)
        self.box[i] = None if x is None else LookupError(suspended).with_traceback(traceback)


VARIABLES = [contextvars.ContextVar(f"v{i}", default=None) for i in range(SLOTS)]


@kind(3)
class InContext(Boxed):
    def start(self):
        self.box = contextvars.Context()

    def load(self, i):
        return self.box.get(VARIABLES[i])

    def store(self, i, x):
        self.box.run(VARIABLES[i].set, x)


@kind(2)
class InClass(Boxed):
    """A class of its own with an instance: classes are born and die."""

    def start(self):
        self.rearrange(None)

    load, store = InNamespace.load, InNamespace.store

    def rearrange(self, rng):
        values = {f"s{i}": self.load(i) if rng else None for i in range(SLOTS)}
        self.box = type("Own", (), values)
        self.box.instance = self.box()


@kind(5)
class Finalized(InList):
    """Does something in its finalizer, and dies all the same."""

    def __del__(self):
        what = self.mark[0] % 4
        if what == 0:
            x = [[] for _ in range(20)]
            x.append(x)
        elif what == 1:
            self.another_ring = [self]
        elif what == 2 and self.mark[0] % 64 == 2:
            gc.collect(0)


@kind(5)
class Phoenix(Attributes):
    """Comes back once, with all that it holds."""

    def __del__(self):
        WORLDS[self.token >> TOKEN_SHIFT].limbo.append(self)

    def rearrange(self, rng):
        self.__dict__


# A collection also finalizes the suspended generators that a phoenix holds: they come back closed.
# So a world has either these or those.
FRAGILE = {"InGenerator", "InTraceback"}


# ---- a world: real graph, model, operations ------------------------------------------------------

def reference_counts(objects):
    return [sys.getrefcount(x) for x in objects]


class World:
    """Nodes below roots. The model: edges[number * SLOTS + i] and root_numbers[j]."""

    def __init__(self, name, rng, target, kinds, operations):
        self.name = name
        WORLDS[name + 1] = self
        self.rng = rng
        self.target = target            # about how many nodes to have
        self.kinds = [KINDS[k] for k in kinds]
        self.weights = list(itertools.accumulate(k.weight for k in self.kinds))
        self.operations = operations
        self.roots = [None] * max(8, target // 200)
        self.root_numbers = array.array("q", [NOBODY] * len(self.roots))
        self.edges = array.array("q")
        self.kind_of = bytearray()
        self.tokens = []
        self.resurrected = bytearray()
        self.free = array.array("q")    # numbers to use again; filled by a check
        self.watched = {}               # number -> weak reference
        self.calls = {}                 # number -> how often its callback ran
        self.watch_list = []
        self.limbo = []
        self.history = collections.deque(maxlen=30)
        self.done = self.born = 0
        self.unheld = reference_counts([self.new_token(0)])[0]

    def new_token(self, number):
        return self.name + 1 << TOKEN_SHIFT | number

    def is_there(self):
        """For each number, is its node not yet deallocated?"""
        counts = reference_counts(self.tokens)
        if counts and min(counts) < self.unheld:
            self.fail("a token lost a reference that nobody gave up")
        return [c > self.unheld for c in counts]

    def fail(self, text):
        raise Damage(f"{text}\nworld {self.name}, last operations: {' '.join(self.history)}")

    # -- reading and writing an edge, in the graph and in the model

    def verify(self, node, number):
        """What a live path leads to must be the node that the model says, and whole."""
        if node is None or number == NOBODY:
            if node is not None or number != NOBODY:
                self.fail(f"a slot holds {node!r:.80} where the model says {number}")
            return None
        try:
            token, mark = node.token, node.mark
        except AttributeError as e:
            self.fail(f"node {number} was torn down: {e}")
        if token is not self.tokens[number] or mark != mark_of(token):
            self.fail(f"node {token} {mark} where the model says {number}")
        if node.kind != self.kind_of[number]:
            self.fail(f"node {number} is a {type(node).__name__}")
        return node

    def read(self, node, number, i):
        """(content, its number) of slot i of a node, or of root i where node is None."""
        if node is None:
            there = self.root_numbers[i]
            return self.verify(self.roots[i], there), there
        there = self.edges[number * SLOTS + i]
        try:
            found = node.load(i)
        except (AttributeError, LookupError, TypeError, StopIteration) as e:
            self.fail(f"node {number} ({type(node).__name__}) slot {i} cannot be read: {e!r}")
        return self.verify(found, there), there

    def write(self, node, number, i, new):
        there = NOBODY if new is None else number_of(new)
        if node is None:
            self.roots[i] = new
            self.root_numbers[i] = there
        else:
            node.store(i, new)
            self.edges[number * SLOTS + i] = there

    def walk(self, depth=12, least=0):
        """A random place: (node or None for the roots, number, slot)."""
        node, number, i = None, NOBODY, self.rng.randrange(len(self.roots))
        for _ in range(self.rng.randrange(least, depth)):
            below, there = self.read(node, number, i)
            if below is None:
                break
            node, number, i = below, there, self.rng.randrange(SLOTS)
        return node, number, i

    def gap(self):
        """A random place that is empty, mostly: what is put there replaces nothing."""
        return self.walk() if self.rng.random() < 0.02 else self.walk(100, 99)

    def new_node(self):
        cls = self.rng.choices(self.kinds, cum_weights=self.weights)[0]
        if self.free:
            number = self.free.pop()
        else:
            number = len(self.tokens)
            self.tokens.append(self.new_token(number))
            self.resurrected.append(0)
            self.kind_of.append(0)
            self.edges.extend((NOBODY,) * SLOTS)
        self.kind_of[number] = cls.kind
        self.born += 1
        node = cls(self.tokens[number])
        if self.rng.random() < 0.1:
            self.watch(node, number)
        return node, number

    def watch(self, node, number):
        def note(_):
            calls[number] += 1
        calls = self.calls
        calls[number] = 0
        self.watched[number] = weakref.ref(node, note)
        self.watch_list.append(number)

    # -- operations: each leaves graph and model equal

    def op_grow(self):
        """A new node in a place; what stood there goes below it."""
        place = self.walk()
        old, _ = self.read(*place)
        new = self.new_node()
        self.write(*new, self.rng.randrange(SLOTS), old)
        self.write(*place, new[0])

    def op_subtree(self):
        """A small tree with back edges: what is cut off later contains rings."""
        place = self.gap()
        nodes = [self.new_node()]
        for _ in range(self.rng.randrange(2, 15)):
            new = self.new_node()
            self.write(*self.rng.choice(nodes), self.rng.randrange(SLOTS), new[0])
            self.write(*new, self.rng.randrange(SLOTS), self.rng.choice(nodes)[0])
            nodes.append(new)
        self.write(*place, nodes[0][0])

    def op_cut(self):
        self.write(*self.walk(), None)

    def op_link(self):
        """A second reference to a node."""
        x, _ = self.read(*self.walk())
        self.write(*self.gap(), x)

    def op_ring(self):
        """A reference from a node to one of those above it."""
        top = self.read(*self.walk(6))
        if top[0] is None:
            return
        node = top
        for _ in range(self.rng.randrange(1, 6)):
            below = self.read(*node, self.rng.randrange(SLOTS))
            if below[0] is None:
                break
            node = below
        self.write(*node, self.rng.randrange(SLOTS), top[0])

    def op_move(self):
        """Perhaps the last reference goes from one container to another, in either order."""
        a, b = self.walk(), self.gap()
        x, _ = self.read(*a)
        if self.rng.random() < 0.5:
            self.write(*a, None)
            self.write(*b, x)
        else:
            self.write(*b, x)
            if a[1:] != b[1:]:
                self.write(*a, None)

    def op_swap(self):
        a, b = self.walk(), self.walk()
        x, y = self.read(*a)[0], self.read(*b)[0]
        self.write(*a, y)
        self.write(*b, x)

    def op_swap_boxes(self):
        """Two nodes of one kind exchange their whole containers."""
        a, m, _ = self.walk()
        if not isinstance(a, Boxed):
            return
        for _ in range(10):
            b, n, _ = self.walk()
            if b is not None and self.kind_of[m] == self.kind_of[n] and m != n:
                break
        else:
            return
        if isinstance(a, SetNode):
            return
        a.box, b.box = b.box, a.box
        if isinstance(a, Unordered):
            a.numbers, b.numbers = b.numbers, a.numbers
        m, n = m * SLOTS, n * SLOTS
        e = self.edges
        e[m:m + SLOTS], e[n:n + SLOTS] = e[n:n + SLOTS], e[m:m + SLOTS]

    def op_hold(self, depth=0):
        """A subtree is only in a local variable for a while, then goes back elsewhere."""
        place = self.walk(4)
        held, number = self.read(*place)
        self.write(*place, None)
        del place
        for _ in range(self.rng.randrange(30)):
            if self.rng.random() < 0.05 and depth < 3:
                self.op_hold(depth + 1)
            else:
                self.step(inside=True)
        self.verify(held, number)
        self.write(*self.gap(), held)

    def op_rotate(self):
        """All roots move by a few places."""
        n = self.rng.randrange(1, len(self.roots))
        self.roots[:] = self.roots[n:] + self.roots[:n]
        self.root_numbers = self.root_numbers[n:] + self.root_numbers[:n]

    def op_rearrange(self):
        node, _, _ = self.walk()
        if node is not None:
            node.rearrange(self.rng)

    def op_weak(self):
        """Through a weak reference to what may be garbage already, and back into the graph."""
        if self.watch_list:
            number = self.rng.choice(self.watch_list)
            node = self.watched[number]()
            if node is not None:
                self.verify(node, number)
                self.write(*self.gap(), node)

    def op_litter(self):
        """Rings of ordinary objects that nothing ever points to."""
        for _ in range(self.rng.randrange(10)):
            x = [{}, ()]
            x[0]["x"] = (x, [x])

    def op_young(self):
        gc.collect(self.rng.randrange(2))

    def op_freeze(self):
        gc.freeze()
        gc.unfreeze()

    def op_limbo(self):
        """Look at what came back to life; some of it joins the graph."""
        while self.limbo:
            node = self.resurrect()
            if self.rng.random() < 0.3:
                self.write(*self.gap(), node)

    def resurrect(self):
        """The next node in limbo, after checking it and all below it."""
        node = self.limbo.pop()
        number = number_of(node)
        self.verify(node, number)
        for _, there in self.below([(node, number)]):
            self.resurrected[there] = 1
        return node

    WEIGHTS = dict(
        grow=20, subtree=6, cut=2, link=6, ring=6, move=20, swap=15, swap_boxes=6, hold=1,
        rotate=0.3, rearrange=15, weak=3, litter=3, young=0.1, freeze=0.02, limbo=1)

    def step(self, inside=False):
        names, weights = self.operations
        name = self.rng.choices(names, weights)[0]
        if inside and name == "hold":
            return
        self.history.append(name)
        self.done += 1
        getattr(self, "op_" + name)()

    def work(self, n):
        for i in range(n):
            if i % 250 == 0:
                excess = self.population() / self.target
                if excess > 1.5:
                    self.drop(0.3)
                    full_collection(wait=False)
                elif excess > 1:
                    self.drop(0.02)
            self.step()

    def population(self):
        """Nodes not deallocated yet."""
        return sum(self.is_there())

    def drop(self, share):
        """A share of the roots at once: many components of garbage."""
        for i in range(len(self.roots)):
            if self.rng.random() < share:
                self.write(None, NOBODY, i, None)

    # -- checks

    def below(self, start):
        """Every node reachable from some (node, number) pairs, each verified."""
        seen = {number for _, number in start}
        todo = list(start)
        while todo:
            node, number = todo.pop()
            yield node, number
            for i in range(SLOTS):
                child, there = self.read(node, number, i)
                if child is not None and there not in seen:
                    seen.add(there)
                    todo.append((child, there))

    def reachable(self):
        """Numbers of all nodes that live, after a walk over all of them."""
        tops = {}
        for i in range(len(self.roots)):
            node, number = self.read(None, NOBODY, i)
            if node is not None:
                tops[number] = node
        return {number for _, number in self.below([(x, n) for n, x in tops.items()])}

    def check(self):
        """What lives is whole; what does not goes away. Returns how many live."""
        live = self.reachable()
        self.expect_the_rest_to_die(live)
        if self.reachable() != live:
            self.fail("a check changed what is reachable")
        self.check_weak_references(live)
        self.free = array.array("q", (n for n in range(len(self.tokens)) if n not in live))
        for n in self.free:
            self.resurrected[n] = 0
            self.edges[n * SLOTS:n * SLOTS + SLOTS] = array.array("q", [NOBODY] * SLOTS)
        return len(live)

    def expect_the_rest_to_die(self, live):
        # What resurrects takes more than one collection; while another thread is inside of one (its
        # finalizers run), a call does nothing.
        for attempt in range(200):
            full_collection()
            while self.limbo:
                self.resurrect()
            left = [n for n, there in enumerate(self.is_there()) if there and n not in live]
            if not left:
                return
            time.sleep(0.001 * attempt)
        kinds = collections.Counter(list(KINDS)[self.kind_of[n]] for n in left)
        self.fail(f"{len(left)} dead nodes survive 200 full collections: {dict(kinds)}\n"
                  f"{self.who_holds(set(left))}")

    def who_holds(self, left):
        """Of these nodes, those that more references hold than tracked objects have: the others hang on them."""
        objects = gc.get_objects()
        known = collections.Counter(id(r) for x in objects for r in gc.get_referents(x))
        nodes = [x for x in objects if isinstance(x, Base) and number_of(x) in left and
                 getattr(x, "token", 0) >> TOKEN_SHIFT == self.name + 1]
        del objects
        text = [f"{len(nodes)} of them are tracked; held from outside:"]
        while nodes:
            x = nodes.pop()
            more = sys.getrefcount(x) - 2 - known[id(x)]
            if more:
                text.append(f"{type(x).__name__} {number_of(x)} by {more} of {more + known[id(x)]}")
        return " ".join(text)

    def check_weak_references(self, live):
        for number in list(self.watched):
            is_there = self.watched[number]() is not None
            if number in live:
                if not is_there and not self.resurrected[number]:
                    self.fail(f"the weak reference to live node {number} is dead")
                continue
            if is_there:
                self.fail(f"the weak reference to dead node {number} is alive")
            if self.calls[number] != 1:
                self.fail(f"callback of dead node {number} ran {self.calls[number]} times")
            del self.watched[number], self.calls[number]
        self.watch_list = list(self.watched)

    def check_in_fork(self):
        """Work and check in a forked child; its exit status tells."""
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            faulthandler.dump_traceback_later(300, exit=True)
            gc.unfreeze()       # another thread may have been about to
            self.work(200)
            before = gc.get_stats()[2]["collections"]
            gc.collect()
            if gc.get_stats()[2]["collections"] > before:
                self.check()
            else:       # forked inside another thread's collection: CPython never collects again
                self.reachable()
            status = 0
        except BaseException as e:
            os.write(2, f"torture: in a forked child: {e!r}\n".encode())
        finally:
            os._exit(status)


# ---- a run ---------------------------------------------------------------------------------------

class Run:
    def __init__(self, args):
        self.args = args
        self.end = time.monotonic() + args.seconds
        self.errors = []
        self.checks = self.forks = 0
        kinds = set(args.kinds.split(",") if args.kinds else KINDS)
        kinds_of = [sorted(kinds - set(left_out)) for left_out in (("Phoenix",), FRAGILE)]
        weights = {n: World.WEIGHTS[n] for n in args.operations.split(",")} if args.operations \
            else World.WEIGHTS
        operations = list(weights), list(weights.values())
        n = args.threads + 1
        self.worlds = [World(i, random.Random(f"{args.seed} {i}"), max(100, args.objects // n),
                             kinds_of[i % 2] or sorted(kinds), operations) for i in range(n)]
        self.pool = queue.SimpleQueue()
        for world in self.worlds:
            self.pool.put(world)

    def thread(self, number):
        rng = random.Random(f"{self.args.seed} thread {number}")
        children = []
        try:
            while time.monotonic() < self.end and not self.errors:
                world = self.pool.get()
                if rng.random() < (0.5 if ACTIVE else 0.05):
                    full_collection(wait=False)
                world.work(500)
                if rng.random() < self.args.checks:
                    world.check()
                    self.checks += 1
                if rng.random() < self.args.forks:
                    children.append(world.check_in_fork())
                    self.forks += 1
                self.pool.put(world)
                if len(children) > 2:
                    self.reap(children)
            self.reap(children)
        except BaseException as e:
            if self.args.abort:
                faulthandler.dump_traceback()
                print(e, file=sys.stderr, flush=True)
                os.abort()
            self.errors.append(e)

    def reap(self, children):
        for pid in children:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if status:
                raise Damage(f"a forked child ended with {status}")
        children.clear()

    def report(self):
        counts = (sum(w.done for w in self.worlds), sum(w.born for w in self.worlds),
                  sum(w.population() for w in self.worlds), self.checks, self.forks)
        text = "torture: {} operations, {} nodes born, {} there, {} checks, {} forks"
        text = text.format(*counts)
        if ACTIVE:
            stats = zgc.stats()
            text += ", {collections} collections, {reclaimed} reclaimed".format(**stats)
        print(text, flush=True)

    def go(self):
        threads = [threading.Thread(target=self.thread, args=(i,))
                   for i in range(self.args.threads)]
        for t in threads:
            t.start()
        for t in threads:
            while t.is_alive():
                t.join(10)
                if self.args.seconds > 30:
                    self.report()
        if not self.errors:
            self.finish()
        self.report()
        for e in self.errors:
            print(f"torture: {type(e).__name__}: {e}", file=sys.stderr)
            if not isinstance(e, Damage):
                sys.excepthook(type(e), e, e.__traceback__)
        if self.errors:
            print(f"torture: FAILED, python {sys.version.split()[0]}, again with:\n"
                  f"  {sys.executable} {__file__} --seed {self.args.seed} "
                  f"--seconds {self.args.seconds} --threads {self.args.threads} "
                  f"--objects {self.args.objects}", file=sys.stderr)
        return 1 if self.errors else 0

    def finish(self):
        """The last check, then the end of every world: all must go."""
        try:
            for world in self.worlds:
                world.check()
                world.drop(2)
                if world.check() or world.population():
                    raise Damage(f"{world.population()} nodes left of an empty world")
            if ACTIVE:
                print(f"torture: zgc.verify(): {zgc.verify()} objects")
                if zgc.stats()["faults"] and not os.environ.get("ZGC_FAULT"):
                    raise Damage(f"{zgc.stats()['faults']} faults")
        except (Damage, RuntimeError) as e:
            self.errors.append(e)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--objects", type=int, default=20000,
                        help="nodes to keep (20000); each is 2 to 8 Python objects")
    parser.add_argument("--checks", type=float, default=0.02, metavar="P",
                        help="probability of a full check after 500 operations (0.02)")
    parser.add_argument("--forks", type=float, default=0.005, metavar="P",
                        help="probability of a check in a forked child (0.005)")
    parser.add_argument("--kinds", help="only these: " + ",".join(KINDS))
    parser.add_argument("--operations", help="only these: " + ",".join(World.WEIGHTS))
    parser.add_argument("--abort", action="store_true", help="abort() at the first damage")
    args = parser.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    faulthandler.enable()
    sys.setswitchinterval(0.001)
    warnings.simplefilter("ignore", DeprecationWarning)     # fork with threads, from 3.12 on
    print(f"torture: seed {args.seed}, python {sys.version.split()[0]}, "
          f"{'zgc' if ACTIVE else 'stock'}", flush=True)
    return Run(args).go()


if __name__ == "__main__":
    sys.exit(main())
