"""Everything the gc module's documentation promises, as a program sees it."""

import gc
import json
import os
import re
import sys
import textwrap
import unittest
import weakref

from zgctest import ACTIVE, age, automatic_gc_off, collect, main, requires_active, run, zgc


# What the programs of Documentation begin with.
PRINTED = """
import gc, sys, weakref
def attempt(function, *arguments):
    try:
        print(function(*arguments))
    except Exception as error:
        print(type(error).__name__, error)
"""


class Node:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Plain:
    pass


def ring(n=2, cls=Node):
    """A ring of n instances; returns one of them."""
    nodes = [cls() for _ in range(n)]
    for i, node in enumerate(nodes):
        node.next = nodes[i - 1]
    return nodes[0]


def garbage_lists(n):
    for _ in range(n):
        x = []
        x.append(x)


class Collect(unittest.TestCase):
    """gc.collect is synchronous and its counts are exact, whatever collects behind it."""

    def test_counts_of_each_generation(self):
        for generation in (0, 1, 2):
            with self.subTest(generation), automatic_gc_off():
                garbage_lists(25)
                self.assertEqual(gc.collect(generation), 25)
                self.assertEqual(gc.collect(generation), 0)

    def test_counts_of_each_container(self):
        def in_dict(x):
            x["me"] = x
            return x

        def in_set(x):
            x.add(Node(s=x))
            return x

        def in_tuple(x):
            x.append((x,))
            return x
        # An instance's attributes are an object of their own only where they are a dict.
        for make, counts in ((lambda: in_dict({}), {1}), (lambda: in_tuple([]), {2}),
                             (lambda: in_set(set()), {2, 3}), (lambda: ring(2), {2, 4})):
            with automatic_gc_off():
                make()
                self.assertIn(gc.collect(), counts)

    def test_default_is_a_full_collection(self):
        with automatic_gc_off():
            ref = weakref.ref(ring())
            gc.collect(0)
            self.assertIsNone(ref())
            keep = ring()
            ref = weakref.ref(keep)
            for generation in (0, 1):       # into the oldest generation
                gc.collect(generation)
            del keep
            self.assertIn(gc.collect(), (2, 4))
            self.assertIsNone(ref())

    def test_young_collection_leaves_old_garbage(self):
        with automatic_gc_off():
            x = []
            x.append(x)
            gc.collect()
            del x
            self.assertEqual(gc.collect(0), 0)
            self.assertEqual(gc.collect(1), 0)
            self.assertEqual(gc.collect(2), 1)

    def test_generation_one_reaches_survivors_of_generation_zero(self):
        with automatic_gc_off():
            x = []
            x.append(x)
            gc.collect(0)
            del x
            self.assertEqual(gc.collect(0), 0)
            self.assertEqual(gc.collect(1), 1)

    def test_arguments(self):
        self.assertIsInstance(gc.collect(generation=1), int)
        self.assertRaises(ValueError, gc.collect, -1)
        self.assertRaises(ValueError, gc.collect, 3)
        self.assertRaises(TypeError, gc.collect, "x")
        self.assertRaises(TypeError, gc.collect, 1, 2)

    def test_count_includes_uncollectable_under_saveall(self):
        with automatic_gc_off():
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                garbage_lists(7)
                self.assertEqual(gc.collect(), 7)
            finally:
                gc.set_debug(0)
            self.assertEqual(len(gc.garbage), 7)
            self.assertTrue(all(x[0] is x for x in gc.garbage))
            for x in gc.garbage:
                x.clear()
            gc.garbage.clear()

    def test_live_data_survives_in_full(self):
        data = {i: [i, (i,), {str(i)}] for i in range(20000)}
        data["self"] = data
        for generation in (0, 1, 2):
            gc.collect(generation)
        self.assertEqual(len(data), 20001)
        for i in range(20000):
            self.assertEqual(data[i], [i, (i,), {str(i)}])

    def test_nested_collect_returns_zero(self):
        results = []

        class Nested:
            def __del__(self):
                results.append(gc.collect())
        with automatic_gc_off():
            x = Nested()
            x.me = x
            del x
            self.assertGreaterEqual(gc.collect(), 1)
        self.assertEqual(results, [0])


