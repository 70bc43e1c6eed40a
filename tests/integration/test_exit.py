"""Ends of a process: every kind of exit, also while a collection runs."""

import signal
import sys
import unittest

from zgctest import main, run, run_command

# A heap, and a collection under way when the last line of the snippet's own code runs.
PRELUDE = """
import atexit, gc, os, random, signal, sys, threading, time
import zgctest
from zgctest import ACTIVE, age, collect, zgc
class Node:
    def __init__(self): self.me = self
heap = [[Node()] for _ in range(40000)]
age()
def begin():
    if ACTIVE:
        zgc.collect(wait=False)
        time.sleep(random.random() * 0.02)
begin()
"""


def ends(code, status=0, repeat=4, **how):
    """Run PRELUDE + code several times (the moment differs); all must end alike."""
    results = [run(PRELUDE + code, status=status, **how) for _ in range(repeat)]
    first = results[0]
    for r in results:
        if (r.out, r.err) != (first.out, first.err):
            raise AssertionError(f"{r.describe()}\n=== but\n{first.describe()}")
    return first


class Exit(unittest.TestCase):
    def test_falling_off_the_end(self):
        result = ends("print(len(heap))")
        self.assertEqual((result.out, result.err), ("40000\n", ""))

    def test_with_an_empty_heap(self):
        result = ends("heap.clear()")
        self.assertEqual((result.out, result.err), ("", ""))

    def test_sys_exit(self):
        ends("sys.exit(7)", status=7)

    def test_os_exit(self):
        ends("os._exit(8)", status=8)

    def test_os_exit_from_a_thread_while_others_collect(self):
        ends("""
def churn():
    while True:
        [Node() for _ in range(100)]; collect()
for _ in range(4): threading.Thread(target=churn, daemon=True).start()
threading.Timer(0.2, os._exit, (8,)).start()
while True: collect()
""", status=8)

    def test_uncaught_exception(self):
        result = ends("raise KeyError('boom')", status=1)
        self.assertTrue(result.err.endswith("KeyError: 'boom'\n"), result.err)

    def test_killed_by_a_signal(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            ends(f"os.kill(os.getpid(), {number.value}); time.sleep(60)", status=-number)

    def test_keyboard_interrupt(self):
        # The wrapper of a test run may have SIGINT ignored.
        result = ends("signal.signal(signal.SIGINT, signal.default_int_handler)\n"
                      "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", status=-signal.SIGINT)
        self.assertIn("KeyboardInterrupt", result.err)

    def test_exec(self):
        result = ends("os.execv(sys.executable, [sys.executable, '-c', 'print(6 * 7)'])")
        self.assertEqual(result.out, "42\n")

    def test_atexit_functions_may_collect_and_allocate(self):
        result = ends("""
def last():
    keep = [[Node()] for _ in range(20000)]
    collect(); gc.collect(); begin()
    print("last", len(keep), all(n[0].me is n[0] for n in heap))
atexit.register(last)
""")
        self.assertEqual((result.out, result.err), ("last 20000 True\n", ""))

    def test_daemon_threads_that_never_stop(self):
        result = ends("""
def allocate():
    mine = []
    while True:
        mine.append([Node() for _ in range(50)])
        if len(mine) > 500: mine.clear()
def call():
    while True: collect()
def wait():
    threading.Event().wait()
for target in (allocate, allocate, call, wait):
    threading.Thread(target=target, daemon=True).start()
time.sleep(0.1)
print("end", flush=True)
""", repeat=8)
        self.assertEqual((result.out, result.err), ("end\n", ""))

    def test_other_threads_are_waited_for(self):
        result = ends("""
def work():
    for _ in range(5): collect(); time.sleep(0.01)
    print("worked")
threading.Thread(target=work).start()
""")
        self.assertEqual(result.out, "worked\n")

    def test_finalizers_that_collect_at_shutdown(self):
        code = """
full = zgc.collect if ACTIVE else gc.collect
class Late:
    def __del__(self, gc_collect=gc.collect, full=full, write=os.write):
        gc_collect(); full(); [[] for _ in range(5000)]
        write(1, b"late\\n")
x = Late(); x.me = x
sys.keep_to_the_end = Late()
"""
        result = ends(code)
        self.assertIn("late\n", result.out)
        self.assertEqual(result.out, run(PRELUDE + code, preload=False).out)

    def test_gc_callbacks_are_called_at_shutdown_too(self):
        code = """
import gc, os
def note(phase, info): os.write(1, phase.encode() + b"\\n")
gc.collect()
gc.callbacks.append(note)
gc.disable()
"""
        ours, stock = run(code).out.split(), run(code, preload=False).out.split()
        self.assertEqual(ours[::2], ["start"] * (len(ours) // 2))
        self.assertEqual(ours[1::2], ["stop"] * (len(ours) // 2))
        self.assertGreaterEqual(len(ours), len(stock))

    def test_modules_that_hold_rings_until_the_end(self):
        result = ends("""
import types
m = types.ModuleType("m"); sys.modules["m"] = m; m.m = m; m.node = Node()
class Keep: pass
Keep.instances = [Keep() for _ in range(1000)]
""")
        self.assertEqual((result.out, result.err), ("", ""))

    def test_switched_off_before_the_end(self):
        result = ends("""
if ACTIVE: zgc.disable()
gc.disable()
gc.freeze()
print("off")
""")
        self.assertEqual((result.out, result.err), ("off\n", ""))

    def test_closed_standard_streams(self):
        for close in ("os.close(2)", "os.close(1); os.close(0)", "os.closerange(0, 3)"):
            ends(f"{close}\ncollect()\nos._exit(0)", repeat=1, env={"ZGC_STATS": "1"})
            run(PRELUDE + f"\ncollect()\nsys.stdout = sys.stderr = None\n{close}",
                env={"ZGC_STATS": "1"}, flags=())

    def test_abort_dumps_with_faulthandler(self):
        result = run(PRELUDE + "os.abort()", status=-signal.SIGABRT)
        self.assertIn("Fatal Python error: Aborted", result.err)
        self.assertIn("most recent call first", result.err)

    def test_no_output_of_ours_in_any_of_this(self):
        for code in ("pass", "import sys; sys.exit(2)"):
            result = run_command([sys.executable, "-c", code], status=None, env={"ZGC_LOG": ""})
            self.assertEqual((result.out, result.err), ("", ""))


if __name__ == "__main__":
    main()
