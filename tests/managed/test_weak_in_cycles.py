"""Weak references to managed objects of cycles through both worlds: what is used through one keeps what it holds, and
a cycle goes although there are some."""

import gc
import os
import random
import sys
import threading
import unittest
import weakref

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import zgctest                                                          # noqa: E402
import zgc                                                              # noqa: E402

COUNT = 50


class Node(zgc.Object):
    thing: object
    next: object


class Thing:
    pass


class Holder(list):
    pass


def left(references):
    return sum(reference() is not None for reference in references)


def pair():
    """A holder and two nodes in a cycle, which two bodies refer to; weak references to the holder and each node."""
    first, second = Node(), Node()
    holder = Holder([first])
    first.thing, first.next = holder, second
    second.thing, second.next = Thing(), first
    return weakref.ref(holder), weakref.ref(first), weakref.ref(second)


@zgctest.requires_active
class WeakInCycles(unittest.TestCase):

    def setUp(self):
        gc.disable()                    # groups wait for the verdict
        self.addCleanup(gc.enable)
        self.pairs = [pair() for _ in range(COUNT)]
        zgc.collect("full")
        self.assertGreaterEqual(zgc.stats()["managed"]["cycle_groups_left"], COUNT)

    def finish(self):
        gc.enable()
        for _ in range(3):
            gc.collect()
            zgc.collect("full")
        self.assertEqual([left(references) for references in zip(*self.pairs)], [0, 0, 0])
        zgc.verify()

    def test_all_go(self):
        self.finish()

    def test_what_is_held_keeps_what_it_holds(self):
        held = [second() for _, _, second in self.pairs]
        gc.enable()
        gc.collect()
        zgc.collect("full")
        for node in held:
            self.assertIsInstance(node.thing, Thing)
            self.assertIs(node.next.next, node)
            self.assertEqual(node.next.thing, [node.next])
        del held, node
        self.finish()

    def test_what_is_used_keeps_what_it_holds(self):
        for holder, _, second in self.pairs:
            second().next = None
            del holder()[:]             # the first node has no handle any more
        zgc.collect("full")
        new = zgc.List(Node([i]) for i in range(1000))
        for holder, _, second in self.pairs:
            if second() is not None:
                self.assertIsInstance(second().thing, Thing)
        self.assertEqual([node.thing for node in new], [[i] for i in range(1000)])
        self.finish()

    def test_the_last_handle_ends(self):
        for holder, first, _ in self.pairs:
            del holder()[:]
        held = [first() for _, first, _ in self.pairs]
        zgc.collect("full")
        new = zgc.List(Node([i]) for i in range(1000))
        for node in held:
            self.assertEqual(node.thing, [])
            self.assertIsInstance(node.next.thing, Thing)
        self.assertEqual([node.thing for node in new], [[i] for i in range(1000)])
        del held, node
        self.finish()


@zgctest.requires_active
class FoundAgain(unittest.TestCase):

    def test_cycle_through_a_handle_that_only_a_weak_reference_kept(self):
        for is_used in True, False:
            things = []
            for _ in range(COUNT):
                node, owner = Node(), Node()
                owner.next = node
                weak, thing = weakref.ref(node), Thing()
                things.append(weakref.ref(thing))
                holder = [thing]
                if not is_used:
                    node.thing = holder
                del node
                holder.append(weak())
                if is_used:
                    holder[1].thing = holder
                owner.next = None
                del owner, holder, thing
            for _ in range(3):
                gc.collect()
                zgc.collect("full")
            self.assertEqual(left(things), 0)


class Threads(unittest.TestCase):
    """Groups end and are used by other threads while one thread has them judged."""

    def test_threads(self):
        nodes, failures = [Node() for _ in range(50)], []
        row = zgc.List()

        def change(r):
            kind, node, other = r.randrange(7), r.choice(nodes), r.choice(nodes)
            if kind == 0:
                node.thing = [other, node]
                other.next = node
            elif kind == 1:
                node.thing, node.next = None, Node({node: node})
            elif kind == 2:
                row[r.randrange(9):r.randrange(9)] = [Node([row]), [row], other]
            elif kind == 3:
                weak = weakref.ref(node)
                nodes[r.randrange(50)] = Node([weak()], weak)
            elif kind == 4:
                del row[r.randrange(20)::r.choice((2, 3, -3))]
            elif kind == 5 and r.randrange(20) == 0:
                zgc.collect(r.choice(("full", "young")))
            elif kind == 6:
                row.append(Node([Holder([node])], other))

        def work(seed):
            r = random.Random(seed)
            try:
                for _ in range(3000):
                    change(r)
            except BaseException as error:
                failures.append(error)
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
        self.assertEqual(failures, [])
        row.clear()
        nodes.clear()
        for _ in range(3):
            gc.collect()
            zgc.collect("full")
        self.assertEqual(zgc.stats()["managed"]["cycle_groups_left"], 0)
        zgc.verify()


if __name__ == "__main__":
    zgctest.main()
