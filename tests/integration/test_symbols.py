"""Symbol binding: where the interpreter's calls pass through the dynamic linker, ours come first,
and they step aside wherever the allocators are somebody else's."""

import ctypes
import gc
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest

from zgctest import ACTIVE, LIB, STATUS, automatic_gc_off, main, requires_active, requires_lib
from zgctest import run, run_command

try:
    import zgc
except ImportError:
    zgc = None

EXT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ext")
with open("/proc/self/maps") as maps:
    LIBPYTHON = next((line.split()[-1] for line in maps if "/libpython3" in line), "")
DEBIANS = "/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0"      # linked with -Bsymbolic-functions
PAGE_SHIFT = 14                 # a small page has at least one granule of 16 KiB (heap/zgranules.h)
SYMBOLS = ACTIVE and STATUS["binding"] == "symbols"
requires_symbols = unittest.skipUnless(SYMBOLS, "needs the symbol binding")

PRINT_STATUS = "import zgc; s = zgc.status(); print(s['active'], s['binding'], s['binding_reason'])"

# A program that keeps most kinds of blocks moving; it prints what must be the same everywhere.
CHURN = """
import gc
class Node:
    def __init__(self, name): self.name, self.me = name, self
def churn(n):
    live = [[{str(i): (i, [i] * (i % 50)), i: Node(i)}, {i, -i}, bytes(i % 3000)]
            for i in range(n)]
    for i in range(0, n, 3): live[i][0][str(i)] += (b'x' * i,)
    del live[::2]
    grow = []
    for x in live: grow.extend(x)
    return sum(len(x) for x in grow)
total = churn(2000)
gc.collect()
"""


