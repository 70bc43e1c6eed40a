"""What differs between CPython releases, and must be seen in each of them: classes, free lists,
inline values, dicts that are tracked from the start."""

import gc
import sys
import unittest
import weakref

from zgctest import ACTIVE, age, collect, main, requires_active, run, zgc


class Node:
    pass


class Values(unittest.TestCase):
    """An instance and its __dict__ share the values; which of the two reports them varies."""

    def check(self, keep):
        def make():
            node = Node()
            node.a, node.b, node.me = Node(), [node], node
            return node, keep(node)
        twins = [make() for _ in range(200)]
        age()
        dead = [weakref.ref(node) for node, _ in twins[::2]]
        live = twins[1::2]
        del twins
        collect()
        self.assertEqual([r() for r in dead if r() is not None], [])
        for node, kept in live:
            self.assertIs(node.me.b[0], node)
            self.assertEqual(gc.is_tracked(node), True)
        del node, kept
        dead = [weakref.ref(node) for node, _ in live]
        live.clear()
        collect()
        self.assertEqual([r() for r in dead if r() is not None], [])

    def test_without_a_dict(self):
        self.check(lambda node: None)

    def test_with_a_dict(self):
        self.check(lambda node: len(node.__dict__))

    def test_dict_held_by_the_ring(self):
        def hold(node):
            node.b.append(node.__dict__)
        self.check(hold)

    def test_dict_that_grew_beyond_the_values(self):
        def grow(node):
            for i in range(40):
                setattr(node, f"x{i}", [])
        self.check(grow)

    def test_dict_outlives_the_instance(self):
        node = Node()
        node.child = Node()
        node.child.up = node.__dict__
        kept, gone = node.__dict__, weakref.ref(node.child)
        age()
        del node
        collect()
        self.assertIsNotNone(gone())
        del kept
        collect()
        self.assertIsNone(gone())


class Untracking(unittest.TestCase):
    def test_dict_gets_its_first_reference_after_a_full_collection(self):
        dicts = [{"number": 1} for _ in range(100)] + [{} for _ in range(100)]
        age()
        gc.collect()
        gone = []
        for d in dicts:
            d["node"] = Node()
            d["node"].home = d
            gone.append(weakref.ref(d["node"]))
        del d
        dicts.clear()
        gc.collect()
        self.assertEqual([r for r in gone if r() is not None], [])


@requires_active
class Registry(unittest.TestCase):
    def test_classes_that_existed_before_the_first_collection_have_walkers(self):
        # Generation 0 is full, so that a young collection is due while the walkers are being proven.
        result = run("""
            import gc
            gc.disable()
            classes = [type(f'Early{i}', (), {}) for i in range(60)]
            keep = [c() for c in classes for _ in range(100)]
            for o in keep: o.x = o
            gc.enable()
            import zgc
            zgc.collect()
        """, options={"LOG_LEVEL": "debug"})
        deferred = [line for line in result.log.splitlines() if "Early" in line and "deferred" in line]
        self.assertEqual(deferred, [])

    def test_c_types_are_learned_from_their_instances(self):
        run("""
            import contextvars, gc, zgc
            keep = [contextvars.copy_context() for _ in range(30000)]
            gc.collect()
            zgc.collect()
            deferred = zgc.stats()["deferred_objects"]
            assert deferred < 10000, deferred
        """)

    def test_a_field_that_is_set_after_its_type_was_learned_hides_no_garbage(self):
        run("""
            import asyncio, gc, weakref, zgc
            class Node: pass
            loop = asyncio.new_event_loop()
            futures = [loop.create_future() for _ in range(30000)]
            gc.collect()
            zgc.collect() # all are old, and none has a result
            gone = []
            for future in futures:
                node = Node()
                node.future = future
                future.set_result(node)
                gone.append(weakref.ref(node))
            del future, futures, node
            zgc.collect()
            zgc.collect() # some were promoted while the first was under way
            left = sum(r() is not None for r in gone)
            assert left == 0, left
            loop.close()
        """)

    def test_class_that_takes_the_place_of_a_dead_one(self):
        # The collector meets a new class as that of an old object; the class dies soon, and the
        # next one at its address has more fields, through which a ring goes.
        run("""
            import gc, time, zgc
            class Home: __slots__ = ("a",)
            class Base: __slots__ = ("b", "c")
            def finish(done):
                while zgc.stats()["collections"] < done + 1: time.sleep(0.001)
            gc.collect()
            old = [Home() for _ in range(10)] # more than a walker is proven on
            again = 0
            for i in range(40):
                gc.collect()
                done = zgc.stats()["collections"]
                young = type("Young", (), {"__slots__": ("a",)})
                address = id(young)
                for o in old: o.__class__ = young
                zgc.collect(wait=False)
                finish(done)
                for o in old: o.__class__ = Home
                del young
                gc.collect()
                others = []
                for k in range(20):
                    later = type("Later", (Base,), {"__slots__": ("a",)}) # the same size
                    if id(later) == address: break
                    others.append(later)
                else:
                    continue
                again += 1
                objects = [later() for _ in range(5)]
                for o in objects: o.a, o.b, o.c = None, [o], None
                gc.collect()
                del objects, o, later
                found = gc.collect()
                assert found >= 10, found
            assert again, "no address was used twice"
        """)

    def test_members_of_free_lists_hold_nothing(self):
        # A tuple that was freed keeps its words; what they pointed at is garbage all the same.
        rings = [[] for _ in range(400)]
        for ring in rings:
            ring.append(ring)
            ring.append(Node())
        tuples = [(ring,) * (i % 19 + 1) for i, ring in enumerate(rings)]
        age()
        gone = [weakref.ref(ring[1]) for ring in rings]
        del ring
        tuples.clear()
        rings.clear()
        zgc.collect()
        self.assertEqual(sum(r() is not None for r in gone), 0)


@requires_active
class Reports(unittest.TestCase):
    def test_batches_are_reported_like_collections_of_generation_2(self):
        seen = []
        gc.collect()
        keys = set()
        def note(phase, info):
            keys.add(frozenset(info))
            if phase == "stop" and info["generation"] == 2:
                seen.append(dict(info))
        before = gc.get_stats()
        rings = [[] for _ in range(3000)]
        for ring in rings: ring.append(ring)
        age()
        gc.callbacks.append(note)
        del ring, rings
        zgc.collect()
        gc.callbacks.remove(note)
        gc.collect(0)
        self.assertEqual(len(keys), 1, keys)
        self.assertGreaterEqual(sum(info["collected"] for info in seen), 3000)
        after = gc.get_stats()
        self.assertEqual(set(before[0]), set(after[0]))
        self.assertGreaterEqual(after[2]["collected"] - before[2]["collected"], 3000)
        self.assertLess(after[0]["collected"] - before[0]["collected"], 3000)
        if "duration" in after[2]:
            self.assertGreater(after[2]["duration"], before[2]["duration"])
            self.assertGreaterEqual(after[2]["candidates"] - before[2]["candidates"], 3000)


if __name__ == "__main__":
    main()
