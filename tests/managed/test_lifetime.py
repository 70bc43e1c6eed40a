"""What bodies hold ends when they do: Python objects, weak references, cycles through both worlds, and at exit."""

import gc
import os
import tempfile
import unittest
import weakref

import zgc
from zgctest import main, requires_active, run


class Node(zgc.Object):
    value: object
    other: object


class Holder:
    pass


def cycle(depth=0):
    """body -> holder -> lists in lists -> body; a weak reference to the holder."""
    holder = Holder()
    node = Node(holder, None)
    inner = node
    for _ in range(depth):
        inner = [inner]
    holder.inner = inner
    node.other = [Node(holder), node]
    return weakref.ref(holder)


def one_collection():
    zgc.collect("full")
    gc.collect()


class Cycles(unittest.TestCase):

    def alive(self, refs):
        return sum(ref() is not None for ref in refs)

    def test_many_go_in_one_collection(self):
        refs = [cycle() for _ in range(5000)]
        one_collection()
        self.assertEqual(self.alive(refs), 0)

    def test_deep_ones(self):
        refs = [cycle(depth) for depth in (9, 100, 5000)]
        one_collection()
        self.assertEqual(self.alive(refs), 0)

    def test_cycles_of_several_bodies_and_objects_each(self):
        """What one cycle consists of is judged together, however many cycles there are."""
        def make(bodies):
            nodes = [Node() for _ in range(bodies)]
            for node, following in zip(nodes, nodes[1:]):
                node.value = [following]
            nodes[-1].value = nodes[0]
        one_collection()
        before = zgc.stats()["managed"]["python_references"]
        for _ in range(3000):
            make(6)
        zgc.collect("full")
        left = zgc.stats()["managed"]["python_references"] - before
        self.assertLess(left, 1500)     # of 15,000: a batch of the judge may cut one cycle

    def test_a_long_chain_of_bodies_and_objects(self):
        first = last = Holder()
        for _ in range(20000):
            step = Holder()
            last.body = Node(step)
            last = step
        last.body = Node(first)
        ref = weakref.ref(first)
        del first, last, step
        one_collection()
        self.assertIsNone(ref())

    def test_a_chain_that_is_no_cycle(self):
        """body -> list -> body and so on: each link ends the next one."""
        first = last = Node()
        refs = []
        for _ in range(5000):
            step = Node(Holder())
            refs.append(weakref.ref(step.value))
            last.other = [step]
            last = step
        del first, last, step
        one_collection()
        self.assertEqual(self.alive(refs), 0)

    def test_one_component_of_many_handles(self):
        holder = Holder()
        holder.bodies = [Node(holder) for _ in range(5000)]
        ref = weakref.ref(holder)
        del holder
        one_collection()
        self.assertIsNone(ref())

    def test_many_classes_in_one_group(self):
        holder = Holder()
        holder.bodies = []
        for i in range(30):
            kind = type(zgc.Object)("Kind%d" % i, (zgc.Object,), {"__annotations__": {"value": object}})
            holder.bodies.append(kind(holder))
            holder.bodies.append(kind)
        ref = weakref.ref(holder)
        del holder, kind
        for _ in range(3):
            one_collection()
        self.assertIsNone(ref())

    def test_what_a_live_body_holds_stays(self):
        roots = [Node(Holder()) for _ in range(2000)]
        for node in roots:
            node.value.inner = [Node(node.value, 7)]
        refs = [weakref.ref(node.value) for node in roots]
        for _ in range(3):
            one_collection()
        self.assertEqual(self.alive(refs), 2000)
        self.assertTrue(all(node.value.inner[0].value is node.value and node.value.inner[0].other == 7
                            for node in roots))
        roots.clear()
        del node
        one_collection()
        self.assertEqual(self.alive(refs), 0)

    def test_what_is_held_from_outside_stays(self):
        node = Node()
        node.value = {"deep": [[node]]}
        held = node.value["deep"][0]
        del node
        one_collection()
        self.assertIs(held[0].value["deep"][0], held)


