"""An object that nothing managed refers to is one like any of Python's: its cycles, its end, its weak references."""

import copy
import gc
import os
import pickle
import sys
import threading
import unittest
import weakref

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import zgctest                                                          # noqa: E402
import zgc                                                              # noqa: E402


class Node(zgc.Object):
    x: object
    y: object
    n: zgc.i64


class Rows(zgc.List):
    extra: object


class Thing:
    pass


def made():
    """One of each kind, holding the thing that holds it, and nothing but it."""
    for make in (lambda thing: Node(thing), lambda thing: Node(None, [thing]), lambda thing: Node(x=(thing,)),
                 lambda thing: zgc.List([thing]), lambda thing: zgc.Dict({1: thing}), lambda thing: zgc.Dict({thing: 1}),
                 lambda thing: zgc.Array([None, thing]), lambda thing: zgc.Array([thing])[:],
                 lambda thing: zgc.List([1, thing])[1:], lambda thing: zgc.Dict(a=thing).copy(),
                 lambda thing: copy.copy(Node(thing))):
        yield make
    def with_field(thing):
        rows = Rows()
        rows.extra = thing
        return rows
    yield with_field


class Sole(unittest.TestCase):

    def test_python_collects_young_cycles(self):
        for make in made():
            thing = Thing()
            thing.own = make(thing)
            gone = weakref.ref(thing)
            gc.disable()
            try:
                del thing
                self.assertIsNotNone(gone())
                gc.collect(0)
                self.assertIsNone(gone())
            finally:
                gc.enable()

    def test_what_it_held_goes_with_the_handle(self):
        for make in made():
            thing = Thing()
            own, gone = make(thing), weakref.ref(thing)
            del thing
            self.assertIsNotNone(gone())
            del own
            self.assertIsNone(gone())

    def test_its_weak_references_end_with_the_handle(self):
        calls = []
        for make in made():
            own = make(Thing())
            gone = weakref.ref(own, calls.append)
            del own
            self.assertIsNone(gone())
            self.assertIs(calls.pop(), gone)

    def test_shared_ones_live_on(self):
        thing = Thing()
        gone = weakref.ref(thing)
        for store in (lambda a: Node(a), lambda a: zgc.List([a]), lambda a: zgc.Dict({1: a}), lambda a: zgc.Dict({a: 1}),
                      lambda a: zgc.Array([a])):
            own = Node(thing)
            holder = store(own)
            del own, thing
            gc.collect(0)
            self.assertIsNotNone(gone())
            if isinstance(holder, Node):
                thing = holder.x.x
            elif isinstance(holder, zgc.Dict):
                key, value = holder.popitem()
                thing = (key if value == 1 else value).x
            else:
                thing = holder[0].x
            self.assertIs(thing, gone())
        del holder, thing, key, value
        zgc.collect("full")
        self.assertIsNone(gone())

    def test_shared_by_a_write(self):
        for late in range(3):
            thing, own, other = Thing(), Node(), Node()
            gone = weakref.ref(thing)
            if late == 1:
                other.y = own
            own.x = thing
            if late == 2:
                other.y = own
            elif late == 0:
                setattr(other, "y", own)
            del own, thing
            gc.collect(0)
            self.assertIs(other.y.x, gone())
            del other
            zgc.collect("full")
            self.assertIsNone(gone())

    def test_cycle_of_sole_and_shared(self):
        """One handle that Python's gc could judge, and one that it could not, in one cycle."""
        thing = Thing()
        shared = Node(thing)
        thing.shared, thing.sole = shared, Node(shared, thing)
        gone = weakref.ref(thing)
        del thing, shared
        for _ in range(3):
            zgc.collect("full")
        self.assertIsNone(gone())

    def test_long_chain_ends_without_recursion(self):
        gone = []

        def end_chains():
            for make in (Node, lambda x: zgc.List([x]), lambda x: zgc.Dict({1: x}), lambda x: zgc.Array([x])):
                last = Thing()
                gone.append(weakref.ref(last))
                head = make([last])
                del last
                for _ in range(15000):
                    head = make([head])
                del head
        before = threading.stack_size(1 << 18)
        thread = threading.Thread(target=end_chains)
        thread.start()
        thread.join()
        threading.stack_size(before)
        self.assertEqual([end() for end in gone], [None] * 4)

    def test_finalizer_sees_what_it_held(self):
        seen = []

        class Seer:
            def __del__(self):
                seen.append((self.node.n, self.node.x is self, len(self.row)))

        seer = Seer()
        seer.node, seer.row = Node(seer, n=7), zgc.List([seer, 1])
        del seer
        gc.collect()
        self.assertEqual(seen, [(7, True, 2)])

    def test_resurrection(self):
        kept = []

        class Back:
            def __del__(self):
                kept.append(self)

        back = Back()
        back.node = Node(back, [1, 2])
        del back
        gc.collect()
        self.assertIs(kept[0].node.x, kept[0])
        self.assertEqual(kept[0].node.y, [1, 2])

    def test_order_is_that_of_the_fields(self):
        ended = []

        class Said:
            def __init__(self, name):
                self.name = name

            def __del__(self):
                ended.append(self.name)

        node = Node(Node(Said("a"), Said("b")), Said("c"))
        node = Node([Node(Said("d"), Said("e"))], Said("f"))
        ended.clear()
        del node
        self.assertEqual(ended, ["d", "e", "f"])

    def test_a_finalizer_finds_that_what_it_lets_go_has_gone(self):
        found = []

        class Asks:
            def __init__(self, depth):
                self.depth = depth

            def __del__(self):
                thing = Thing()
                gone = weakref.ref(thing)
                node = Node(thing)
                del thing, node
                found.append(gone() is None)
                if self.depth > 0:
                    Node(Asks(self.depth - 1))
                    found.append(self.depth)
        Node(Asks(3))
        self.assertEqual(found, [True, True, True, True, 1, 2, 3])

    def test_a_full_collection_ends_their_cycles(self):
        for make in made():
            thing = Thing()
            thing.own = make(thing)
            gone = weakref.ref(thing)
            del thing
            zgc.collect("full")
            self.assertIsNone(gone())

    def test_a_thread_that_waits_in_a_finalizer(self):
        """What one thread drops does not wait for another one's finalizer."""
        dropped, started = threading.Event(), threading.Event()

        class Waits:
            def __del__(self):
                started.set()
                dropped.wait(30)

        class Tells:
            def __del__(self):
                dropped.set()

        def drop():
            Node(Waits())
        thread = threading.Thread(target=drop)
        thread.start()
        self.assertTrue(started.wait(30))
        Node([Node(Tells())])
        self.assertTrue(dropped.is_set())
        thread.join()

    def test_what_large_ones_hold_goes_with_the_handle(self):
        for make in (zgc.List, zgc.Array, lambda things: zgc.Dict(enumerate(things)), lambda things: zgc.List(things)[1:]):
            things = [Thing() for _ in range(20_000)]
            ends = [weakref.ref(thing) for thing in things]
            row = make(things)
            del things, row
            self.assertEqual(sum(end() is not None for end in ends), 0)

    def test_large_rows(self):
        thing = Thing()
        row = zgc.List([None] * 5000)
        row.append(thing)
        thing.row = row
        gone = weakref.ref(thing)
        del thing, row
        for _ in range(3):
            zgc.collect("full")
        self.assertIsNone(gone())

    def test_pickled_ones(self):
        node = pickle.loads(pickle.dumps(Node([1], {2: 3}, 4)))
        gone = weakref.ref(node)
        self.assertEqual((node.x, node.y, node.n), ([1], {2: 3}, 4))
        del node
        self.assertIsNone(gone())

    def test_tight_loop_is_bounded(self):
        most = 0
        for i in range(60000):
            thing = Thing()
            thing.own = Node(thing)
            if i % 1000 == 0:
                most = max(most, zgc.stats()["managed"]["handles"])
        self.assertLess(most, 10000)


if __name__ == "__main__":
    zgctest.main()
