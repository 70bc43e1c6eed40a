"""The collector thread gets no processor: it is held (by ptrace, alone) while the program goes on.

Every call returns, the program goes on at its speed, memory stays bounded, and nothing is lost."""

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

from zgctest import environment, main, requires_active

SEIZE, INTERRUPT, CONT = 0x4206, 0x4207, 7
WALL = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def thread_of(pid):
    """Of the process's collector thread, once it is there; None when the process has ended."""
    while True:
        try:
            for tid in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{tid}/comm") as f:
                    if f.read().strip() == "zgc-collector":
                        return int(tid)
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return None
        except OSError:
            return None
        time.sleep(0.002)


class Holder:
    """Holds one thread; all calls by one thread of ours."""
    def __init__(self, tid):
        self.tid = tid
        self.call(SEIZE)
        self.held = False

    def call(self, request):
        if libc.ptrace(request, self.tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def hold(self):
        if not self.held:
            self.call(INTERRUPT)
            os.waitpid(self.tid, WALL)
            self.held = True

    def let_go(self):
        if self.held:
            self.call(CONT)
            self.held = False


BEGIN = """
import gc, os, sys, threading, time, weakref
import zgc
class Node:
    __slots__ = ("a", "b", "__weakref__")
def ring(n=3):
    nodes = [Node() for _ in range(n)]
    for i, node in enumerate(nodes):
        node.a = nodes[i - 1]
    return nodes[0]
def generator(x):
    yield x
def deferred():
    node = ring()
    node.b = generator(node)
    next(node.b)
def peak():
    with open("/proc/self/status") as f:
        return int(next(line for line in f if line.startswith("VmHWM")).split()[1]) >> 10
def say(what):
    print(what, flush=True)
    if not sys.stdin.readline():
        sys.exit("no answer")
keep = [[i] for i in range(100000)]
zgc.collect()
"""

# Held in the midst of a collection, for good.
CALLS = BEGIN + """
waste = [ring() for _ in range(100000)]
del waste
zgc.collect(wait=False)
time.sleep(float(sys.argv[1]))
say("hold")
found = 0
def timed(name, call):
    global found
    start = time.thread_time(), time.monotonic()
    r = call()
    if isinstance(r, int):
        found += r
    took = time.monotonic() - start[1]
    if took > 5:
        print(name, took)
for round in range(1):
    timed("collect(0)", lambda: gc.collect(0))
    timed("collect(1)", lambda: gc.collect(1))
    timed("freeze", gc.freeze)
    timed("unfreeze", gc.unfreeze)
    timed("collect", gc.collect)
    r = weakref.ref(ring())
    timed("zgc.collect", zgc.collect)
    assert r() is None
    timed("zgc.collect", lambda: zgc.collect(wait=False))
    timed("disable", zgc.disable)
    timed("enable", zgc.enable)
    zgc.collect(wait=False)
    child = os.fork()
    if child == 0:
        waste = [ring() for _ in range(1000)]
        del waste
        os._exit(not (zgc.collect() >= 0 and gc.collect() >= 0))
    assert os.waitpid(child, 0)[1] == 0
    timed("verify", zgc.verify)
zgc.collect(wait=False)
print("end", found >= 0, len(keep))
"""

# Memory stays bounded, whatever the thread was at when it was held.
CHURN = BEGIN + """
buffer = [None] * 20000
def churn(n):
    for i in range(n):
        buffer[i % 20000] = ring()
        if i % 100 == 0:
            deferred()
churn(100000)
say("hold")
before = peak()
churn(300000)
middle = peak()
churn(600000)
print("end", peak() < 3 * middle, zgc.stats()["escalations"] > 0 or peak() < 150)
"""

# A small heap then has as much garbage as with CPython alone, about: 100,000 objects and what is young.
SMALL = BEGIN + """
keep.clear()
zgc.collect()
buffer = [None] * 20000
def churn(n):
    global most
    for i in range(n):
        buffer[i % 20000] = ring()
        if i % 500 == 0:
            most = max(most, zgc.stats()["old_objects"])
most = 0
churn(100000)
say("hold")
churn(300000)
print("end", most < 300000 or most)                 # 60,000 of them are alive
"""

# Held and let go at random moments, while all kinds of calls are made.
TORTURE = BEGIN + """
import random
random.seed(int(sys.argv[1]))
say("go")
end = time.monotonic() + float(sys.argv[2])
calls = [lambda: gc.collect(0), lambda: gc.collect(1), gc.collect, zgc.collect, gc.freeze, gc.unfreeze,
         lambda: zgc.collect(wait=False), lambda: (zgc.disable(), zgc.enable()), zgc.verify]
buffer = [None] * 5000
def thread():
    while time.monotonic() < end:
        x = [ring() for _ in range(500)]
threads = [threading.Thread(target=thread) for _ in range(1)]
for t in threads: t.start()
while time.monotonic() < end:
    for i in range(random.randrange(3000)):
        buffer[i] = ring(random.randrange(2, 6))
        if i % 50 == 0:
            deferred()
    if random.random() < 0.1:
        child = os.fork()
        if child == 0:
            os._exit(gc.collect() < 0)
        assert os.waitpid(child, 0)[1] == 0
    random.choice(calls)()
for t in threads: t.join()
gc.unfreeze()
assert all(x == [i] for i, x in enumerate(keep))
print("end", zgc.verify() > 0)
"""


@requires_active
class HeldThread(unittest.TestCase):
    def start(self, code, *argv, **options):
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", textwrap.dedent(code), *map(str, argv)],
            env=environment(True, {"SMALL": 0, **options}), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.rest, process)
        self.addCleanup(process.kill)
        return process

    def said(self, process, word):
        line = process.stdout.readline()
        self.assertEqual(line.strip(), word, line and process.stderr.read() if line != word + "\n" else "")

    def holder(self, process):
        self.tid = thread_of(process.pid)
        try:
            return Holder(self.tid)
        except OSError as error:
            self.skipTest(f"ptrace: {error}")

    def answer(self, process):
        process.stdin.write("\n")
        process.stdin.flush()

    def rest(self, process, seconds=60):
        """What it prints until its end; its stacks when there is none."""
        end = time.monotonic() + seconds
        while process.poll() is None:
            with contextlib.suppress(OSError):
                os.waitpid(self.tid, WALL | os.WNOHANG)     # until then the process has not ended
            if time.monotonic() > end:
                process.send_signal(signal.SIGABRT)
                time.sleep(1)
                process.kill()
                raise AssertionError(f"no end after {seconds} s\n{process.stderr.read()}")
            time.sleep(0.01)
        return (process.stdout.read(), process.stderr.read()) if not process.stdout.closed else None

    def ends(self, process, expected, seconds=60):
        out, err = self.rest(process, seconds)
        self.assertEqual((process.returncode, out, err), (0, expected, ""))

    def test_every_call_returns(self):
        for delay in 0, 0.02, 0.1:
            with self.subTest(delay):
                process = self.start(CALLS, delay)
                self.said(process, "hold")
                self.holder(process).hold()
                self.answer(process)
                self.ends(process, "end True 100000\n")

    def test_memory_stays_bounded(self):
        process = self.start(CHURN)
        self.said(process, "hold")
        self.holder(process).hold()
        self.answer(process)
        self.ends(process, "end True True\n")

    def test_a_small_heap_stays_small(self):
        process = self.start(SMALL, SMALL=100000)
        self.said(process, "hold")
        self.holder(process).hold()
        self.answer(process)
        self.ends(process, "end True\n")

    def test_held_at_any_moment(self):
        seconds = float(os.environ.get("ZGCTEST_SECONDS", "3"))
        seed = int(os.environ.get("ZGCTEST_SEED", "1"))
        process = self.start(TORTURE, seed, seconds)
        self.said(process, "go")
        holder = self.holder(process)
        self.answer(process)
        chance = random.Random(seed)
        try:
            while process.poll() is None:
                holder.hold()
                time.sleep(chance.choice((0.0001, 0.001, 0.01, 0.05, 0.3)))
                holder.let_go()
                time.sleep(chance.choice((0.0001, 0.001, 0.005, 0.02)))
        except OSError:                             # it has ended
            pass
        self.ends(process, "end True\n", seconds + 60)


if __name__ == "__main__":
    main()
