"""-X dev and debug builds: CPython's debug hooks stand over our heap, and both work."""

import os
import signal
import sys
import sysconfig
import unittest

from zgctest import main, requires_active, run

DEV = ("-X", "dev", "-X", "faulthandler")
# A debug build has an ABI of its own extensions; Debian's lies beside the interpreter.
DEBUG_BUILD = sys.executable if sysconfig.get_config_var("Py_DEBUG") else sys.executable + "d"

WORK = """
import gc, sys, weakref, zgc
status = zgc.status()
assert status["active"], status
class Node: pass
live = {i: [Node(), (i, str(i))] for i in range(30000)}
for round in range(3):
    gone = []
    for i in range(3000):
        a, b = Node(), Node()
        a.b, b.a, a.rest = b, a, [{"k": a}, {a, b}]
        gone.append(weakref.ref(a))
    del a, b
    zgc.collect() if round < 2 else gc.collect()
    assert not [r for r in gone if r() is not None]
assert zgc.stats()["fallback_blocks"] == 0
assert zgc.verify() > 30000
"""

OVERRUN = """
import ctypes, zgc
assert zgc.status()["active"]
malloc, free = ctypes.pythonapi.PyMem_Malloc, ctypes.pythonapi.PyMem_Free
malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
block = malloc(16)
ctypes.memset(block, 0, 17)
free(block)
"""


@requires_active
class DevMode(unittest.TestCase):
    def test_active_and_collects(self):
        result = run(WORK, flags=DEV)
        self.assertIn("Pause Full (System.gc)", result.log)

    def test_active_by_the_environment(self):
        run(WORK, env={"PYTHONDEVMODE": "1"})

    def test_hooks_see_an_overrun(self):
        result = run(OVERRUN, flags=DEV, status=-signal.SIGABRT)
        self.assertIn("bad trailing pad byte", result.err)

    def test_wrapped_once_more_by_tracemalloc(self):
        run("import tracemalloc; tracemalloc.start(5)\n" + WORK + "tracemalloc.stop()\n" + WORK,
            flags=DEV)

    def test_large_blocks_grow_and_shrink(self):
        run("""
            data = bytearray()
            for i in range(12): data += bytes(1 << 20)
            del data[1 << 10:]
            lists = [[0] * n for n in (1, 100, 10000, 1000000)]
            for l in lists: l.extend(l); del l[len(l) // 3:]
        """ + WORK.replace("\n", "\n            "), flags=DEV)

    def test_fork(self):
        run(WORK + """
import os
for i in range(3):
    pid = os.fork()
    if not pid:
        gc.collect(); zgc.collect(); os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
""", flags=(*DEV, "-W", "ignore"))

    def test_stress(self):
        run(WORK.replace("30000", "3000"), flags=DEV, options={"STRESS": 1, "VERIFY": 1})


@requires_active
@unittest.skipUnless(os.path.exists(DEBUG_BUILD), f"no {DEBUG_BUILD}")
class DebugBuild(unittest.TestCase):
    """Its assertions check us."""

    def test_active_and_collects(self):
        result = run(WORK, python=DEBUG_BUILD)
        self.assertIn("Pause Full (System.gc)", result.log)

    def test_dev_mode(self):
        run(WORK, python=DEBUG_BUILD, flags=DEV)

    def test_stress(self):
        run(WORK.replace("30000", "3000"), python=DEBUG_BUILD, options={"STRESS": 1, "VERIFY": 1})

    def test_hooks_see_an_overrun(self):
        result = run(OVERRUN, python=DEBUG_BUILD, status=-signal.SIGABRT)
        self.assertIn("bad trailing pad byte", result.err)


if __name__ == "__main__":
    main()
