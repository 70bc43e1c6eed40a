"""zgc.census(): against the program's own count, gc.get_objects() and the heap's size."""

import collections
import gc
import json
import os
import re
import unittest

from zgctest import age, automatic_gc_off, main, requires_active, run, zgc


LARGE = 10000       # above the integers that CPython keeps ready


class Plain:
    def __init__(self, number):
        self.number = LARGE + number
        self.text = "text %d" % number


class Slotted:
    __slots__ = ("first", "second")


class Nested:
    class Inner:
        pass


def name_of(kind):
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


def difference(before, after):
    """{name: (objects, bytes)} of what has come and gone between two censuses."""
    found = {}
    for name in set(before) | set(after):
        pair = tuple(b - a for a, b in zip(before.get(name, (0, 0)), after.get(name, (0, 0))))
        if pair != (0, 0):
            found[name] = pair
    return found


@requires_active
class Live(unittest.TestCase):
    def setUp(self):
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def grown(self, make):
        """What making a thing adds to the census, and to the memory in use."""
        before = json.dumps(zgc.census())       # one object, where the dict has hundreds
        used = zgc.stats()["heap_used"]
        made = make()
        used = zgc.stats()["heap_used"] - used
        after = zgc.census()
        self.assertIsNotNone(made)
        return difference(json.loads(before), after), used

    def check(self, make, expected):
        """Objects exactly; bytes of all types together as the heap has grown."""
        grown, used = self.grown(make)
        for name, count in expected.items():
            # A few lists, dicts and ints are the test's own.
            slack = 0 if name in ("Plain", "Slotted", "Nested.Inner") else 20
            self.assertLessEqual(abs(grown.get(name, (0, 0))[0] - count), slack, (name, grown))
        total = sum(size for _, size in grown.values())
        # What is no object's: the table of interned strings may grow, a list of ours, too.
        self.assertLessEqual(abs(total - used), 0.01 * used + 300000, (total, used, grown))

    def test_lists_tuples_and_numbers(self):
        self.check(lambda: [[LARGE + i, (10 * LARGE + i, str(i))] for i in range(40000)],
                   {"list": 40001, "tuple": 40000, "str": 40000, "int": 80000})
        self.check(lambda: [float(i) for i in range(200000)], {"float": 200000, "list": 1})
        self.check(lambda: [bytes(100 + i % 500) for i in range(40000)], {"bytes": 40000, "list": 1})

    def test_dicts_sets_and_deques(self):
        self.check(lambda: [{i: [], "a": i} for i in range(LARGE, LARGE + 5000)],
                   {"dict": 5000, "list": 5001, "int": 5000})
        self.check(lambda: [{n: None for n in range(300)} for _ in range(100)], {"dict": 100})
        self.check(lambda: [set(range(i % 40)) for i in range(5000)], {"set": 5000})
        self.check(lambda: [frozenset([(LARGE + i,)]) for i in range(5000)],
                   {"frozenset": 5000, "tuple": 5000})
        self.check(lambda: [collections.deque(range(i % 300)) for i in range(2000)],
                   {"collections.deque": 2000})

    def test_instances(self):
        self.check(lambda: [Plain(i) for i in range(40000)],
                   {"Plain": 40000, "str": 40000, "int": 40000})
        self.check(lambda: [Slotted() for _ in range(40000)], {"Slotted": 40000, "list": 1})
        self.check(lambda: [Nested.Inner() for _ in range(3000)], {"Nested.Inner": 3000})

    def test_instances_whose_dict_was_asked_for(self):
        self.check(lambda: [one.__dict__ and one for one in map(Plain, range(10000))],
                   {"Plain": 10000, "dict": 10000, "str": 10000})

    def test_subclasses_count_their_storage(self):
        class Table(dict):
            pass

        class Row(list):
            pass
        made = []

        def make():
            for i in range(2000):
                made.append(Table({n: n for n in range(50)}))
                made.append(Row(range(100)))
            return made
        grown, used = self.grown(make)
        prefix = "Live.test_subclasses_count_their_storage.<locals>."
        self.assertEqual(grown[prefix + "Table"][0], 2000)
        self.assertEqual(grown[prefix + "Row"][0], 2000)
        self.assertGreater(grown[prefix + "Table"][1], 2000 * 50 * 16)
        self.assertGreater(grown[prefix + "Row"][1], 2000 * 100 * 8)
        total = sum(size for _, size in grown.values())
        self.assertLessEqual(abs(total - used), 0.01 * used + 300000)

    def test_every_type_that_gc_get_objects_knows(self):
        keep = [Plain(i) for i in range(1000)] + [Slotted() for _ in range(1000)]
        census, objects = zgc.census(), gc.get_objects()
        listed = collections.Counter([name_of(type(o)) for o in objects])
        self.assertEqual(len(keep), 2000)
        for name, count in listed.items():
            if name in ("tuple", "dict", "frozenset"):      # the census has the untracked, too
                self.assertGreaterEqual(census[name][0], count - 10)
            else:
                self.assertLessEqual(abs(census[name][0] - count), 10, name)

    def test_most_bytes_first_and_all_of_the_heap(self):
        census = zgc.census()
        sizes = [size for _, size in census.values()]
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertTrue(all(type(k) is str and type(n) is int and type(b) is int and n > 0
                            for k, (n, b) in census.items()))
        used = zgc.stats()["heap_used"]
        self.assertLessEqual(sum(sizes), used)
        self.assertAlmostEqual(zgc.census("live")["type"][0], zgc.census(of="live")["type"][0])

    def test_one_string_in_many_places_is_one(self):
        text = "x" * 1000
        grown, _ = self.grown(lambda: [[text] for _ in range(5000)])
        self.assertLessEqual(grown.get("str", (0, 0))[0], 5)
        self.assertLessEqual(abs(grown["list"][0] - 5001), 20)

    def test_untracked_containers_are_looked_into(self):
        def make():
            made = [((str(i),), {str(i): str(-i)}) for i in range(3000)]
            gc.collect()            # untracks tuples and dicts of strings
            self.assertFalse(gc.is_tracked(made[7][0]))     # 3.14 tracks all dicts
            return made
        grown, _ = self.grown(make)
        self.assertLessEqual(abs(grown["str"][0] - 9000), 40, grown)    # single digits are shared
        self.assertLessEqual(abs(grown["tuple"][0] - 6000), 20)
        self.assertLessEqual(abs(grown["dict"][0] - 3000), 20)

    def test_frozen_objects_are_counted(self):
        run("""
            import gc, zgc
            class Node: pass
            keep = [Node() for _ in range(5000)]
            for node in keep: node.text = "a%d" % id(node)
            before = zgc.census()
            gc.freeze()
            after = zgc.census()
            assert before["Node"] == after["Node"] == (5000, before["Node"][1]), after["Node"]
            assert abs(after["str"][0] - before["str"][0]) < 50
            gc.unfreeze()
            assert zgc.census()["Node"][0] == 5000
        """)

    def test_generators_threads_and_whatever_runs(self):
        """Traversing what is being executed is what CPython's collector does, too."""
        run("""
            import threading, zgc
            stop = threading.Event()
            def churn():
                while not stop.is_set():
                    def g():
                        yield from ([i, {i: (i,)}] for i in range(100))
                    list(g())
            threads = [threading.Thread(target=churn) for _ in range(3)]
            for t in threads: t.start()
            for _ in range(50):
                assert zgc.census()["list"][0] > 0
            stop.set()
            for t in threads: t.join()
        """)

    def test_refusals(self):
        for word in ("dead", "", "LIVE", "x" * 1000):
            with self.assertRaisesRegex(ValueError, "not one of 'live', 'last', 'total'"):
                zgc.census(word)
        for wrong in ((1,), ("live", 2)):
            with self.assertRaises(TypeError):
                zgc.census(*wrong)
        passive = run("import zgc\ntry: zgc.census()\nexcept RuntimeError as e: print(e)",
                      options={"ENABLE": 0})
        self.assertIn("not active", passive.out)

    def test_memory_is_short(self):
        """No table, no census, no harm."""
        run("""
            import zgc
            try:
                zgc.census()
            except MemoryError as e:
                assert "zgc.census" in str(e), e
            else:
                raise AssertionError("counted without a table")
            zgc.census()
        """, env={"ZGC_FAULT": "table=4"})


