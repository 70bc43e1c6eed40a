"""Sub-interpreters: stock collects their objects, ours never touches them."""

import gc
import os
import sys
import textwrap
import threading
import time
import unittest
import weakref

from zgctest import age, collect, main, requires_active, run

try:
    import _xxsubinterpreters as interpreters       # 3.11, 3.12
except ImportError:
    try:
        import _interpreters as interpreters        # 3.13
    except ImportError:
        interpreters = None

FOLDER = os.path.dirname(os.path.abspath(__file__))
OWN_GIL = sys.version_info >= (3, 12)


def create(own_gil=False):
    """A new interpreter; own_gil where the version has that, else one that shares ours."""
    if sys.version_info >= (3, 13):
        return interpreters.create("isolated" if own_gil else "legacy")
    return interpreters.create(isolated=own_gil)


def execute(interpreter, code):
    """Run code there; what it raises is raised here."""
    problem = interpreters.run_string(interpreter, textwrap.dedent(code))
    if problem is not None:         # 3.13 returns a description instead of raising
        raise AssertionError(problem.formatted)


# What a program does in an interpreter of its own; everything is checked there.
LIFE = """
    import gc, weakref
    class Node:
        def __init__(self, name):
            self.name, self.me = name, self
    live = {i: [Node(i), (i, [i]), {i}] for i in range(3000)}
    for _ in range(5):
        refs = [weakref.ref(Node(i)) for i in range(300)]
        churn = [[[j] for j in range(2000)] for i in range(10)]
        gc.collect()
        assert all(r() is None for r in refs), "garbage is left"
    for i, x in live.items():
        assert x[0].me.name == i and x[1] == (i, [i]) and x[2] == {i}, "a live object is broken"
    ids = {id(o) for o in gc.get_objects()}
    assert id(live) in ids
    assert gc.isenabled() and len(gc.get_stats()) == 3 and gc.callbacks == []
    x = []; x.append(x); del x
    gc.disable()
    assert gc.collect() == 1
    gc.enable()
"""


class Node:
    def __init__(self, name=None):
        self.name = name
        self.me = self