def compiled(source, *options, shared=True, folder=None):
    """Path of tests/integration/ext/<source>.c, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise unittest.SkipTest("needs a C compiler")
    output = os.path.join(folder, source + (".so" if shared else ""))
    subprocess.run([compiler, "-O1", *(["-shared", "-fPIC"] if shared else []),
                    os.path.join(EXT, source + ".c"), "-o", output, *options], check=True)
    return output


class WithFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="zgctest-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name


class TestWhichBinding(unittest.TestCase):
    @requires_active
    def test_shared_builds_have_symbols_and_static_ones_say_why_not(self):
        if os.environ.get("ZGC_BINDING", "auto") != "auto":
            self.skipTest("ZGC_BINDING is set")
        if LIBPYTHON:
            self.assertEqual((STATUS["binding"], STATUS["binding_reason"]), ("symbols", None))
        else:
            self.assertEqual(STATUS["binding"], "table")
            self.assertIn("static build", STATUS["binding_reason"])

    @requires_active
    def test_table_on_request(self):
        out = run(PRINT_STATUS, options={"BINDING": "table"}).out
        self.assertEqual(out, "True table ZGC_BINDING=table\n")

    @requires_active
    def test_symbols_on_request(self):
        result = run(PRINT_STATUS, options={"BINDING": "symbols"})
        self.assertIn("True symbols" if LIBPYTHON else "True table", result.out)
        lines = [line for line in result.err.splitlines() if "ZGC_BINDING" in line]
        self.assertEqual(len(lines), 0 if LIBPYTHON else 1, result.err)

    @requires_active
    def test_eager_binding(self):
        result = run(CHURN + PRINT_STATUS, env={"LD_BIND_NOW": "1"})
        self.assertIn("True " + STATUS["binding"], result.out)

    @requires_lib
    def test_passive_processes_run_as_stock(self):
        expected = run(CHURN + "print(total)", preload=False).out
        for how in ({"options": {"ENABLE": "0"}}, {"env": {"PYTHONMALLOC": "debug"}},
                    {"env": {"PYTHONMALLOC": "malloc"}}, {"flags": ("-X", "dev")}):
            with self.subTest(**how):
                self.assertEqual(run(CHURN + "print(total)", preload=True, **how).out, expected)


class TestPlaces(unittest.TestCase):
    @requires_active
    def test_gc_objects_have_pages_of_their_own(self):
        size = sys.getsizeof([])                # with its GC header: a class that bytes can meet
        lists = [[] for _ in range(5000)][200:]      # the first came from CPython's free list
        blobs = [bytes(size - sys.getsizeof(b"")) for _ in range(5000)]
        shared = {id(x) >> PAGE_SHIFT for x in lists} & {id(x) >> PAGE_SHIFT for x in blobs}
        if SYMBOLS:
            self.assertEqual(shared, set())
        else:
            self.assertNotEqual(shared, set())

    @requires_symbols
    def test_a_gc_object_that_is_resized_stays_among_its_kind(self):
        def made(length):                       # grown by _PyTuple_Resize
            return tuple(x for x in range(length))
        tuples = [made(n) for n in range(21, 60) for _ in range(40)]    # no free list has these
        blobs = [bytes(n) for n in range(16, 600) for _ in range(8)]
        pages = {id(x) >> PAGE_SHIFT for x in blobs}
        self.assertEqual(pages & {id(x) >> PAGE_SHIFT for x in tuples}, set())
        self.assertTrue(all(x == tuple(range(len(x))) for x in tuples))


class TestCollectFromC(WithFolder):
    def garbage(self, n=100):
        for _ in range(n):
            x = []
            x.append(x)

    def test_it_collects_and_counts(self):
        collect = ctypes.pythonapi.PyGC_Collect
        with automatic_gc_off():
            self.garbage()
            self.assertEqual(collect(), 0)      # as documented: nothing while disabled
        gc.collect()
        was = gc.get_threshold()
        gc.set_threshold(100000)
        self.addCleanup(gc.set_threshold, *was)
        before = zgc.stats()["collections_system_gc"] if ACTIVE else 0
        self.garbage()
        self.assertGreaterEqual(collect(), 100)
        self.assertEqual(collect(), 0)
        if ACTIVE:
            ours = zgc.stats()["collections_system_gc"] - before
            self.assertEqual(ours, 2 if SYMBOLS else 0)

    def test_an_exception_under_way_is_kept(self):
        result = run("""
            import ctypes, gc, sys
            class Loud:
                def __del__(self): 1 / 0
            x = Loud(); x.me = x; del x
            from_c = ctypes.PyDLL(sys.argv[1])
            try:                # PyDLL raises what is set when the function returns
                from_c.collect_with(ctypes.py_object(ValueError("kept")))
            except ValueError as e:
                print(e, from_c.collected() > 0)
        """, compiled("wrap", folder=self.folder))
        self.assertEqual("kept True\n", result.out)
        self.assertIn("ZeroDivisionError", result.err)

    def test_inside_a_collection_it_does_nothing(self):
        seen = []

        class Nested:
            def __del__(self):
                seen.append(ctypes.pythonapi.PyGC_Collect())
        x = Nested()
        x.me = x
        del x
        gc.collect()
        self.assertEqual(seen, [0])


class TestWrappedAllocators(WithFolder):
    def load(self, mode=ctypes.DEFAULT_MODE, *options):
        library = ctypes.PyDLL(compiled("wrap", *options, folder=self.folder), mode=mode)
        library.take.restype = library.resize.restype = ctypes.c_void_p
        library.take.argtypes = [ctypes.c_size_t]
        library.resize.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        library.give.argtypes = [ctypes.c_void_p]
        return library

    def test_a_wrapper_sees_every_call(self):
        library = self.load()
        before = [object() for _ in range(1000)]
        library.wrap()
        try:
            kept = [object() for _ in range(1000)]
            made = library.allocations()
            del before
            gone = library.frees()
        finally:
            library.unwrap()
        self.assertGreaterEqual(made, 1000)
        self.assertGreaterEqual(gone, 1000)
        unwrapped = library.allocations()
        kept = [object() for _ in range(1000)]
        self.assertEqual(library.allocations(), unwrapped)
        if ACTIVE:
            zgc.verify()

    def test_a_wrapper_of_free_alone_sees_every_free(self):
        library = self.load()
        library.wrap_free()
        try:
            for _ in range(1000):
                object()
            gone = library.frees()
        finally:
            library.unwrap()
        self.assertGreaterEqual(gone, 1000)

    def test_tracemalloc_started_and_stopped(self):
        import tracemalloc
        old = [[i] for i in range(20000)]
        tracemalloc.start()
        try:
            new = [{str(i): [i]} for i in range(20000)]
            size, _ = tracemalloc.get_traced_memory()
            del old
            half = new[::2]
            del new
            smaller, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertGreater(size, 20000 * 200)
        self.assertLess(smaller, size * 0.7)
        self.assertEqual(len(half), 10000)
        if ACTIVE:
            zgc.verify()

    def test_extensions_that_bind_to_libpython_first(self):
        """RTLD_DEEPBIND: their calls go past ours; blocks may be given back by either side."""
        options = [LIBPYTHON] if LIBPYTHON else []
        library = self.load(os.RTLD_DEEPBIND | os.RTLD_NOW, *options)
        api = ctypes.pythonapi
        api.PyObject_Malloc.restype = ctypes.c_void_p
        api.PyObject_Malloc.argtypes = [ctypes.c_size_t]
        api.PyObject_Free.argtypes = [ctypes.c_void_p]
        for size in (1, 100, 1000, 5000, 300_000, 3_000_000):
            theirs = library.take(size)
            ctypes.memset(theirs, 1, size)
            mine = api.PyObject_Malloc(size)
            ctypes.memset(mine, 2, size)
            theirs = library.resize(theirs, 2 * size)
            self.assertEqual(ctypes.string_at(theirs, size), b"\1" * size)
            api.PyObject_Free(theirs)
            library.give(mine)
        if ACTIVE:
            zgc.verify()


class TestOtherProcesses(WithFolder):
    def embed(self, libpython, code, linked):
        options = [libpython, f"-Wl,-rpath,{os.path.dirname(libpython)}"] if linked else []
        program = compiled("embed", "-Wl,--no-as-needed", *options, "-ldl", shared=False,
                           folder=self.folder)
        home = sysconfig.get_config_var("prefix") if libpython == LIBPYTHON else "/usr"
        return run_command([program, "-" if linked else libpython, code],
                           preload=bool(LIB), env={"PYTHONHOME": home, "PYTHONPATH": None})

    CODE = CHURN + """