class SmallHeap(unittest.TestCase):
    """gc.collect() of few objects is CPython's own, and counts as any other."""

    PROGRAM = """
        import gc, sys, zgc
        gc.disable()
        gc.collect(1)       # of the start
        keep = [[] for _ in range(int(sys.argv[1]))]
        ring = [keep]
        ring.append(ring)
        del ring
        events = []
        gc.callbacks.append(lambda phase, info: events.append((phase, dict(info))))
        before, generation = zgc.stats(), gc.get_stats()[2]
        assert gc.collect() == 1
        after = zgc.stats()
        told = [(phase, info["generation"], info["collected"]) for phase, info in events]
        assert told == [("start", 2, 0), ("stop", 2, 1)], told
        for name in "collections", "collections_system_gc", "found", "reclaimed", "pauses":
            assert after[name] == before[name] + 1, name
        for name in "collections", "collected":
            assert gc.get_stats()[2][name] == generation[name] + 1, name
        print(after["types_registered"] > 0)
        """

    def is_ours(self, objects, small=100000):
        return run(self.PROGRAM, objects, preload=True, options={"SMALL": small}).out == "True\n"

    def test_below_the_limit_nothing_of_ours_is_started(self):
        if os.environ.get("ZGC_STRESS") or os.environ.get("ZGC_VERIFY"):
            self.skipTest("then all collections are ours")
        self.assertFalse(self.is_ours(100))
        self.assertFalse(self.is_ours(20000, small=40000))
        self.assertTrue(self.is_ours(20000, small=20000))

    def test_from_the_limit_on_it_is_ours(self):
        self.assertTrue(self.is_ours(100, small=0))
        self.assertTrue(self.is_ours(100000))

    def test_objects_in_the_place_of_other_memory_are_counted(self):
        result = run("""
            import gc, zgc
            gc.disable()
            buffer = bytearray(20_000_000)
            gc.collect()
            del buffer
            gc.collect()
            keep = [[] for _ in range(50000)]
            gc.collect()
            print(zgc.stats()["types_registered"] > 0)
        """, preload=True, options={"SMALL": 40000})
        self.assertEqual(result.out, "True\n")

    def test_in_a_forked_child_it_is_ours(self):
        """CPython's own would copy the memory that it shares."""
        run("""
            import gc, os, zgc
            gc.collect()
            ours = zgc.stats()["types_registered"]
            if not os.fork():
                gc.collect()
                os._exit(not zgc.stats()["types_registered"] > ours)
            assert os.wait()[1] == 0
        """, preload=True, options={"STRESS": 0, "VERIFY": 0, "SMALL": 100000})

    def test_who_looks_at_the_census_has_all_in_it(self):
        run("""
            import gc, zgc
            class Thing: pass
            def drop():
                thing = Thing()
                thing.me = thing
                del thing
                gc.collect()
                return zgc.census("total").get("Thing", (0,))[0]
            assert [drop() for _ in range(3)] == [0, 1, 2]
        """, preload=True, options={"STRESS": 0, "VERIFY": 0, "SMALL": 100000})

    def test_objects_stay_known_when_cpython_has_sorted_them_anew(self):
        run("""
            import gc, weakref, zgc
            class Node: pass
            def ring():
                one, other = Node(), Node()
                one.next, other.next = other, one
                return one
            zgc.collect()   # warm from here on
            rings = [ring() for _ in range(1000)]
            zgc.collect()
            assert gc.collect() == 0
            rings += [ring() for _ in range(1000)]
            seen = [weakref.ref(r) for r in rings]
            rings.clear()
            assert zgc.collect() == 4000 and not any(r() for r in seen)
        """, preload=True, options={"SMALL": 100000})


class WarmingUp(unittest.TestCase):
    def test_what_the_proofs_were_made_on_is_not_counted(self):
        # The library warms up in an automatic collection, in which it cannot reclaim its samples.
        run('''
            import gc, zgc
            warm = False
            def look(phase, info):
                global warm
                warm = warm or phase == "stop" and zgc.stats()["types_registered"] > 0
            gc.callbacks.append(look)
            keep = []
            while not warm:
                keep.append([keep])
            gc.callbacks.clear()
            assert len(keep) > 1000
            found = gc.collect()
            assert found == 0, found
        ''', preload=True)


class Switch(unittest.TestCase):
    def tearDown(self):
        gc.enable()

    def test_enable_disable_isenabled(self):
        self.assertTrue(gc.isenabled())
        gc.disable()
        self.assertFalse(gc.isenabled())
        gc.disable()
        gc.enable()
        self.assertTrue(gc.isenabled())

    def test_disabled_means_no_automatic_collection(self):
        gc.collect()
        gc.disable()
        refs = [weakref.ref(ring()) for _ in range(20)]
        age_lists = [[] for _ in range(300000)]
        del age_lists
        self.assertTrue(all(r() is not None for r in refs))
        self.assertGreater(gc.collect(), 0)
        self.assertTrue(all(r() is None for r in refs))

    def test_enabled_means_young_garbage_goes_by_itself(self):
        refs = [weakref.ref(ring()) for _ in range(200)]
        age()
        self.assertTrue(all(r() is None for r in refs))

    @requires_active
    def test_disabled_means_no_concurrent_collection_starts(self):
        gc.disable()
        zgc.collect()
        before = zgc.stats()["collections"]
        keep = [[[]] for _ in range(400000)]
        self.assertEqual(zgc.stats()["collections"], before)
        self.assertEqual(len(keep), 400000)

    def test_old_garbage_goes_by_itself(self):
        """Old garbage is found without any call, given enough growth of the heap."""
        rings = [ring(3) for _ in range(3000)]
        refs = [weakref.ref(r) for r in rings]
        age()
        rings.clear()
        keep = []
        for _ in range(400):
            keep.append([[i] for i in range(5000)])
            if all(r() is None for r in refs):
                break
        self.assertEqual(sum(r() is not None for r in refs), 0)

    def test_switching_while_collecting(self):
        with automatic_gc_off():
            seen = []

            class Toggle:
                def __del__(self):
                    gc.enable()
                    seen.append(gc.isenabled())
                    gc.disable()
            x = Toggle()
            x.me = x
            del x
            gc.collect()
            self.assertEqual(seen, [True])
            self.assertFalse(gc.isenabled())


