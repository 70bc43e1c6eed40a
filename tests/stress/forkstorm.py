#!/usr/bin/env python3
"""Forks and signals at any moment of a collection; each child proves itself and ends in its way.

    forkstorm.py                            15 s, for a test run
    forkstorm.py --seconds 600 --threads 8
    LD_PRELOAD=libzgcpreload.so ZGC_STRESS=1 forkstorm.py

The parent keeps a heap with checksums, makes garbage in several threads, takes a signal every
millisecond, and forks from its main thread, from other threads and from signal handlers. A child
checks what it inherited, lives a little (allocates, drops rings, collects, forks again) and ends by
os._exit, after its exit functions, by exec or by a signal; its status must be the one expected.
"""

import argparse
import atexit
import faulthandler
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
import weakref

try:
    import zgc
    ACTIVE = zgc.status()["active"]
except ImportError:
    ACTIVE = False

EXPECTED = 42
LIFETIME = 120      # seconds after which a child that hangs dumps its stacks and dies


class Node:
    def __init__(self, name, **attributes):
        self.name = name
        self.me = self
        self.__dict__.update(attributes)


def collect(wait=True):
    return zgc.collect(wait=wait) if ACTIVE else gc.collect()


def build(n):
    """A heap whose every part can be computed again."""
    return {i: [Node(i, data={i: (i, [i])}), {str(i)}, bytes([i % 256]) * (i % 600)]
            for i in range(n)}


def check(heap, n):
    if len(heap) != n:
        raise AssertionError(f"{len(heap)} entries of {n}")
    for i, (node, names, raw) in heap.items():
        if not (node.me is node and node.name == i and node.data == {i: (i, [i])} and
                names == {str(i)} and raw == bytes([i % 256]) * (i % 600)):
            raise AssertionError(f"entry {i} is damaged: {node.__dict__} {names} {raw[:20]}")


# ---- children ------------------------------------------------------------------------------------

def by_os_exit():
    os._exit(EXPECTED)


def by_exit_functions():
    atexit._run_exitfuncs()
    gc.collect()
    os._exit(EXPECTED)


def by_exec():
    os.execv("/bin/sh", ["sh", "-c", f"exit {EXPECTED}"])


def by_signal():
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGUSR2)
    time.sleep(60)


def by_exit_while_collecting():
    collect(wait=False)
    os._exit(EXPECTED)


ENDS = [(by_os_exit, EXPECTED), (by_exit_functions, EXPECTED), (by_exec, EXPECTED),
        (by_signal, -signal.SIGUSR2), (by_exit_while_collecting, EXPECTED)]


def live(storm, rng, depth):
    """What a child does before its end."""
    check(storm.heap, storm.size)
    dead = [weakref.ref(Node(i, more=[Node(j) for j in range(3)])) for i in range(200)]
    own = build(rng.randrange(2000))
    can_collect = collects()
    for _ in range(rng.randrange(1, 4)):
        [[[]] for _ in range(rng.randrange(20000))]
        collect(wait=rng.random() < 0.5)
    if depth and rng.random() < 0.4:
        storm.reap([storm.fork(rng, depth - 1)])
    if rng.random() < 0.2 and subprocess.run(["/bin/sh", "-c", "exit 3"]).returncode != 3:
        raise AssertionError("subprocess")
    if can_collect:
        for _ in range(100):
            collect()
            if all(r() is None for r in dead):
                break
            time.sleep(0.01)
        else:
            raise AssertionError(f"{sum(r() is not None for r in dead)} dead rings remain")
    check(own, len(own))
    check(storm.heap, storm.size)
    if ACTIVE:
        zgc.verify()