import _ctypes, json, array
try:
    import zgc
    print(zgc.status()["active"], zgc.status()["binding"])
except ImportError:
    print("without")
print(total)
"""

    @requires_lib
    def test_program_linked_with_libpython(self):
        if not LIBPYTHON:
            self.skipTest("this interpreter has no shared library")
        result = self.embed(LIBPYTHON, self.CODE, linked=True)
        self.assertIn("True symbols\n", result.out)
        self.assertTrue(result.out.endswith("ended\n"), result.describe())

    @requires_lib
    def test_program_linked_with_a_library_that_binds_to_itself(self):
        if not os.path.exists(DEBIANS):
            self.skipTest(f"needs {DEBIANS}")
        result = self.embed(DEBIANS, self.CODE, linked=True)
        self.assertIn("True table\n", result.out)
        self.assertTrue(result.out.endswith("ended\n"), result.describe())

    @requires_lib
    def test_interpreter_that_is_loaded_later_and_not_globally(self):
        for library in {LIBPYTHON or DEBIANS, DEBIANS}:
            if not os.path.exists(library):
                continue
            with self.subTest(library):
                result = self.embed(library, "import gc\nx = [[i] for i in range(100000)]\n"
                                    "gc.collect()\nprint(len(x))", linked=False)
                self.assertTrue(result.out.endswith("100000\nended\n"), result.describe())

    @requires_lib
    def test_no_interpreter_at_all(self):
        program = compiled("stranger", "-ldl", shared=False, folder=self.folder)
        result = run_command([program], preload=True)
        self.assertEqual(result.out, "1 0 1\n")
        self.assertEqual(result.err.count("nothing defines it here"), 4, result.err)


if __name__ == "__main__":
    main()