class Thresholds(unittest.TestCase):
    def setUp(self):
        self.addCleanup(gc.set_threshold, *gc.get_threshold())

    def test_defaults_are_this_versions(self):
        expected = (2000, 10, 10) if sys.version_info >= (3, 13) else (700, 10, 10)
        self.assertEqual(gc.get_threshold(), expected)

    def test_set_and_get(self):
        gc.set_threshold(973, 17, 23)
        self.assertEqual(gc.get_threshold(), (973, 17, 23))
        age()
        collect()
        self.assertEqual(gc.get_threshold(), (973, 17, 23))

    def test_partial_set_keeps_the_others(self):
        gc.set_threshold(700, 12, 13)
        gc.set_threshold(800)
        self.assertEqual(gc.get_threshold(), (800, 12, 13))
        gc.set_threshold(800, 5)
        self.assertEqual(gc.get_threshold(), (800, 5, 13))

    def test_bad_arguments(self):
        before = gc.get_threshold()
        self.assertRaises(TypeError, gc.set_threshold)
        self.assertRaises(TypeError, gc.set_threshold, "x")
        self.assertRaises(TypeError, gc.set_threshold, 1, 2, 3, 4)
        self.assertEqual(gc.get_threshold(), before)

    def test_zero_switches_automatic_collection_off(self):
        gc.collect()
        gc.set_threshold(0)
        refs = [weakref.ref(ring()) for _ in range(20)]
        lists = [[] for _ in range(200000)]
        self.assertTrue(all(r() is not None for r in refs))
        self.assertTrue(gc.isenabled())
        self.assertEqual(len(lists), 200000)

    def test_low_threshold_collects_at_once(self):
        for before in range(40):            # young collections; now and then one makes all survivors old
            with self.subTest(before):
                gc.set_threshold(5)
                keep = [[] for _ in range(5 * before)]
                gc.collect()    # a generation 0 that is large for this threshold grows old without a look
                ref = weakref.ref(ring())
                keep = [[] for _ in range(2000)]
                self.assertIsNone(ref())
                self.assertEqual(len(keep), 2000)


class Counts(unittest.TestCase):
    def test_count_follows_allocation(self):
        with automatic_gc_off():
            gc.collect()
            first = gc.get_count()
            keep = [Plain() for _ in range(300)]
            second = gc.get_count()
            self.assertEqual(len(first), 3)
            self.assertIn(second[0] - first[0], range(295, 310))
            self.assertEqual(second[1:], first[1:])
            del keep
            third = gc.get_count()
            self.assertLessEqual(third[0], second[0] - 290)

    def test_explicit_collections_count_in_the_next_generation(self):
        with automatic_gc_off():
            gc.collect()
            self.assertEqual(gc.get_count()[1:], (0, 0))
            gc.collect(0)
            self.assertEqual(gc.get_count()[1:], (1, 0))
            gc.collect(0)
            self.assertEqual(gc.get_count()[1:], (2, 0))
            gc.collect(1)
            self.assertEqual(gc.get_count()[1:], (0, 1))
            gc.collect(2)
            self.assertEqual(gc.get_count()[1:], (0, 0))

    def test_values_stay_in_the_users_thresholds(self):
        limits = gc.get_threshold()
        for _ in range(50):
            keep = [[] for _ in range(3000)]
            counts = gc.get_count()
            self.assertTrue(all(type(c) is int and c >= 0 for c in counts), counts)
            # 3.12+ collects at the next eval breaker check, so the list above may overshoot.
            self.assertLessEqual(counts[0], limits[0] + 3100)
            self.assertLessEqual(counts[1], limits[1] + 1)
        self.assertEqual(len(keep), 3000)


class Stats(unittest.TestCase):
    def test_shape(self):
        stats = gc.get_stats()
        self.assertEqual(len(stats), 3)
        for generation in stats:
            for key in ("collections", "collected", "uncollectable"):
                self.assertIs(type(generation[key]), int)
            self.assertTrue(all(v >= 0 for v in generation.values()))

    def test_keys_and_types_are_those_of_stock(self):
        """3.15 has "candidates" and "duration" as well."""
        code = """
            import gc
            gc.collect()
            print(*([(k, type(v).__name__) for k, v in g.items()] for g in gc.get_stats()))
        """
        self.assertEqual(run(code).out, run(code, preload=False).out)

    def test_each_generation_grows_by_its_own_collections(self):
        for generation in (0, 1, 2):
            with self.subTest(generation), automatic_gc_off():
                before = gc.get_stats()
                garbage_lists(10)
                self.assertEqual(gc.collect(generation), 10)
                after = gc.get_stats()
                for i in range(3):
                    ran = int(i == generation)
                    self.assertEqual(after[i]["collections"] - before[i]["collections"], ran, i)
                    self.assertEqual(after[i]["collected"] - before[i]["collected"], 10 * ran, i)

    @unittest.skipUnless("candidates" in gc.get_stats()[0], "3.15 counts them")
    def test_candidates_are_all_that_a_collection_looked_at(self):
        keep = [[] for _ in range(5000)]
        for collect in (gc.collect, zgc.collect) if ACTIVE else (gc.collect,):
            before = gc.get_stats()[2]["candidates"]
            collect()
            self.assertGreaterEqual(gc.get_stats()[2]["candidates"] - before, len(keep))

    def test_the_snapshot_is_a_copy(self):
        gc.get_stats()[0]["collections"] = -1
        self.assertGreaterEqual(gc.get_stats()[0]["collections"], 0)

    def test_automatic_young_collections_are_counted(self):
        before = gc.get_stats()[0]["collections"]
        age()
        self.assertGreater(gc.get_stats()[0]["collections"], before)

    @requires_active
    def test_concurrent_collections_count_as_generation_2(self):
        rings = [ring() for _ in range(500)]
        age()
        before = gc.get_stats()[2]
        rings.clear()
        self.assertGreaterEqual(zgc.collect(), 1000)
        after = gc.get_stats()[2]
        self.assertGreater(after["collections"], before["collections"])
        self.assertGreaterEqual(after["collected"] - before["collected"], 1000)