class Classes(unittest.TestCase):

    def test_their_number_is_bounded_by_those_that_live(self):
        def count():
            return sum(isinstance(each, type(zgc.Object)) for each in gc.get_objects())

        one_collection()
        before = count()
        for i in range(200):
            for _ in range(25):
                class Kind(zgc.Object):
                    value: object
                    number: zgc.i64
                kind = Kind(i, i)
                self.assertEqual((kind.value, kind.number), (i, i))
            del Kind, kind
            if i % 20 == 19:
                one_collection()
        one_collection()
        self.assertLessEqual(count(), before)

    def test_one_whose_default_leads_back_to_it(self):
        def make():
            default = [Holder()]

            class Kind(zgc.Object):
                value: object = default

            class Below(Kind):
                other: object = default
            default += [Kind, Below, Kind(), Below()]
            return weakref.ref(default[0])
        gone = [make() for _ in range(20)]
        for _ in range(2):
            one_collection()
            gc.collect()
        self.assertEqual(sum(each() is not None for each in gone), 0)

    def test_a_new_class_does_not_take_the_bodies_of_an_old_one(self):
        def make(i):
            class Kind(zgc.Object):
                value: object
            return Kind, Kind(i)
        kept = [make(i) for i in range(50)]
        kinds = [make(i)[0] for i in range(50)]
        del kinds
        one_collection()
        more = [make(100 + i) for i in range(50)]
        for i, (kind, body) in enumerate(kept + more):
            self.assertIs(type(body), kind)
            self.assertEqual(body.value, i if i < 50 else i + 50)


class Weak(unittest.TestCase):

    def test_all_end_in_the_collection_that_finds_the_bodies_dead(self):
        values = weakref.WeakValueDictionary((i, Node(i)) for i in range(20000))
        zgc.collect("full")
        self.assertEqual(len(values), 0)

    def test_callbacks_are_called_once(self):
        called = []
        refs = [weakref.ref(Node(i), called.append) for i in range(10000)]
        zgc.collect("full")
        self.assertEqual(sum(ref() is not None for ref in refs), 0)
        self.assertEqual(len(called), 10000)
        self.assertEqual(len(set(map(id, called))), 10000)

    def test_those_that_are_used_live(self):
        keep = zgc.List(Node(i) for i in range(5000))
        refs = [weakref.ref(node) for node in keep] + [weakref.ref(Node(i)) for i in range(5000)]
        zgc.collect("full")
        self.assertEqual([ref().value for ref in refs[:5000]], list(range(5000)))
        self.assertTrue(all(ref() is None for ref in refs[5000:]))


class Pressure(unittest.TestCase):

    def test_what_dead_bodies_hold_starts_collections(self):
        """Payloads of 400 MB pass through bodies; all but a part of them has been freed on the way."""
        result = run("""
            import zgc
            class Node(zgc.Object):
                value: object
            most = 0
            for i in range(40000):
                node = Node(bytearray(10000))
                if i % 500 == 0:
                    with open("/proc/self/statm") as f:
                        most = max(most, int(f.read().split()[1]) * 4096)
            print(most < 250_000_000, most)
            """, preload=True)
        self.assertTrue(result.out.startswith("True"), result.out)


@requires_active
class Exit(unittest.TestCase):

    def test_files_are_flushed_and_finalizers_run(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "out")
            result = run("""
                import sys, zgc
                class Record:
                    def __del__(self):
                        print("finalized", self.name)
                class Node(zgc.Object):
                    value: object
                record = Record()
                record.name = "record"
                file = open(sys.argv[1], "w")
                file.write("text")
                record.file = file
                node = Node(record)
                del record
                """, path, preload=True)
            self.assertEqual(result.out, "finalized record\n")
            with open(path) as file:
                self.assertEqual(file.read(), "text")


if __name__ == "__main__":
    main()
