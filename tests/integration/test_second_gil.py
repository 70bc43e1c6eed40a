"""A second GIL while the first one's holder is anywhere in the heap; and what only looks like one."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

from zgctest import LIB, main, requires_active, requires_lib, run

EXT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ext")

# Threads that allocate under the main GIL while `work` goes on in the main thread; what they hold must be whole.
BUSY = """
    import sys, threading
    ended = []
    def churn():
        kept = []
        n = 0
        while not ended:
            n += 1
            kept.append([{}, (n, kept), bytes(n % 1500), n, [n] * (n % 90)])
            if len(kept) > 3000:
                for d, (i, k), b, j, l in kept:
                    assert d == {} and k is kept and i == j and len(b) == i % 1500 and l == [i] * (i % 90)
                del kept[:1500]
    threads = [threading.Thread(target=churn) for _ in range(2)]
    for t in threads: t.start()
    try:
        work()
    finally:
        ended.append(1)
        for t in threads: t.join()
    try:
        import zgc
        zgc.verify()
    except ImportError:
        pass
    print("end")
"""

INTERPRETERS = """
    try:
        import _interpreters as interpreters
        create = lambda: interpreters.create("isolated")
    except ImportError:
        import _xxsubinterpreters as interpreters
        create = lambda: interpreters.create(isolated=True)
    LIFE = '''if 1:
        kept = []
        for n in range(30000):
            kept.append([{}, (n, kept), bytes(n % 1500), n])
            if len(kept) > 3000:
                for d, (i, k), b, j in kept:
                    assert d == {} and k is kept and i == j and len(b) == i % 1500
                del kept[:1500]
    '''
    def live():
        i = create()
        problem = interpreters.run_string(i, LIFE)
        assert problem is None, problem
        interpreters.destroy(i)
"""


class SecondGil(unittest.TestCase):
    def check(self, work, times=1, before="", **kwargs):
        for _ in range(times):
            code = "".join(map(textwrap.dedent, (before, work, BUSY)))
            result = run(code, status=None, **kwargs)
            self.assertEqual((result.status, result.out), (0, "end\n"), result.describe())

    @unittest.skipIf(sys.version_info < (3, 12), "needs a GIL per interpreter (3.12)")
    def test_made_while_others_allocate(self):
        self.check("work = live", 4, INTERPRETERS)

    @unittest.skipIf(sys.version_info < (3, 12), "needs a GIL per interpreter (3.12)")
    def test_several_made_at_once(self):
        self.check("""
            import threading
            def work():
                threads = [threading.Thread(target=live) for _ in range(3)]
                for t in threads: t.start()
                for t in threads: t.join()
        """, 2, INTERPRETERS)

    @unittest.skipIf(sys.version_info < (3, 12), "needs a GIL per interpreter (3.12)")
    def test_under_debug_hooks_and_tracemalloc(self):
        """Both wrap the RAW domain, too."""
        self.check("work = live", 1, INTERPRETERS, flags=("-X", "dev"))
        self.check("work = live", 1, INTERPRETERS, flags=("-X", "tracemalloc"))

    @unittest.skipIf(sys.version_info < (3, 14), "needs InterpreterPoolExecutor (3.14)")
    def test_interpreter_pool(self):
        self.check("""
            from concurrent.futures import InterpreterPoolExecutor
            def work():
                with InterpreterPoolExecutor(3) as pool:
                    parts = list(pool.map(sorted, [list(range(n, 0, -1)) for n in range(60)]))
                    assert parts == [list(range(1, n + 1)) for n in range(60)]
        """, 2)

    def test_large_raw_blocks_of_threads_without_a_gil(self):
        """The RAW domain may be asked for anything without a GIL: it looks like an interpreter, but is none."""
        self.check("""
            import ctypes, time
            raw = ctypes.CDLL(None)
            raw.PyMem_RawCalloc.restype = ctypes.c_void_p
            raw.PyMem_RawCalloc.argtypes = [ctypes.c_size_t] * 2
            raw.PyMem_RawFree.argtypes = [ctypes.c_void_p]
            def work():
                time.sleep(0.03)        # so that the others are under way
                for size in (100_000, 400_000):
                    raw.PyMem_RawFree(raw.PyMem_RawCalloc(1, size))
                [[] for _ in range(100_000)]
        """, 8)

    @requires_active
    def test_only_what_may_be_an_interpreter_looks_like_one(self):
        """The size that CPython tells debuggers is proven from 3.13 on: less than that is no alarm."""
        log = run("""
            import ctypes, sys
            raw = ctypes.CDLL(None)
            raw.PyMem_RawCalloc.restype = ctypes.c_void_p
            raw.PyMem_RawCalloc.argtypes = [ctypes.c_size_t] * 2
            raw.PyMem_RawMalloc.restype = ctypes.c_void_p
            raw.PyMem_RawCalloc(1, 100_000 if sys.version_info >= (3, 13) else 60_000)
            raw.PyMem_RawMalloc(10_000_000)
        """, flags=()).log
        self.assertNotIn("another interpreter", log)
        log = run("""
            import ctypes
            raw = ctypes.CDLL(None)
            raw.PyMem_RawCalloc.restype = ctypes.c_void_p
            raw.PyMem_RawCalloc.argtypes = [ctypes.c_size_t] * 2
            raw.PyMem_RawCalloc(1, 400_000)
            raw.PyMem_RawCalloc(1, 400_000)
        """, flags=()).log
        self.assertEqual(log.count("another interpreter may be made"), sys.version_info >= (3, 12), log)

    @requires_active
    @unittest.skipIf(sys.version_info < (3, 12), "needs a GIL per interpreter (3.12)")
    def test_threads_find_their_heap_without_a_call(self):
        """CPython's own variable for it is found, in each version: otherwise each allocation asks CPython."""
        log = run(textwrap.dedent(INTERPRETERS) + "live()", flags=(), options={"LOG_LEVEL": "debug"}).log
        self.assertEqual(log.count("threads see in their own variables which heap is theirs"), 1, log)

    @requires_lib
    @unittest.skipIf(sys.version_info < (3, 12), "needs a GIL per interpreter (3.12)")
    @unittest.skipUnless(shutil.which("cc"), "needs a C compiler")
    def test_behind_other_allocators_of_the_raw_domain(self):
        """The interpreter's state does not come from us, or comes as part of a larger block."""
        with tempfile.TemporaryDirectory() as folder:
            library = os.path.join(folder, "raw_domain.so")
            subprocess.run(["cc", "-shared", "-fPIC", "-o", library, os.path.join(EXT, "raw_domain.c"), "-ldl"], check=True)
            for how in ("replace", "wrap"):
                with self.subTest(how):
                    self.check("work = live", 3, INTERPRETERS, preload=True,
                               env={"RAW_DOMAIN": how, "LD_PRELOAD": f"{library}:{LIB}"})

    @requires_active
    @unittest.skipIf(sys.version_info < (3, 12), "needs a GIL per interpreter (3.12)")
    def test_verify_beside_one(self):
        self.check("""
            import threading, zgc
            def work():
                t = threading.Thread(target=live)
                t.start()
                for _ in range(5):
                    zgc.verify()
                while t.is_alive():
                    zgc.verify()
        """, 2, INTERPRETERS)

    @unittest.skipIf(sys.version_info < (3, 12), "needs a GIL per interpreter (3.12)")
    def test_verify_option(self):
        self.check("work = live", 1, INTERPRETERS, options={"VERIFY": 1, "STRESS": 1})


if __name__ == "__main__":
    main()