class Objects(unittest.TestCase):
    def test_get_objects_lists_live_tracked_objects(self):
        mine = [Node() for _ in range(50)]
        ids = {id(o) for o in gc.get_objects()}
        self.assertTrue(all(id(n) in ids for n in mine))
        self.assertNotIn(id("text"), ids)
        age()
        collect()
        ids = {id(o) for o in gc.get_objects()}
        self.assertTrue(all(id(n) in ids for n in mine))

    def test_each_object_is_listed_once(self):
        age()
        seen = [id(o) for o in gc.get_objects()]
        self.assertEqual(len(seen), len(set(seen)))

    def test_by_generation(self):
        with automatic_gc_off():
            gc.collect()
            mine = [Node()]

            def where():
                return [g for g in (0, 1, 2)
                        if any(o is mine for o in gc.get_objects(generation=g))]
            self.assertEqual(where(), [0])
            gc.collect(0)
            self.assertEqual(where(), [1])
            gc.collect(1)
            self.assertEqual(where(), [2])
            gc.collect(2)
            self.assertEqual(where(), [2])

    def test_generations_make_up_the_whole(self):
        with automatic_gc_off():
            keep = [[] for _ in range(100)]
            parts = [len(gc.get_objects(g)) for g in (0, 1, 2)]
            whole = len(gc.get_objects())
            self.assertLess(abs(whole - sum(parts)), 20)
            self.assertEqual(len(keep), 100)

    def test_arguments(self):
        self.assertIsInstance(gc.get_objects(None), list)
        self.assertRaises(ValueError, gc.get_objects, -2)
        self.assertRaises(ValueError, gc.get_objects, 3)
        self.assertRaises(TypeError, gc.get_objects, "1")

    def test_nothing_of_the_library_shows(self):
        """The objects a program did not make are those that stock has, by type."""
        code = """
            import collections, gc
            kinds = collections.Counter(type(o).__name__ for o in gc.get_objects())
            for name in sorted(kinds):
                print(name)
        """
        stock = set(run(code, preload=False).out.split())
        ours = set(run(code).out.split())
        self.assertLessEqual(ours - stock, {"module"})

    def test_every_listed_object_can_be_used(self):
        keep = [Node(a=[i]) for i in range(1000)]
        age()
        for o in gc.get_objects():
            self.assertTrue(gc.is_tracked(o))
            self.assertGreater(sys.getrefcount(o), 0)
        self.assertEqual(len(keep), 1000)

    def test_referrers(self):
        target = Node()
        holders = [[target], (target,), {"k": target}, Node(t=target), {target}]
        for how in (lambda: None, age, collect):
            how()
            found = gc.get_referrers(target)
            for h in holders[:3] + holders[4:]:
                self.assertTrue(any(f is h for f in found), type(h))
            attributes = holders[3].__dict__
            self.assertTrue(any(f is attributes or f is holders[3] for f in found))
        self.assertEqual(gc.get_referrers(Node()), [])

    def test_referents(self):
        a, b = Node(), Node()
        self.assertEqual(gc.get_referents([a, b, 1]), [1, b, a])
        self.assertEqual(gc.get_referents((a,), [b]), [a, b])
        self.assertIn(a, gc.get_referents({"k": a}))
        self.assertIn(Node, gc.get_referents(a))
        self.assertEqual(gc.get_referents(1, "x", 4.5), [])
        self.assertEqual(gc.get_referents(), [])

    def test_is_tracked(self):
        self.assertFalse(gc.is_tracked(0))
        self.assertFalse(gc.is_tracked("a"))
        self.assertTrue(gc.is_tracked([]))
        self.assertTrue(gc.is_tracked({"a": []}))
        self.assertTrue(gc.is_tracked(Node()))

    def test_tracking_is_that_of_stock(self):
        """3.14 tracks every dict, and no tuple that is made of a list of atoms."""
        code = """
            import gc
            made = [{}, {"a": 1}, {1: (2,)}, {"a": []}, tuple([1, "x"]), tuple([1, []]),
                    tuple([(3, 4), "y"]), frozenset("ab"), set(), [], object(), type("T", (), {})()]
            print(*map(gc.is_tracked, made))
            gc.collect()
            gc.collect()    # a tuple in another may be looked at after it
            print(*map(gc.is_tracked, made))
        """
        self.assertEqual(run(code).out, run(code, preload=False).out)

    def test_collection_untracks_plain_tuples_as_ever(self):
        t = tuple(iter(range(3)))   # 3.14 does not even track one that is made of a list
        self.assertTrue(gc.is_tracked(t))
        gc.collect()
        self.assertFalse(gc.is_tracked(t))

    def test_one_collection_untracks_what_it_does_in_stock(self):
        """Of tuples in tuples one collection may untrack more than stock's does, and never less."""
        code = """
            import gc, json
            gc.disable()
            def chain(n):
                links = [tuple([None, 0])]
                for i in range(n):
                    links.append(tuple([links[-1], i]))
                return links
            shapes = [chain(200), chain(200)[::-1], [tuple([tuple([i]), i]) for i in range(50)],
                      [{i: tuple([tuple([i])])} for i in range(50)], [tuple([{}, i]) for i in range(50)],
                      [{1: {2: tuple([1])}} for i in range(50)], [tuple([tuple([[]])]) for i in range(50)],
                      [tuple([int, type("A", (), {}), tuple([1])])], [tuple([int, tuple([1])])],
                      [tuple(tuple([i, j]) for j in range(10)) for i in range(50)]]
            tracked = []
            for _ in range(4):
                gc.collect()
                tracked.append([[gc.is_tracked(o) for o in shape] for shape in shapes])
            print(json.dumps(tracked))
        """
        ours, stock = (json.loads(run(code, preload=p).out) for p in (None, False))
        for n, (mine, theirs) in enumerate(zip(ours, stock)):
            for shape, (a, b) in enumerate(zip(mine, theirs)):
                self.assertLessEqual(sum(a), sum(b), f"shape {shape} after {n + 1} collections")
        # With anything else than tuples in it, it is the same.
        for shape in (4, 6, 7):
            self.assertEqual([n[shape] for n in ours], [n[shape] for n in stock])

    def test_a_tuple_in_the_making_stays_tracked(self):
        """Its items are still to come, and one of them may refer to it."""
        def items(last):
            yield from range(9)
            gc.collect()
            collect()
            age()
            yield last      # the tenth fills the tuple that was guessed: it is not made anew
        last = Node()
        made = tuple(items(last))
        self.assertTrue(gc.is_tracked(made))
        last.made = made
        ref = weakref.ref(last)
        del last, made
        collect()
        gc.collect()
        self.assertIsNone(ref())

    def test_is_finalized(self):
        class Phoenix(Node):
            def __del__(self):
                limbo.append(self)
        limbo = []
        x = Phoenix()
        self.assertFalse(gc.is_finalized(x))
        self.assertFalse(gc.is_finalized(3))
        x.me = x
        del x
        collect()
        collect() if not limbo else None
        self.assertTrue(gc.is_finalized(limbo[0]))
        limbo[0].me = None
        limbo.clear()