@unittest.skipUnless(interpreters, "needs _xxsubinterpreters or _interpreters")
class SubInterpreters(unittest.TestCase):
    def main_interpreter_works(self):
        refs = [weakref.ref(Node()) for _ in range(200)]
        age()
        collect()
        self.assertEqual(sum(r() is not None for r in refs), 0)

    def test_one_after_the_other(self):
        for own_gil in (False, True):
            for _ in range(4):
                with self.subTest(own_gil=own_gil):
                    live = [Node(i) for i in range(2000)]
                    interpreter = create(own_gil)
                    execute(interpreter, LIFE)
                    collect()
                    execute(interpreter, LIFE)
                    interpreters.destroy(interpreter)
                    self.main_interpreter_works()
                    self.assertEqual([n.me.name for n in live], list(range(2000)))

    def test_dozens_at_once(self):
        for own_gil in (False, True):
            many = [create(own_gil) for _ in range(24)]
            for interpreter in many:
                execute(interpreter, LIFE)
            collect()
            for interpreter in many:
                execute(interpreter, LIFE)
                interpreters.destroy(interpreter)
            self.main_interpreter_works()

    def run_in_threads(self, own_gil, n, also=lambda: None):
        errors = []

        def work():
            try:
                interpreter = create(own_gil)
                for _ in range(3):
                    execute(interpreter, LIFE)
                interpreters.destroy(interpreter)
            except BaseException as e:
                errors.append(e)
        threads = [threading.Thread(target=work) for _ in range(n)]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            also()
            # On 3.11 a thread of another interpreter cannot ask for the GIL, only wait for it.
            time.sleep(0.001)
        for t in threads:
            t.join()
        self.assertEqual(errors, [])

    def test_in_threads_while_the_main_one_collects(self):
        live = [[Node(i)] for i in range(20000)]
        age()

        def also():
            [Node(i) for i in range(200)]
            collect()
        self.run_in_threads(False, 4, also)
        self.assertEqual([n.me.name for n, in live], list(range(20000)))

    @unittest.skipUnless(OWN_GIL, "needs a GIL per interpreter (3.12)")
    def test_own_gil_allocating_in_parallel(self):
        live = [[Node(i)] for i in range(20000)]
        age()

        def also():
            [Node(i) for i in range(200)]
            collect()
            self.assertEqual([n.me.name for n, in live], list(range(20000)))
        self.run_in_threads(True, 4, also)

    def test_gc_settings_are_each_interpreters_own(self):
        before, frozen = gc.get_threshold(), gc.get_freeze_count()
        interpreter = create()
        execute(interpreter, """
            import gc
            gc.set_threshold(55, 6, 7)
            gc.disable()
            gc.callbacks.append(lambda *a: None)
            gc.freeze()
        """)
        self.assertEqual((gc.get_threshold(), gc.isenabled(), gc.callbacks), (before, True, []))
        self.assertEqual(gc.get_freeze_count(), frozen)
        execute(interpreter, """
            import gc
            assert gc.get_threshold() == (55, 6, 7) and not gc.isenabled()
            gc.unfreeze()
        """)
        interpreters.destroy(interpreter)

    def test_zgc_module_there(self):
        """`import zgc` in a sub-interpreter works or fails cleanly; it never harms."""
        code = """
            import sys
            sys.path.insert(0, sys.argv[1])
            import test_subinterpreters as t, zgctest
            for own_gil in (False, True):
                i = t.create(own_gil)
                t.execute(i, '''if 1:
                    try:
                        import zgc
                    except ImportError:
                        zgc = None
                    for name in ("status", "stats", "collect", "verify") if zgc else ():
                        try:
                            getattr(zgc, name)()
                        except RuntimeError:
                            pass
                ''')
                t.interpreters.destroy(i)
                zgctest.collect()
            print("end")
        """
        self.assertEqual(run(code, FOLDER, timeout=30).out, "end\n")

    @requires_active
    def test_zgc_module_there_first(self):
        """What `import zgc` in the main interpreter makes must not hang on one that ends. (From 3.13 on CPython
        calls a module's initialisation in the main interpreter, whoever imports it.)"""
        code = """
            try:
                import _interpreters as interpreters
                kinds = ("legacy",), ("isolated",)
            except ImportError:
                import _xxsubinterpreters as interpreters
                kinds = (), ()
            for kind in kinds:
                i = interpreters.create(*kind)
                problem = interpreters.run_string(i, '''if 1:
                    try:
                        import zgc
                    except ImportError:
                        pass
                    else:
                        import sys
                        assert sys.version_info >= (3, 13), "imported"
                        zgc.status()
                ''')
                assert problem is None, problem
                interpreters.destroy(i)
            import gc, zgc
            class Node(zgc.Object):
                next: object
            nodes = [Node() for _ in range(1000)]
            gc.collect()
            zgc.collect("full")
            print(zgc.verify() >= 0, zgc.List(range(3)))
        """
        self.assertEqual(run(code).out, "True List([0, 1, 2])\n")

    def test_left_alive_at_exit(self):
        code = """
            import sys
            sys.path.insert(0, sys.argv[1])
            import test_subinterpreters as t, zgctest
            for own_gil in (False, True):
                t.execute(t.create(own_gil), t.LIFE)
            zgctest.collect()
            print("end")
        """
        result = run(code, FOLDER, status=None)
        self.assertEqual((result.status, result.out), (0, "end\n"), result.describe())

    def test_fork_after_sub_interpreters(self):
        """With one alive, fork breaks stock CPython of every version: they are gone here."""
        for own_gil in (False, True):
            interpreter = create(own_gil)
            execute(interpreter, LIFE)
            interpreters.destroy(interpreter)
        live = [[Node(i)] for i in range(20000)]
        age()
        pid = os.fork()
        if pid == 0:
            refs = [weakref.ref(Node()) for _ in range(100)]
            age()
            collect()
            good = all(r() is None for r in refs) and all(n.me is n for n, in live)
            os._exit(0 if good else 1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.main_interpreter_works()


if __name__ == "__main__":
    main()
