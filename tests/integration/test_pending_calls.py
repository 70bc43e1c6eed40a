"""The collector thread asks for safepoints by pending calls. When the interpreter ends at that moment, it must
not be gone before the call is in its queue."""

import unittest

import zgctest
from zgctest import helper, main, requires_active, run

# Debian's executable says Py_ENABLE_SHARED, too, and holds the interpreter all the same.
with open("/proc/self/maps") as maps:
    IS_SHARED = "/libpython3" in maps.read()

PROGRAM = """
    import atexit, ctypes, gc, sys
    state = ctypes.c_int.in_dll(ctypes.CDLL(sys.argv[1]), "late_call_state")
    keep = [[i] for i in range(100_000)]
    while not state.value:
        ring = [[] for _ in range(10_000)]
        for one in ring:
            one.append(ring)
        del ring, one
    {end}
"""


@requires_active
@unittest.skipUnless(helper("late_call"), "its helper was not built")
@unittest.skipUnless(IS_SHARED, "a static interpreter's calls are its own")
class PendingCallAtTheEnd(unittest.TestCase):
    def check(self, end, **how):
        result = run(PROGRAM.format(end=end), helper("late_call"), preload=True,
                     env={"LD_PRELOAD": f"{helper('late_call')}:{zgctest.LIB}"}, **how)
        self.assertEqual(result.out, "there\n")

    def test_it_is_waited_for(self):
        self.check("")

    def test_also_where_nothing_runs_at_exit(self):
        self.check("atexit._clear()")

    def test_also_without_collection(self):
        self.check("gc.disable(); atexit._clear(); sys.exit(3)", status=3)


if __name__ == "__main__":
    main()