class Freeze(unittest.TestCase):
    def tearDown(self):
        gc.unfreeze()

    def test_counts(self):
        gc.unfreeze()
        self.assertEqual(gc.get_freeze_count(), 0)
        keep = [Node() for _ in range(100)]
        gc.freeze()
        self.assertGreater(gc.get_freeze_count(), 100)
        # Objects die out of the permanent generation like everywhere.
        before = gc.get_freeze_count()
        del keep
        self.assertLessEqual(gc.get_freeze_count(), before - 100)
        gc.unfreeze()
        self.assertEqual(gc.get_freeze_count(), 0)

    def test_frozen_objects_leave_the_generations(self):
        mine = [Node()]
        gc.freeze()
        self.assertFalse(any(o is mine for o in gc.get_objects()))
        gc.unfreeze()
        self.assertTrue(any(o is mine for o in gc.get_objects(2)))

    def test_frozen_garbage_stays_until_unfreeze(self):
        x = ring()
        ref = weakref.ref(x)
        age()
        gc.freeze()
        del x
        for _ in range(2):
            gc.collect()
            collect()
            age()
        self.assertIsNotNone(ref())
        self.assertIs(type(ref().next), Node)
        gc.unfreeze()
        collect()
        self.assertIsNone(ref())

    def test_what_is_frozen_holds_what_is_not(self):
        frozen = Node()
        age()
        gc.freeze()
        frozen.young = ring(10)
        ref = weakref.ref(frozen.young)
        for _ in range(3):
            age()
            collect()
        self.assertIsNotNone(ref())
        self.assertIs(frozen.young.next.next.__class__, Node)
        del frozen.young
        age()
        collect()
        self.assertIsNone(ref())

    def test_collections_go_on_beside_frozen_objects(self):
        keep = [[i] for i in range(50000)]
        gc.freeze()
        for _ in range(3):
            rings = [ring() for _ in range(1000)]
            refs = [weakref.ref(r) for r in rings]
            age()
            del rings
            collect()
            self.assertEqual(sum(r() is not None for r in refs), 0)
        gc.unfreeze()
        collect()
        self.assertTrue(all(keep[i] == [i] for i in range(50000)))

    @requires_active
    def test_classes_that_die_after_a_freeze_are_forgotten(self):
        """Others are born at their addresses, with other attributes."""
        code = """
            import gc, zgc
            def own(count):
                one = type("Own", (), {})()
                for i in range(count):
                    setattr(one, f"a{i}", [])
                return one
            made = [own(6) for _ in range(200)]
            gc.collect()
            gc.freeze()
            gc.unfreeze()
            gc.set_debug(gc.DEBUG_UNCOLLECTABLE)    # a full collection of CPython's
            made.clear()
            gc.collect()
            gc.set_debug(0)
            made = [own(1) for _ in range(400)]
            print(zgc.verify() > 0)
        """
        self.assertEqual(run(code, options={"VERIFY": 1}).out, "True\n")

    def test_freeze_while_a_collection_runs(self):
        keep = [[[i]] for i in range(100000)]
        dead = [ring() for _ in range(1000)]
        refs = [weakref.ref(d) for d in dead]
        age()
        for freeze in (gc.freeze, gc.unfreeze) * 5:
            if ACTIVE:
                zgc.collect(wait=False)
            freeze()
            [[] for _ in range(20000)]
        del dead
        gc.unfreeze()
        collect()
        self.assertEqual(sum(r() is not None for r in refs), 0)
        self.assertTrue(all(keep[i] == [[i]] for i in range(100000)))


