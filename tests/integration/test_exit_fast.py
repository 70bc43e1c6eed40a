"""ZGC_EXIT=fast: what a program can rely on at its end, and what is left to the kernel."""

import gzip
import os
import tempfile
import unittest

from zgctest import main, requires_active, run

FAST = {"EXIT": "fast"}

# Each object says in which order things ended.
PRELUDE = """
import atexit, gc, gzip, sys, weakref
class Noisy:
    def __init__(self, name):
        self.name = name
    def __del__(self):
        print("del", self.name)
"""


def lines(code, **how):
    return run(PRELUDE + code, **how).out.splitlines()


@requires_active
class Finalizers(unittest.TestCase):
    def test_all_run_once_as_without_it(self):
        code = """
a = Noisy("global")
b = Noisy("cycle"); b.me = b
c = [Noisy("in a list")]
def f():
    d = Noisy("captured")
    return lambda: d
e = f()
class Slots:
    __slots__ = ("x", "__weakref__")
s = Slots(); s.x = Noisy("in a slot")
def generator():
    try:
        yield
    finally:
        print("generator closed")
g = generator(); next(g)
"""
        exact, fast = lines(code), lines(code, options=FAST)
        self.assertEqual(len(fast), 6)
        self.assertEqual(sorted(exact), sorted(fast))

    def test_atexit_and_finalize_come_first(self):
        code = """
a = Noisy("a"); a.me = a
weakref.finalize(a, print, "weakref.finalize")
atexit.register(print, "atexit")
"""
        self.assertEqual(lines(code, options=FAST)[-1], "del a")
        self.assertEqual(lines(code, options=FAST), lines(code))

    def test_globals_are_there(self):
        code = """
import json
table = {"key": 1}
class Uses:
    def __del__(self):
        print(json.dumps(table), sys.version_info[0], len(gc.get_objects()) > 100)
u = Uses()
"""
        self.assertEqual(lines(code, options=FAST), ['{"key": 1} 3 True'])

    def test_one_that_raises_does_not_end_the_others(self):
        code = """
class Bad:
    def __del__(self):
        raise ValueError("no")
x = [Bad(), Noisy("after")]
"""
        fast = run(PRELUDE + code, options=FAST)
        self.assertEqual(fast.out, "del after\n")
        self.assertIn("ValueError: no", fast.err)

    def test_with_collection_disabled(self):
        code = 'gc.disable(); a = Noisy("a"); a.me = a'
        self.assertEqual(lines(code, options=FAST), ["del a"])

    def test_exit_status_and_exceptions(self):
        self.assertEqual(run("import sys; sys.exit(7)", status=7, options=FAST).out, "")
        failed = run("x = [1]\nraise KeyError('gone')", status=1, options=FAST)
        self.assertIn("KeyError: 'gone'", failed.err)


@requires_active
class Memory(unittest.TestCase):
    # The watch is kept by sys, which ends last, and its callback needs nothing of this module.
    CODE = """
import functools
class Leaf:
    pass
heap = [Leaf() for _ in range(1000)]
sys.watch = weakref.ref(heap[0], functools.partial(print, "destroyed"))
"""

    def test_is_left_behind(self):
        self.assertEqual(lines(self.CODE, options=FAST), [])

    def test_is_taken_apart_by_default(self):
        said, = lines(self.CODE)
        self.assertTrue(said.startswith("destroyed <weakref"), said)


@requires_active
class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def contents(self, code, *names):
        run(PRELUDE + "import os; os.chdir(%r)\n" % self.folder + code, options=FAST)
        for name in names:
            with open(os.path.join(self.folder, name), "rb") as source:
                yield source.read()

    def test_are_written(self):
        code = """
class Holder: pass
text = open("text", "w"); text.write("one")
h = Holder(); h.me = h
h.binary = open("binary", "wb"); h.binary.write(b"two")
def local():
    f = open("captured", "w"); f.write("three")
    return lambda: f
keep = local()
"""
        self.assertEqual(list(self.contents(code, "text", "binary", "captured")),
                         [b"one", b"two", b"three"])

    def test_files_that_wrap_files_are_closed_first(self):
        packed, = self.contents('z = gzip.open("packed", "wt"); z.write("data")', "packed")
        self.assertEqual(gzip.decompress(packed), b"data")

    def test_a_finalizer_may_write(self):
        code = """
class Journal:
    def __init__(self):
        self.file = open("journal", "w")
    def __del__(self):
        self.file.write("closed")
j = Journal(); j.me = j
"""
        self.assertEqual(list(self.contents(code, "journal")), [b"closed"])

    def test_standard_streams_stay_open_for_finalizers(self):
        code = """
class Last:
    def __del__(self):
        sys.stdout.write("out "); sys.stderr.write("err"); sys.__stdout__.write("again")
l = Last()
keep = [sys.stdout.buffer, sys.stdout.buffer.raw]
"""
        result = run(PRELUDE + code, options=FAST)
        self.assertEqual((result.out, result.err), ("out again", "err"))


@requires_active
class Surroundings(unittest.TestCase):
    def test_daemon_threads(self):
        code = """
import threading, time
def work():
    while True:
        [[i] for i in range(100)]
        time.sleep(0)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
a = Noisy("a")
"""
        self.assertEqual(lines(code, options=FAST), ["del a"])

    def test_a_forked_child(self):
        code = """
import os
a = Noisy("a"); a.me = a
sys.stdout.flush()
pid = os.fork()
if pid:
    print(os.waitpid(pid, 0)[1])
"""
        self.assertEqual(lines(code, options=FAST), ["del a", "0", "del a"])

    def test_managed_objects(self):
        code = """
import zgc
class Box(zgc.Object):
    value: object
box = Box(value=Noisy("held by a body"))
"""
        self.assertEqual(lines(code, options=FAST), lines(code))


if __name__ == "__main__":
    main()