class Ring:
    pass


def own_count(made):
    """Objects of each kind in the rings: the program knows that a ring may have a __dict__."""
    found = {}
    todo = list(made)
    while todo:
        one = todo.pop()
        if id(one) not in found and type(one) in (Ring, list, dict):
            found[id(one)] = type(one).__name__
            todo += gc.get_referents(one)
    return collections.Counter(found.values())


def rings(number, kind=Ring):
    """Each with a list and a dict of its own."""
    made = [kind() for _ in range(number)]
    for one in made:
        one.items = [one]
        one.table = {1: one}
    return made


@requires_active
class Garbage(unittest.TestCase):
    def reclaim(self, made, how):
        age()
        zgc.collect()
        with automatic_gc_off():
            total = zgc.census("total")
            count = zgc.stats()["reclaimed"]
            made.clear()
            how()
            count = zgc.stats()["reclaimed"] - count
            last = zgc.census("last")
            self.assertEqual(difference(total, zgc.census("total")), last)
        self.assertEqual(sum(n for n, _ in last.values()), count)
        return last

    def test_both_ways_of_collecting_name_what_was_dropped(self):
        for how in (zgc.collect, gc.collect):
            made = rings(3000)
            expected = own_count(made)
            last = self.reclaim(made, how)
            self.assertEqual((last["Ring"][0], expected["Ring"]), (3000, 3000))
            self.assertGreaterEqual(expected["dict"], 3000)
            for kind in ("list", "dict"):
                self.assertLessEqual(abs(last[kind][0] - expected[kind]), 20, kind)

    def test_bytes_are_what_the_heap_loses(self):
        made = rings(20000)
        for one in made:
            one.items += [None] * 50
        age()
        zgc.collect()
        with automatic_gc_off():
            used = zgc.stats()["heap_used"]
            made.clear()
            gc.collect()
            used -= zgc.stats()["heap_used"]
            reclaimed = sum(size for _, size in zgc.census("last").values())
        # The shared 1 and None aside, all of it was in the rings.
        self.assertLessEqual(abs(reclaimed - used), 0.02 * used, (reclaimed, used))

    def test_what_survives_its_collection_is_not_counted(self):
        saved = []

        class Phoenix:
            def __del__(self):
                saved.append(self)
        for how in (zgc.collect, gc.collect):
            phoenixes = rings(200, Phoenix)
            last = self.reclaim(phoenixes + rings(1000), lambda: (phoenixes.clear(), how()))
            self.assertEqual(last["Ring"][0], 1000)
            self.assertEqual(len(saved), 200)
            self.assertNotIn(name_of(Phoenix), last)
            for one in saved:
                vars(one).clear()
            saved.clear()

    def test_the_log_names_the_same(self):
        result = run("""
            import gc, zgc, json
            from zgctest import age
            class Alpha: pass
            class Beta: pass
            def rings(kind, n):
                made = [kind() for _ in range(n)]
                for one in made: one.me = one
                return made
            made = rings(Alpha, 3000) + rings(Beta, 1000)
            age(); zgc.collect()
            made.clear(); zgc.collect()
            print(json.dumps(zgc.census("last")))
            made = rings(Beta, 700)
            gc.collect()
            made.clear(); gc.collect()
            print(json.dumps(zgc.census("last")))
        """)
        lines = [line.text for line in result.lines() if line.tag == "gc,types"]
        self.assertRegex(result.out, r'"Alpha": \[3000, \d+\], "Beta": \[1000, \d+\]')
        self.assertTrue(any(re.fullmatch(r"GC\(\d+\) garbage Alpha 3000 Beta 1000.*", line)
                            for line in lines), lines)
        self.assertTrue(any(" Beta 700" in line for line in lines), lines)

    def test_more_types_than_rows(self):
        """Types beyond the 255th count together."""
        run("""
            import zgc, gc
            classes = [type("Kind%03d" % i, (), {}) for i in range(400)]
            def make():
                made = [kind() for kind in classes for _ in range(10)]
                for one in made: one.me = one
                return made
            for collect in (zgc.collect, gc.collect):
                made = make()
                zgc.collect()
                gc.disable()
                made.clear()
                collect()
                last = zgc.census("last")
                gc.enable()
                named = {k: v for k, v in last.items() if k.startswith("Kind")}
                assert 200 < len(named) <= 255, len(named)
                assert all(n == 10 for n, _ in named.values())
                assert sum(n for n, _ in named.values()) + last["(other)"][0] == 4000, last["(other)"]
        """)

    def test_classes_that_come_and_go_under_one_name(self):
        """More than rows and places: these are used again."""
        run("""
            import zgc, gc
            zgc.census("total")     # from now on gc.collect() is counted
            for i in range(600):
                class Passing: pass
                one = Passing(); one.me = one
                other = type("Other%d" % (i % 60), (), {})(); other.me = other
                zgc.collect() if i % 100 == 0 else gc.collect(1)
                del one, other, Passing
                gc.collect()
            total = zgc.census("total")
            assert total["Passing"][0] == 600, total["Passing"]
            assert all(total["Other%d" % i][0] == 10 for i in range(60)), total
            assert "(other)" not in total
        """)

    def test_strange_names(self):
        result = run("""
            import zgc, gc
            class Meta(type):
                @property
                def __module__(cls): raise KeyError("no")
            made = []
            for kind in (type("two words", (), {}), type("größe", (), {}), type("n" * 500, (), {}), type("ß" * 100, (), {}),
                         type("x" + "ß" * 100, (), {}),
                         type("Made", (), {"__module__": "some.where"}),
                         type("Odd", (), {"__module__": 7}), Meta("Mine", (), {})):
                one = kind(); one.me = one
                made.append(one)
            zgc.collect()
            made.clear()
            del one, kind
            zgc.collect()
            last = zgc.census("last")
            for name in ("two_words", "größe", "n" * 95, "ß" * 47, "x" + "ß" * 47, "some.where.Made", "Odd", "Mine"):
                assert last[name][0] == 1, last
            zgc.collect()
            class K: pass
            K.__qualname__ = "ß" * 500
            keep = K()
            assert zgc.census()["ß" * 79] == (1, zgc.census()["ß" * 79][1])
        """)
        self.assertEqual(result.err, "")

    def test_a_forked_child_goes_on(self):
        made = rings(1000)
        age()
        zgc.collect()
        pid = os.fork()
        if pid == 0:
            try:
                made.clear()
                zgc.collect()
                status = 0 if zgc.census("last")["Ring"][0] == 1000 else 1
                status |= 0 if zgc.census()["list"][0] > 0 else 2
            except BaseException:
                status = 4
            os._exit(status)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertEqual(len(made), 1000)


if __name__ == "__main__":
    main()