class Callbacks(unittest.TestCase):
    def setUp(self):
        self.events = []
        saved = gc.callbacks[:]
        self.addCleanup(lambda: gc.callbacks.__setitem__(slice(None), saved))
        gc.callbacks.append(self.note)

    def note(self, phase, info):
        self.events.append((phase, dict(info)))

    def test_the_list_is_empty_for_a_new_program(self):
        self.assertEqual(run("import gc; print(gc.callbacks)").out, "[]\n")

    def test_start_and_stop_of_explicit_collections(self):
        for generation in (0, 1, 2):
            with self.subTest(generation), automatic_gc_off():
                garbage_lists(3)
                self.events.clear()
                self.assertEqual(gc.collect(generation), 3)
                self.assertEqual([p for p, _ in self.events], ["start", "stop"])
                start, stop = self.events[0][1], self.events[1][1]
                for info in (start, stop):
                    self.assertLessEqual({"generation", "collected", "uncollectable"}, set(info))
                    self.assertEqual(info["generation"], generation)
                self.assertEqual((stop["collected"], stop["uncollectable"]), (3, 0))
                self.assertEqual((start["collected"], start["uncollectable"]), (0, 0))

    def check_pairs(self):
        """start and stop alternate, each pair of one generation."""
        self.assertEqual(len(self.events) % 2, 0)
        for (p1, i1), (p2, i2) in zip(self.events[::2], self.events[1::2]):
            self.assertEqual((p1, p2), ("start", "stop"))
            self.assertEqual(i1["generation"], i2["generation"])

    def test_automatic_collections_come_in_pairs(self):
        self.events.clear()
        age()
        self.assertGreater(len(self.events), 0)
        self.check_pairs()

    def test_concurrent_collection_reports_generation_2(self):
        rings = [ring() for _ in range(300)]
        age()
        self.events.clear()
        rings.clear()
        collect()
        self.check_pairs()
        full = [i for p, i in self.events if p == "stop" and i["generation"] == 2]
        self.assertGreaterEqual(sum(i["collected"] for i in full), 600)

    def test_collected_in_callbacks_agrees_with_get_stats(self):
        rings = [ring() for _ in range(300)]
        age()
        gc.disable()  # nothing may come between the two records, which are made one after the other
        before = gc.get_stats()
        self.events.clear()
        gc.enable()
        rings.clear()
        collect()
        gc.collect()
        garbage_lists(10)
        gc.collect(1)
        gc.disable()
        stops = [i for p, i in self.events if p == "stop"]
        after = gc.get_stats()
        gc.enable()
        for g in (0, 1, 2):
            mine = [i for i in stops if i["generation"] == g]
            self.assertEqual(after[g]["collected"] - before[g]["collected"],
                             sum(i["collected"] for i in mine), f"generation {g}")
            self.assertEqual(after[g]["collections"] - before[g]["collections"], len(mine),
                             f"generation {g}")

    def test_user_clears_the_list(self):
        gc.callbacks.clear()
        self.events.clear()
        refs = [weakref.ref(ring()) for _ in range(50)]
        age()
        collect()
        self.assertEqual(self.events, [])
        self.assertTrue(all(r() is None for r in refs))
        gc.callbacks.append(self.note)
        gc.collect()
        self.assertGreater(len(self.events), 0)

    def test_user_fills_the_list_with_slices(self):
        gc.callbacks[:] = [self.note, self.note]
        self.events.clear()
        with automatic_gc_off():
            self.events.clear()
            gc.collect()
            self.assertEqual([p for p, _ in self.events], ["start", "start", "stop", "stop"])

    def test_user_rebinds_the_name(self):
        """gc.callbacks = [] changes the module's attribute, not what is called."""
        original = gc.callbacks
        gc.callbacks = []
        try:
            self.events.clear()
            gc.collect()
            self.assertGreater(len(self.events), 0)
        finally:
            gc.callbacks = original

    def test_callback_added_and_removed_while_called(self):
        def once(phase, info):
            gc.callbacks.remove(once)
            self.events.append(("once", {}))
        gc.callbacks.insert(0, once)
        self.events.clear()
        with automatic_gc_off():
            gc.collect()
        self.assertEqual([p for p, _ in self.events].count("once"), 1)
        self.assertNotIn(once, gc.callbacks)

    def test_a_raising_callback_is_reported_and_the_rest_go_on(self):
        reported = []
        hook, sys.unraisablehook = sys.unraisablehook, lambda u: reported.append(u.exc_type)

        def bad(phase, info):
            raise ZeroDivisionError
        gc.callbacks.insert(0, bad)
        try:
            with automatic_gc_off():
                self.events.clear()
                reported.clear()
                garbage_lists(2)
                self.assertEqual(gc.collect(), 2)
                self.assertEqual([p for p, _ in self.events], ["start", "stop"])
                self.assertEqual(reported, [ZeroDivisionError] * 2)
            age()
        finally:
            gc.callbacks.remove(bad)
            sys.unraisablehook = hook

    def test_a_callback_that_is_not_callable(self):
        reported = []
        hook, sys.unraisablehook = sys.unraisablehook, lambda u: reported.append(u.exc_type)
        gc.callbacks.append(42)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(42)
            sys.unraisablehook = hook
        self.assertIn(TypeError, reported)

    def test_collect_from_a_callback_does_nothing(self):
        results = []

        def nested(phase, info):
            results.append(gc.collect())
        gc.callbacks.append(nested)
        with automatic_gc_off():
            results.clear()
            garbage_lists(4)
            self.assertEqual(gc.collect(), 4)
            self.assertEqual(results, [0, 0])

    def test_callback_that_allocates(self):
        kept = []

        def allocate(phase, info):
            kept.append([[] for _ in range(3000)])
            garbage_lists(100)
        gc.callbacks.append(allocate)
        with automatic_gc_off():
            gc.collect()
        gc.callbacks.remove(allocate)
        self.assertTrue(all(len(k) == 3000 for k in kept))

    @requires_active
    def test_zgc_collect_from_a_callback_and_a_finalizer_ends(self):
        results = []

        def nested(phase, info):
            results.append(zgc.collect())
        gc.callbacks.append(nested)
        gc.collect()
        zgc.collect()
        gc.callbacks.remove(nested)

        class Final:
            def __del__(self):
                results.append(zgc.collect())
        x = Final()
        x.me = x
        del x
        gc.collect()
        self.assertTrue(all(type(r) is int for r in results))
        self.assertGreaterEqual(len(results), 5)


