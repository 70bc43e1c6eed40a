"""Weak references and finalizers of dead rings: order, count, thread and resurrection.

Each behaviour is checked for gc.collect() and for the concurrent path, which must not differ.
"""

import gc
import os
import subprocess
import sys
import threading
import time
import unittest
import warnings
import weakref

from zgctest import ACTIVE, age, collect, main, run, wait_for, zgc

EVENTS = []


class Node:
    def __init__(self, name="", **attributes):
        self.name = name
        self.me = self
        self.__dict__.update(attributes)


class Final(Node):
    """Runs an action once, when it dies."""

    action = staticmethod(lambda self: None)

    def __del__(self):
        EVENTS.append(self.name)
        type(self).action(self)


def final(do):
    """A Final class whose finalizer calls do(self)."""
    return type("Final_" + do.__name__, (Final,), {"action": staticmethod(do)})


class BothPaths(unittest.TestCase):
    """A test method takes drop(objects): let a list of objects die by one path or the other."""

    def setUp(self):
        EVENTS.clear()

    @staticmethod
    def by_gc_collect(objects):
        objects.clear()
        gc.collect()

    @staticmethod
    def by_concurrent_collection(objects):
        age()
        objects.clear()
        collect()

    def __init_subclass__(cls):
        for name, check in list(vars(cls).items()):
            if name.startswith("check_"):
                for path in ("by_gc_collect", "by_concurrent_collection"):
                    def method(self, check=check, path=path):
                        check(self, getattr(self, path))
                    setattr(cls, f"test_{name[6:]}_{path}", method)


class WeakReferences(BothPaths):
    def check_cleared_and_called_once(self, drop):
        called = []
        objects = [Node(i) for i in range(100)]
        refs = [weakref.ref(o, lambda r, i=i: called.append((i, r))) for i, o in enumerate(objects)]
        drop(objects)
        self.assertEqual([r() for r in refs], [None] * 100)
        self.assertEqual(sorted(i for i, _ in called), list(range(100)))
        self.assertTrue(all(r is refs[i] for i, r in called))

    def check_dead_before_any_callback(self, drop):
        """When the first callback runs, every weak reference into the ring is dead already."""
        seen = []
        a, b = Node("a"), Node("b")
        a.other, b.other = b, a
        refs = []
        for o in (a, b, a, b):
            refs.append(weakref.ref(o, lambda r: seen.append([x() for x in refs])))
        objects = [a, b]
        del a, b, o
        drop(objects)
        self.assertEqual(len(seen), 4)
        self.assertTrue(all(x is None for row in seen for x in row), seen)

    def check_callbacks_of_dead_weakrefs_stay_silent(self, drop):
        called = []

        def die(_):
            called.append(1)
        objects = []
        for _ in range(50):
            a, b = Node(), Node()
            a.other, b.other = b, a
            a.ref = weakref.ref(b, die)         # the reference dies with its target
            objects.append(a)
        del a, b
        drop(objects)
        self.assertEqual(called, [])

    def check_dead_while_finalizers_run(self, drop):
        """A finalizer sees the weak references to its own ring dead already."""
        seen = []
        cls = final(lambda self: seen.append(self.ref() is None))
        target = cls("x")
        target.ref = outside = weakref.ref(target, lambda r: None)
        objects = [target]
        del target
        drop(objects)
        self.assertEqual(seen, [True])
        self.assertIsNone(outside())

    def check_callback_that_raises(self, drop):
        reported = []
        hook, sys.unraisablehook = sys.unraisablehook, lambda u: reported.append(u.exc_type)

        def bad(_):
            raise ZeroDivisionError
        objects = [Node(i) for i in range(10)]
        refs = [weakref.ref(o, bad) for o in objects]
        try:
            drop(objects)
        finally:
            sys.unraisablehook = hook
        self.assertEqual(reported, [ZeroDivisionError] * 10)
        self.assertEqual([r() for r in refs], [None] * 10)

    def check_weak_containers_empty_themselves(self, drop):
        objects = [Node(i) for i in range(200)]
        values = weakref.WeakValueDictionary((o.name, o) for o in objects)
        keys = weakref.WeakKeyDictionary((o, o.name) for o in objects)
        items = weakref.WeakSet(objects)
        live = objects[:20]
        drop(objects)
        self.assertEqual(sorted(values), list(range(20)))
        self.assertEqual(sorted(keys.values()), list(range(20)))
        self.assertEqual(len(items), 20)
        self.assertEqual({id(o) for o in items}, {id(o) for o in live})

    def check_finalize_runs_once_with_its_arguments(self, drop):
        calls = []
        objects = [Node(i) for i in range(50)]
        handles = [weakref.finalize(o, calls.append, o.name) for o in objects]
        drop(objects)
        self.assertEqual(sorted(calls), list(range(50)))
        self.assertFalse(any(h.alive for h in handles))

    def check_proxy(self, drop):
        objects = [Node("x")]
        proxy = weakref.proxy(objects[0])
        self.assertEqual(proxy.name, "x")
        drop(objects)
        self.assertRaises(ReferenceError, getattr, proxy, "name")

    def check_subclass_with_state(self, drop):
        class Ref(weakref.ref):
            pass
        called = []
        objects = [Node(i) for i in range(20)]
        refs = []
        for o in objects:
            r = Ref(o, lambda r: called.append(r.tag))
            r.tag = [o.name]
            refs.append(r)
        del o
        drop(objects)
        self.assertEqual(sorted(called), [[i] for i in range(20)])
        self.assertEqual([r.tag for r in refs], [[i] for i in range(20)])