def dump_stacks_and_die_after(seconds):
    """faulthandler's own timer would wait in a grandchild for a thread that fork did not take."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.register(signal.SIGALRM, chain=True)
    signal.alarm(seconds)


def collects():
    """False in a child that was forked inside another thread's collection: stock CPython believes
    for ever that one is running, and never starts another."""
    before = gc.get_stats()[2]["collections"]
    gc.collect()
    return gc.get_stats()[2]["collections"] > before


# ---- the storm -----------------------------------------------------------------------------------

class Storm:
    def __init__(self, args):
        self.args = args
        self.size = args.objects
        self.heap = build(args.objects)
        self.end = time.monotonic() + args.seconds
        self.errors = []
        self.forks = self.signals = 0
        self.from_handler = []

    def fork(self, rng, depth):
        """Returns (pid, expected status)."""
        end, expected = rng.choice(ENDS)
        seed = rng.random()
        pid = os.fork()
        if pid:
            self.forks += 1
            return pid, expected
        try:
            dump_stacks_and_die_after(LIFETIME)
            live(self, random.Random(seed), depth)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        end()

    def reap(self, children):
        for pid, expected in children:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if status != expected:
                raise AssertionError(f"child {pid}: status {status}, expected {expected}")
        children.clear()

    def on_signal(self, *_):
        self.signals += 1
        for i in range(10):
            Node(i)
        if self.signals % 50 == 0:
            collect(wait=False)
        if self.signals % 200 == 0 and len(self.from_handler) < 4:
            self.from_handler.append(self.fork(random.Random(self.signals), 0))

    def guarded(self, work, *arguments):
        try:
            while time.monotonic() < self.end and not self.errors:
                work(*arguments)
        except BaseException as e:
            self.errors.append(e)

    def churn(self, rng):
        keep = [Node(i) for i in range(rng.randrange(3000))]
        if rng.random() < 0.1:
            collect(wait=rng.random() < 0.3)
        if keep and keep[-1].me.name != len(keep) - 1:
            raise AssertionError("a young object is damaged")

    def forking(self, rng):
        collect(wait=False)
        time.sleep(rng.random() * 0.01)
        self.reap([self.fork(rng, 2) for _ in range(rng.randrange(1, 4))])

    def go(self):
        threads = [threading.Thread(target=self.guarded,
                                    args=(work, random.Random(f"{self.args.seed} {i}")))
                   for i, work in enumerate([self.churn, self.forking] * (self.args.threads // 2))]
        for t in threads:
            t.start()
        signal.signal(signal.SIGALRM, self.on_signal)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        self.guarded(self.main_round, random.Random(f"{self.args.seed} main"))
        signal.setitimer(signal.ITIMER_REAL, 0)
        for t in threads:
            t.join()
        try:
            self.reap(self.from_handler)
            check(self.heap, self.size)
            if ACTIVE:
                zgc.verify()
        except (AssertionError, RuntimeError) as e:
            self.errors.append(e)
        return self.report()

    def main_round(self, rng):
        self.forking(rng)
        ready, self.from_handler = self.from_handler, []
        self.reap(ready)

    def report(self):
        print(f"forkstorm: {self.forks} forks of the parent, {self.signals} signals", flush=True)
        for e in self.errors:
            print(f"forkstorm: {type(e).__name__}: {e}", file=sys.stderr)
        if self.errors:
            print(f"forkstorm: FAILED, python {sys.version.split()[0]}, seed {self.args.seed}",
                  file=sys.stderr)
        elif not self.forks or not self.signals:
            print("forkstorm: FAILED: nothing happened", file=sys.stderr)
            return 1
        return 1 if self.errors else 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--threads", type=int, default=4, help="half allocate, half fork (4)")
    parser.add_argument("--objects", type=int, default=5000, help="entries of the heap (5000)")
    args = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore", DeprecationWarning)     # fork with threads, from 3.12 on
    print(f"forkstorm: seed {args.seed}, python {sys.version.split()[0]}, "
          f"{'zgc' if ACTIVE else 'stock'}", flush=True)
    return Storm(args).go()


if __name__ == "__main__":
    sys.exit(main())