class DebugFlags(unittest.TestCase):
    def tearDown(self):
        gc.set_debug(0)
        gc.garbage.clear()

    def test_get_and_set(self):
        self.assertEqual(gc.get_debug(), 0)
        gc.set_debug(gc.DEBUG_COLLECTABLE | gc.DEBUG_UNCOLLECTABLE)
        self.assertEqual(gc.get_debug(), gc.DEBUG_COLLECTABLE | gc.DEBUG_UNCOLLECTABLE)
        self.assertEqual(gc.DEBUG_LEAK,
                         gc.DEBUG_COLLECTABLE | gc.DEBUG_UNCOLLECTABLE | gc.DEBUG_SAVEALL)

    def test_garbage_is_empty_in_normal_life(self):
        garbage_lists(100)
        collect()
        self.assertEqual(gc.garbage, [])

    def test_saveall_also_for_concurrent_collections(self):
        rings = [ring() for _ in range(20)]
        age()
        gc.set_debug(gc.DEBUG_SAVEALL)
        del rings
        for _ in range(3):
            collect()
        gc.set_debug(0)
        saved = [o for o in gc.garbage if type(o) is Node]
        self.assertEqual(len(saved), 40)
        self.assertEqual(len({id(o) for o in saved}), 40)
        self.assertTrue(all(type(o.next) is Node for o in saved))

    def test_printed_output(self):
        code = """
            import gc, sys
            gc.collect()
            gc.disable()
            gc.set_debug(int(sys.argv[1]))
            x = []; x.append(x); del x
            gc.collect()
            gc.set_debug(0)
        """
        for flags, wanted, unwanted in (
                (gc.DEBUG_STATS,
                 ["gc: collecting generation 2...", "gc: objects in each generation:",
                  "gc: done, 1 unreachable, 0 uncollectable"], ["gc: collectable"]),
                (gc.DEBUG_COLLECTABLE, ["gc: collectable <list 0x"], ["gc: done"])):
            with self.subTest(flags=flags):
                err = run(code, flags).err
                for text in wanted:
                    self.assertIn(text, err)
                for text in unwanted:
                    self.assertNotIn(text, err)

    def test_uncollectable_legacy_finalizers(self):
        try:
            from _testcapi import with_tp_del
        except ImportError:
            self.skipTest("needs _testcapi")

        @with_tp_del
        class Legacy:
            def __tp_del__(self):
                pass

        def make():
            x = Legacy()
            x.me = x
            x.payload = [1, 2, 3]
        make()
        age()
        for _ in range(2):
            collect()
        gc.collect()
        found = [o for o in gc.garbage if type(o) is Legacy]
        self.assertEqual(len(found), 1)
        self.assertEqual(found[0].payload, [1, 2, 3])
        found[0].me = None

    def test_uncollectable_objects_at_exit_are_reported(self):
        code = """
            import gc
            gc.set_debug(gc.DEBUG_UNCOLLECTABLE)
            gc.garbage.extend([] for i in range(5))
        """
        self.assertIn("gc: 5 uncollectable objects at shutdown",
                      run(code, flags=("-Walways",)).err)