class Finalizers(BothPaths):
    def check_each_runs_once(self, drop):
        objects = [Final(i) for i in range(300)]
        drop(objects)
        gc.collect()
        self.assertEqual(sorted(EVENTS), list(range(300)))

    def check_older_ones_run_first(self, drop):
        """As in CPython's list. Sizes differ, so that addresses say nothing. No young collection may come in between:
        CPython merges generation 0 into the oldest one before generation 1, so its own order is another one then."""
        def slotted(size):
            def finalize(self):
                EVENTS.append(self.name)
            return type(f"Sized{size}", (), {
                "__slots__": ["name", "other", *(f"field{i}" for i in range(size))],
                "__del__": finalize})
        classes = [slotted(size) for size in (0, 3, 9, 20, 40)]
        objects, live = [], []
        gc.disable()
        self.addCleanup(gc.enable)
        for pair in range(400):
            older, younger = classes[pair % 5](), classes[pair * 3 // 5 % 5]()
            older.name, younger.name = (pair, 0), (pair, 1)
            older.other, younger.other = younger, older
            live.append([pair])
            objects.append(older)
        del older, younger
        gc.enable()
        drop(objects)
        for pair in range(400):
            self.assertLess(EVENTS.index((pair, 0)), EVENTS.index((pair, 1)))

    def test_generator_closes_its_file(self):
        """`finally` runs before the file's own finalizer, which would warn. Young collections
        change CPython's order here, hence there are none."""
        def reader():
            with open(os.devnull) as file:
                yield file
        warned = []
        objects = []
        gc.disable()
        for _ in range(100):
            class Holder:               # a class is a ring
                step = reader().__next__
            Holder.step()
            objects.append(Holder)
        del Holder
        gc.enable()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda *how: warned.append(how)
            objects.clear()
            gc.collect()
        self.assertEqual(warned, [])

    def check_all_run_before_anything_is_torn_down(self, drop):
        """Every finalizer of a ring finds its neighbours whole."""
        seen = []
        cls = final(lambda self: seen.append((self.name, self.next.name, self.next.next.name)))
        ring = [cls(i) for i in range(10)]
        for i, o in enumerate(ring):
            o.next = ring[(i + 1) % 10]
        del o
        drop(ring)
        self.assertEqual(sorted(seen), [(i, (i + 1) % 10, (i + 2) % 10) for i in range(10)])

    def check_resurrection(self, drop):
        limbo = []
        cls = final(lambda self: limbo.append(self))
        objects = [cls(i, data=[i, {i}, (i,)]) for i in range(100)]
        drop(objects)
        self.assertEqual(sorted(o.name for o in limbo), list(range(100)))
        for o in limbo:
            self.assertIs(o.me, o)
            self.assertEqual(o.data, [o.name, {o.name}, (o.name,)])
            self.assertTrue(gc.is_finalized(o))
        refs = [weakref.ref(o) for o in limbo]
        del o
        drop(limbo)
        self.assertEqual([r() for r in refs], [None] * 100)
        self.assertEqual(len(EVENTS), 100)      # never a second time

    def check_resurrecting_one_saves_what_it_holds_and_only_that(self, drop):
        limbo = []
        cls = final(lambda self: limbo.append(self))
        saved, lost = Node("saved"), Node("lost")
        phoenix = cls("phoenix", held=saved)
        saved.phoenix, lost.phoenix = phoenix, phoenix
        refs = [weakref.ref(o) for o in (saved, lost)]
        objects = [phoenix, saved, lost]
        del phoenix, saved, lost
        drop(objects)
        drop(objects)       # CPython may leave what was not saved to the next collection
        self.assertEqual(limbo[0].held.name, "saved")
        self.assertIs(limbo[0].held.phoenix, limbo[0])
        self.assertIsNone(refs[1]())
        drop(limbo)
        drop(limbo)
        self.assertIsNone(refs[0]())

    def check_exceptions_are_reported(self, drop):
        reported = []
        hook, sys.unraisablehook = sys.unraisablehook, lambda u: reported.append(u.exc_type)

        def fail(self):
            raise LookupError
        objects = [final(fail)(i) for i in range(30)]
        refs = [weakref.ref(o) for o in objects]
        try:
            drop(objects)
        finally:
            sys.unraisablehook = hook
        self.assertEqual(reported, [LookupError] * 30)
        self.assertEqual([r() for r in refs], [None] * 30)

    def check_gc_collect_inside(self, drop):
        results = []

        def nested(self):
            results.append(gc.collect())
            [[] for _ in range(5000)]
            results.append(collect())
        objects = [final(nested)(i) for i in range(20)]
        drop(objects)
        self.assertEqual(len(results), 40)
        self.assertEqual(sorted(EVENTS), list(range(20)))

    def check_heavy_allocation_inside(self, drop):
        kept = []

        def allocate(self):
            kept.append([[i] for i in range(3000)])
            for i in range(300):
                Node(i)
        objects = [final(allocate)(i) for i in range(20)]
        drop(objects)
        self.assertTrue(all(k[i] == [i] for k in kept for i in range(3000)))
        self.assertEqual(len(kept), 20)

    def check_looking_around_inside(self, drop):
        """gc.get_objects, get_referrers, freeze and unfreeze from a finalizer."""
        seen = []
        held = [Node("held")]

        def look(self):
            everything = gc.get_objects()
            seen.append(sum(o is held for o in everything))
            seen.append(any(r is held for r in gc.get_referrers(held[0])))
            gc.freeze()
            gc.unfreeze()
            gc.get_count()
            gc.get_stats()
        objects = [final(look)(i) for i in range(5)]
        drop(objects)
        self.assertEqual(seen, [1, True] * 5)

    def check_mutating_the_ring_inside(self, drop):
        """A finalizer cuts the ring or hands parts of it to live objects."""
        live = {}

        def mutate(self):
            if self.name % 2:
                self.me = None
            else:
                live[self.name] = self.payload
            self.next = None
        ring = [final(mutate)(i, payload=Node(i)) for i in range(50)]
        for i, o in enumerate(ring):
            o.next = ring[i - 1]
        del o
        drop(ring)
        drop(ring)
        self.assertEqual(sorted(EVENTS), list(range(50)))
        self.assertEqual({k: v.name for k, v in live.items()}, {i: i for i in range(0, 50, 2)})

    def check_fork_inside(self, drop):
        statuses = []

        def fork(self):
            pid = os.fork()
            if pid == 0:
                try:
                    [[] for _ in range(20000)]
                    gc.collect()
                    os._exit(7 if self.me is self else 1)
                finally:
                    os._exit(2)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        objects = [final(fork)(i) for i in range(5)]
        drop(objects)
        self.assertEqual(statuses, [7] * 5)

    def check_blocking_inside_lets_other_threads_run(self, drop):
        progress = []
        stop = threading.Event()

        def work():
            while not stop.is_set():
                progress.append([[]])
                time.sleep(0.0005)
        thread = threading.Thread(target=work)
        thread.start()
        seen = []

        def block(self):
            before = len(progress)
            wait_for(lambda: len(progress) > before + 5)
            seen.append(len(progress) > before + 5)
        objects = [final(block)(i) for i in range(5)]
        drop(objects)
        stop.set()
        thread.join()
        self.assertEqual(seen, [True] * 5)

    def check_starting_a_thread_and_a_process_inside(self, drop):
        done = []

        def start(self):
            thread = threading.Thread(target=lambda: done.append(collect() >= 0))
            thread.start()
            thread.join()
            done.append(subprocess.run(["/bin/true"]).returncode == 0)
        objects = [final(start)(i) for i in range(3)]
        drop(objects)
        self.assertEqual(done, [True] * 6)

    def check_generators_close_and_run_their_finally(self, drop):
        closed = []

        def generator(i):
            me = yield
            try:
                yield me
            finally:
                closed.append(i)
        objects = []
        for i in range(50):
            g = generator(i)
            next(g)
            g.send(g)
            objects.append(g)
        del g
        drop(objects)
        self.assertEqual(sorted(closed), list(range(50)))

    def check_they_run_in_a_python_thread_of_the_program(self, drop):
        threads = []
        objects = [final(lambda self: threads.append(threading.get_ident()))(i) for i in range(40)]
        drop(objects)
        self.assertEqual(len(threads), 40)
        self.assertLessEqual(set(threads), {t.ident for t in threading.enumerate()})


class Exit(unittest.TestCase):
    def test_finalizers_of_rings_run_at_exit(self):
        code = """
            class A:
                def __del__(self):
                    print(self.name)
            def make(name):
                a = A(); a.me = a; a.name = name
            from zgctest import age
            make("old"); age(); make("young")
        """
        result = run(code)
        self.assertEqual(sorted(result.out.split()), ["old", "young"])

    def test_sys_exit_and_exceptions_in_finalizers_at_exit(self):
        code = """
            import sys, gc
            class A:
                def __del__(self):
                    print("ran")
                    if self.how == 1: sys.exit(5)
                    if self.how == 2: gc.collect()
                    raise KeyError
            for how in range(3):
                a = A(); a.me = a; a.how = how
            del a
        """
        result = run(code)
        self.assertEqual(result.out, "ran\n" * 3)

    def test_os_exit_inside_a_finalizer(self):
        code = """
            import os, sys
            from zgctest import age, collect
            class A:
                def __del__(self):
                    sys.stdout.flush()
                    os._exit(9)
            a = A(); a.me = a
            age()
            del a
            collect()
            print("not reached")
        """
        result = run(code, status=9)
        self.assertEqual(result.out, "")


class WhileACollectionRuns(unittest.TestCase):
    def test_weak_reference_is_followed_at_every_moment(self):
        """The only way back into garbage: taking a weak reference while a collection decides."""
        def cluster(i):
            n = Node(i)
            n.parts = [Node((i, j), up=n) for j in range(5)]
            return n
        for _ in range(10):
            nodes = [cluster(i) for i in range(2000)]
            refs = [weakref.ref(n) for n in nodes]
            part_refs = [weakref.ref(n.parts[3]) for n in nodes]
            age()
            del nodes
            if ACTIVE:
                zgc.collect(wait=False)
            caught = []
            for i, (r, p) in enumerate(zip(refs, part_refs)):
                part = p()
                if part is not None:
                    caught.append(part)
                elif r() is not None:
                    self.fail("a part is dead and its whole is not")
                [[] for _ in range(50)]
            for part in caught:
                self.assertIs(part.up.parts[3], part)
                self.assertEqual([q.name for q in part.up.parts],
                                 [(part.up.name, j) for j in range(5)])
            del caught, part
            collect()
            collect()
            self.assertEqual(sum(r() is not None for r in refs), 0)


if __name__ == "__main__":
    main()
