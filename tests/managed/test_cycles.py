"""Cycles through managed bodies and Python objects are collected, and nothing else is."""

import gc
import random
import unittest
import weakref

import zgc


class Node(zgc.Object):
    next: "Node"
    data: object


class Probe:
    alive = 0

    def __init__(self):
        Probe.alive += 1

    def __del__(self):
        Probe.alive -= 1


def drain():
    for _ in range(3):
        zgc.collect("full")
        gc.collect()


class Cycles(unittest.TestCase):

    def setUp(self):
        drain()
        Probe.alive = 0

    def assertGone(self):
        drain()
        self.assertEqual(Probe.alive, 0)

    def test_through_a_dict(self):
        node = Node()
        node.data = {"self": node, "probe": Probe()}
        del node
        self.assertGone()

    def test_through_a_tuple(self):
        node = Node()
        node.data = (node, Probe())
        del node
        self.assertGone()

    def test_through_an_instance(self):
        class Thing:
            pass
        thing = Thing()
        thing.probe, thing.node = Probe(), Node(data=thing)
        del thing
        self.assertGone()

    def test_through_a_closure(self):
        node = Node()
        probe = Probe()
        node.data = lambda: (node, probe)
        del node, probe
        self.assertGone()

    def test_through_bodies_without_handles(self):
        first, second, third = Node(), Node(), Node()
        first.next, second.next = second, third
        third.data = [first, Probe()]
        del first, second, third
        self.assertGone()

    def test_through_containers(self):
        items = zgc.List([zgc.Dict(), zgc.Array([None])])
        items[0]["list"] = [items, Probe()]
        items[1][0] = {"x": items[0], "p": Probe()}
        del items
        self.assertGone()

    def test_through_a_class(self):
        def make():
            class Own(zgc.Object):
                x: object
            Own.probe = Probe()
            Own.root, Own.other = Own(), Own()
            Own.root.x = Own
            Own.other.x = {"a": Own.root}
            return weakref.ref(Own)
        ref = make()
        self.assertGone()
        self.assertIsNone(ref())

    def test_class_that_is_in_use_stays(self):
        class Own(zgc.Object):
            x: object
        Own.root = Own()
        keep = zgc.Array([Own(x=1)])
        ref = weakref.ref(Own)
        del Own
        drain()
        self.assertIsNotNone(ref())
        self.assertEqual(keep[0].x, 1)
        del keep
        drain()
        self.assertIsNone(ref())

    def test_held_from_a_local_variable(self):
        node = Node()
        node.data = {"self": node, "probe": Probe()}
        for _ in range(3):
            drain()
            self.assertIs(node.data["self"], node)
        self.assertEqual(Probe.alive, 1)
        del node
        self.assertGone()

    def test_held_through_the_python_part_only(self):
        node = Node()
        node.data = {"self": node, "probe": Probe()}
        keep = node.data
        del node
        for _ in range(3):
            drain()
        self.assertIs(keep["self"].data, keep)
        self.assertEqual(Probe.alive, 1)
        del keep
        self.assertGone()

    def test_held_through_another_body(self):
        outer = Node(next=Node(next=Node()))
        inner = outer.next.next
        inner.data = [inner, Probe()]
        del inner
        for _ in range(3):
            drain()
        self.assertIs(outer.next.next.data[0], outer.next.next)
        outer.next = None
        self.assertGone()

    def test_finalizer_that_takes_the_node_back(self):
        saved = []

        class Saviour:
            def __del__(self):
                saved.append(self.node)
        node = Node()
        saviour = Saviour()
        saviour.node = node
        node.data = {"s": saviour, "self": node, "n": 17}
        del node, saviour
        drain()
        self.assertEqual(len(saved), 1)
        self.assertIsInstance(saved[0], Node)
        self.assertEqual(saved[0].data["n"], 17)
        self.assertIs(saved[0].data["self"], saved[0])

    def test_weak_references_into_garbage(self):
        node = Node()
        node.data = {"self": node}
        ref = weakref.ref(node)
        del node
        drain()
        drain()
        self.assertIsNone(ref())

    def test_changing_graph_never_loses_anything(self):
        rnd = random.Random(3)
        roots = [Node() for _ in range(20)]
        for i, root in enumerate(roots):
            root.data = {"i": i}
        for step in range(3000):
            a, b = rnd.randrange(20), rnd.randrange(20)
            what = rnd.randrange(6)
            if what == 0:
                roots[a].data["to"] = roots[b]
            elif what == 1:
                roots[a].next = roots[b]
            elif what == 2:
                node = Node(next=roots[b], data={"i": a, "p": Probe()})
                node.data["self"] = node
                roots[a] = node
            elif what == 3:
                node, hops = roots[a], 0
                while node is not None and hops < 20:
                    self.assertIn("i", node.data)
                    node = node.data.get("to") if hops % 2 else node.next
                    hops += 1
            elif what == 4 and step % 10 == 0:
                zgc.collect("full")
            elif what == 5 and step % 10 == 0:
                gc.collect(rnd.randrange(3))
        roots = root = node = None
        self.assertGone()


if __name__ == "__main__":
    unittest.main()