class Documentation(unittest.TestCase):
    """What the documentation says and shows, printed by the same program on stock: not a word differs.
    Left out are addresses, times, and how many objects there are besides the program's."""

    maxDiff = None

    def same(self, code, *flags):
        code = PRINTED + textwrap.dedent(code)
        stock = run(code, flags=flags, preload=False)

        def clean(text):
            text = re.sub(r"0x[0-9a-f]+|[0-9.]+s elapsed|permanent generation: \d+", "", text)
            # An empty list of ours stands in the oldest generation.
            return re.sub(r"(each generation: \d+ \d+) \d+", r"\1", text)
        for small in (0, 100000):   # our full collection, and CPython's own
            ours = run(code, flags=flags, options={"SMALL": small})
            self.assertEqual(clean(ours.out), clean(stock.out))
            self.assertEqual(clean(ours.err), clean(stock.err))
            self.assertNotEqual(ours.out + ours.err, "")

    def test_the_examples(self):
        self.same("""
            print([gc.is_tracked(x) for x in (0, "a", [], {}, {"a": 1}, {"a": []}, (), None, int, gc)])
            x = None
            class Lazarus:
                def __del__(self):
                    global x
                    x = self
            lazarus = Lazarus()
            print(gc.is_finalized(lazarus))
            del lazarus
            print(gc.is_finalized(x), gc.is_finalized(3), gc.is_finalized([]))
        """)

    def test_switches_thresholds_counts(self):
        self.same("""
            print(gc.isenabled(), gc.disable(), gc.isenabled(), gc.enable(), gc.isenabled())
            print(gc.get_threshold(), gc.set_threshold(500), gc.get_threshold(),
                  gc.set_threshold(1, 2, 3), gc.get_threshold(), gc.set_threshold(0), gc.get_threshold())
            for arguments in ((), ("a",), (1, 2, 3, 4), (2**40,), (1.5,), (None,), (-1, -2, -3)):
                attempt(gc.set_threshold, *arguments)
            print(gc.get_threshold())
            for arguments in ((-1,), (3,), ("2",), (None,), (1, 2), (True,), (2**70,)):
                attempt(gc.collect, *arguments)
            attempt(lambda: gc.collect(generation=2) * 0)
            attempt(lambda: gc.collect(gen=2))
            gc.disable()
            for generation in (2, 0, 0, 1, 0, 2, 1, 1, 0, 2):
                gc.collect(generation)
                print(gc.get_count()[1:], end=" ")
        """)

    def test_collect_counts_in_statistics_and_callbacks(self):
        self.same("""
            gc.disable()
            gc.callbacks.append(lambda phase, info: told.append((phase, sorted(info.items())[:4]
                                                                if sys.version_info < (3, 15) else phase)))
            told = []
            gc.collect(1)       # what start-up has left
            told.clear()
            for generation in (2, 0, 1, 2, 0, 2):
                for _ in range(generation + 3):
                    x = []; x.append(x)
                del x
                before = gc.get_stats()
                print(gc.collect(generation), end=" ")
                after = gc.get_stats()
                print([{key: b[key] - a[key] for key in ("collections", "collected", "uncollectable")}
                       for a, b in zip(before, after)])
            print(*told, sep="\\n")
        """)

    def test_debug_output(self):
        for flags in ("DEBUG_STATS", "DEBUG_COLLECTABLE", "DEBUG_UNCOLLECTABLE", "DEBUG_SAVEALL", "DEBUG_LEAK",
                      "DEBUG_STATS | gc.DEBUG_LEAK"):
            for generation in (0, 1, 2):
                with self.subTest(flags=flags, generation=generation):
                    self.same(f"""
                        gc.disable()
                        gc.freeze()
                        gc.collect()
                        class A: pass
                        gc.freeze()
                        gc.set_debug(gc.{flags})
                        a, b = A(), []
                        a.me, a.list = a, b; b.append(b)
                        del a, b
                        print(gc.collect({generation}), gc.get_debug())
                        gc.set_debug(0)
                        print([type(x).__name__ for x in gc.garbage])
                    """)

    def test_uncollectable_in_every_account(self):
        self.same("""
            try:
                from _testcapi import with_tp_del
            except ImportError:
                print("no _testcapi"); sys.exit()
            gc.disable()
            @with_tp_del
            class Legacy:
                def __tp_del__(self): pass
            def make():
                x = Legacy(); x.me = x; x.list = [x]
            gc.collect()
            gc.callbacks.append(lambda phase, info: phase == "stop" and print(
                info["generation"], info["collected"], info["uncollectable"]))
            for generation in (0, 1, 2):
                make()
                before = gc.get_stats()[generation]["uncollectable"]
                print(gc.collect(generation), gc.get_stats()[generation]["uncollectable"] - before,
                      [type(x).__name__ for x in gc.garbage])
            gc.set_debug(gc.DEBUG_UNCOLLECTABLE)
            make()
            gc.collect()
        """, "-Wignore")

    def test_garbage_at_exit(self):
        for flags, code in ((("-Wdefault",), "gc.garbage.append(1)"), ((), "gc.garbage.append(1)"),
                            ((), "gc.set_debug(gc.DEBUG_UNCOLLECTABLE); gc.garbage.append('thing')")):
            self.same("print('end', file=sys.stderr)\n" + code, *flags)

    def test_frozen_objects(self):
        self.same("""
            gc.disable()
            gc.collect()
            class A: pass
            def where(x):
                return [g for g in (0, 1, 2) if any(o is x for o in gc.get_objects(generation=g))]
            a = A(); a.me = a
            r = weakref.ref(a)
            print(gc.get_freeze_count(), where(a), gc.freeze(), gc.get_freeze_count() > 0, where(a),
                  any(o is a for o in gc.get_objects()), gc.get_count())
            b = A(); b.me = b
            print(where(b), gc.collect(), where(b), where(a))
            del a
            print(gc.collect(), r() is None, gc.unfreeze(), gc.get_freeze_count(), where(r()), gc.get_count())
            print(gc.collect() > 0, r() is None)
        """)

    def test_looking_at_objects(self):
        self.same("""
            gc.disable()
            x = {"key": (1, [2])}
            print(gc.get_referents(x), gc.get_referents(1, "a"), gc.get_referents(), gc.get_referents([3, 4], (5,)))
            holder = [x]
            print([r for r in gc.get_referrers(x) if r is holder], gc.get_referrers())
            for arguments in ((-1,), (-2,), (3,), ("1",), (None, 1)):
                attempt(lambda *a: type(gc.get_objects(*a)), *arguments)
            seen = []
            sys.addaudithook(lambda event, arguments: seen.append((event, len(arguments)))
                             if event.startswith("gc.") else None)
            gc.get_objects(); gc.get_objects(1); gc.get_referrers(x); gc.get_referents(x)
            print(seen)
        """)


class ModuleSurface(unittest.TestCase):
    def test_names_and_documentation(self):
        """Names, signatures and help texts are those of stock."""
        code = """
            import gc, inspect
            for name in sorted(dir(gc)):
                o = getattr(gc, name)
                print(name, type(o).__name__, getattr(o, "__text_signature__", ""),
                      (getattr(o, "__doc__", "") or "") if callable(o) else "",
                      getattr(o, "__module__", ""), getattr(o, "__qualname__", ""))
        """
        self.assertEqual(run(code).out, run(code, preload=False).out)

    def test_reimport_gives_the_same_behaviour(self):
        saved = sys.modules.pop("gc")
        try:
            import gc as again
            again.set_threshold(*saved.get_threshold())
            self.assertEqual(again.get_threshold(), saved.get_threshold())
            with automatic_gc_off():
                garbage_lists(3)
                self.assertEqual(again.collect(), 3)
            self.assertIs(again.garbage, saved.garbage)
        finally:
            sys.modules["gc"] = saved


if __name__ == "__main__":
    main()
