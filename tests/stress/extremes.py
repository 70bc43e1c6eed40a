#!/usr/bin/env python3
"""Programs under extreme conditions, with and without the library: one table.

    extremes.py [--python PYTHON] [--lib LIB] [--only NAME ...] [--huge [GB]] [--overcommit-refused]

Each program checks its own data and ends with status 0, and under the library with a clean zgc.verify().
--huge is a heap of 20 GB, or of GB, for a machine with a fifth more free; nothing else should run then, nor with
--overcommit-refused, which sets vm.overcommit_memory to 2 for the whole machine meanwhile (root). The cgroup
scenario needs root and cgroup version 1. Times are those of a machine that may do other work; peak is the
largest resident set. Exit status 1 when the library's side fails where stock does not, or was inactive.
"""

import argparse
import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time

import patience

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MB = 1 << 20
CGROUP = "/sys/fs/cgroup/memory"
OVERCOMMIT = "/proc/sys/vm/overcommit_memory"

# Before each program. finish() proves that nothing was lost.
PRELUDE = r"""
import gc, os, random, signal, sys, threading, time, weakref
try:
    import zgc
    active = zgc.status()["active"]
    assert active, zgc.status()["reason"]
except ImportError:
    active = False
class Node:
    made = ended = 0
    def __init__(self, n=0):
        self.n, self.me, self.text = n, self, str(n)
class Finalized(Node):
    lock = threading.Lock()
    def __init__(self, n=0):
        super().__init__(n)
        with Finalized.lock:
            Finalized.made += 1
    def __del__(self):
        Finalized.ended += 1
def collect():
    return zgc.collect() if active else gc.collect()
def heap(n):
    return {i: [Node(i), (i, [i]), {i}, bytes([i % 256]) * (i % 300)] for i in range(n)}
def check(live):
    for i, (node, pair, one, raw) in live.items():
        assert node.me.n == i and node.text == str(i) and pair == (i, [i]) and one == {i}, i
        assert raw == bytes([i % 256]) * (i % 300), i
def churn(seconds, live, width=3000):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for i in range(width):
            Node(i)
        for i in random.sample(sorted(live)[:1000], 100):
            live[i] = [Node(i), (i, [i]), {i}, bytes([i % 256]) * (i % 300)]
def finish(*lives):
    for live in lives:
        check(live)
    if active:
        zgc.verify()
    print("finished", flush=True)
"""

CHURN = "live = heap(60000)\nchurn(4, live)\nfinish(live)\n"

STARVED = r"""
def starve(tid):
    os.setpriority(os.PRIO_PROCESS, tid, 19)
    os.sched_setscheduler(tid, os.SCHED_IDLE, os.sched_param(0))
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
live = heap(60000)
collect()
for tid in map(int, os.listdir("/proc/self/task")):
    with open(f"/proc/self/task/{tid}/comm") as file:
        if file.read().startswith("zgc"):
            starve(tid)
parent, others = os.getpid(), []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        while os.getppid() == parent:
            sum(range(100000))
        os._exit(0)
    others.append(pid)
churn(6, live)
for pid in others:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
finish(live)
"""

SIGNALS = r"""
seen = 0
def handler(*unused):
    global seen
    seen += 1
    Node(seen)
    if seen % 50 == 0:
        gc.collect(0)
signal.signal(signal.SIGALRM, handler)
signal.signal(signal.SIGUSR1, handler)
live = heap(40000)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
stop = threading.Event()
def storm():
    while not stop.wait(0.0002):
        os.kill(os.getpid(), signal.SIGUSR1)
thread = threading.Thread(target=storm)
thread.start()
end = time.monotonic() + 5
while time.monotonic() < end:
    churn(0.05, live)
    collect()
stop.set()
thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
assert seen > 10, seen
finish(live)
"""

THREADS = r"""
threading.stack_size(256 << 10)
live = heap(20000)
done = []
go = threading.Barrier(501)
def run(k):
    mine = {i: Node(i) for i in range(k % 50)}
    go.wait()
    for _ in range(6):
        for i in range(200):
            Node(i)
        if k % 100 == 0:
            collect()
        if k % 25 == 0:
            gc.collect()
    assert all(node.me.n == i for i, node in mine.items())
    done.append(k)
threads = [threading.Thread(target=run, args=(k,)) for k in range(500)]
for thread in threads:
    thread.start()
go.wait()
for thread in threads:
    thread.join()
assert len(done) == 500
finish(live)
"""

INTERPRETERS = r"""
import textwrap
try:
    import _interpreters as interpreters
    create = lambda: interpreters.create("isolated")
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda: interpreters.create(isolated=True)
LIFE = textwrap.dedent('''
    import gc
    class Node:
        def __init__(self, n):
            self.n, self.me = n, self
    live = {i: [Node(i), (i, [i]), {i}] for i in range(2000)}
    for _ in range(4):
        for i in range(3000): Node(i)
        gc.collect()
    for i, x in live.items():
        assert x[0].me.n == i and x[1] == (i, [i]) and x[2] == {i}, i
''')
live = heap(30000)
problems = []
def run():
    try:
        one = create()
        answer = interpreters.run_string(one, LIFE)
        if answer is not None:
            problems.append(answer)
        interpreters.destroy(one)
    except Exception as error:
        problems.append(error)
for wave in range(3):
    threads = [threading.Thread(target=run) for _ in range(36)]
    for thread in threads: thread.start()
    while any(thread.is_alive() for thread in threads):
        churn(0.05, live)
        collect()
    for thread in threads: thread.join()
assert not problems, problems[:3]
finish(live)
"""

FINALIZERS = r"""
import warnings
warnings.simplefilter("ignore")
sys.unraisablehook = lambda unused: None
saved, children, refs = [], [], []
class Collects(Finalized):
    def __del__(self):
        super().__del__()
        gc.collect(); gc.collect(0)
class Raises(Finalized):
    def __del__(self):
        super().__del__()
        raise RuntimeError("from a finalizer")
class Resurrects(Finalized):
    def __del__(self):
        super().__del__()
        saved.append(self)
class Blocks(Finalized):
    def __del__(self):
        super().__del__()
        time.sleep(0.01)
class Forks(Finalized):
    def __del__(self):
        super().__del__()
        pid = os.fork()
        if pid == 0:
            Node(1)
            gc.collect()
            os._exit(0 if live[5][0].me.n == 5 else 1)
        children.append(pid)
class Exits(Finalized):
    def __del__(self):
        super().__del__()
        sys.exit(3)
class Allocates(Finalized):
    def __del__(self):
        super().__del__()
        self.more = [Node(i) for i in range(500)]
kinds = [Collects, Raises, Resurrects, Blocks, Forks, Exits, Allocates]
live = heap(30000)
for round in range(12):
    for kind in kinds:
        for i in range(4 if kind in (Forks, Blocks) else 40):
            node = kind(i)
            refs.append(weakref.ref(node))
    del node
    churn(0.2, live)
    collect() if round % 3 else gc.collect()
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
assert all(node.me is node for node in saved) and len(saved) == 480, len(saved)
saved.clear()
for _ in range(3):
    gc.collect()
assert Finalized.made == Finalized.ended, (Finalized.made, Finalized.ended)
assert all(ref() is None for ref in refs)
finish(live)
"""

EXIT_IN_FINALIZER = r"""
class Leaves(Node):
    def __del__(self):
        print("finished", flush=True)
        os._exit(0)
live = heap(30000)
Leaves()
while True:
    churn(0.1, live)
    collect()
"""

# Of 20 GB, 14 are bytes and some 5 containers; grows step by step and watches what the machine has left.
HUGE = r"""
def available():
    with open("/proc/meminfo") as file:
        return next(int(l.split()[1]) << 10 for l in file if l.startswith("MemAvailable"))
blocks, nodes, size, count = [], [], 0, 0
while size < GB * 0.7 * 2**30:
    assert available() > 1 << 30, "the machine has not that much"
    block = bytes([len(blocks) % 256]) * (1 << 20) if len(blocks) % 2 else bytearray(1 << 20)
    blocks.append(block)
    size += len(block)
    if len(blocks) % 8 == 0:
        nodes.append([[count + i, (count + i,)] for i in range(14000)])
        count += 14000
start = time.monotonic()
found = collect()
print(f"{size >> 20} MB in blocks, {2 * count} containers, collection {time.monotonic() - start:.1f} s")
for i, block in enumerate(blocks):
    assert block[0] == block[-1] == (i % 256 if i % 2 else 0), i
n = 0
for group in nodes:
    for entry in group:
        assert entry[0] == n and entry[1][0] == n, n
        n += 1
del blocks[::2]
blocks.append(bytes(1 << 30))
del blocks
print("finished", flush=True)
"""


# -- conditions ---------------------------------------------------------------------------------------------

def limit(kind, size):
    def apply():
        resource.setrlimit(kind, (size, size))
    return apply


def one_processor():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def no_huge_pages():
    PR_SET_THP_DISABLE = 41
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


@contextlib.contextmanager
def cgroup(size):
    """A memory cgroup of the first version; yields what a child calls to enter it."""
    path = os.path.join(CGROUP, f"zgc-extremes-{os.getpid()}")
    try:
        os.mkdir(path)
    except OSError:
        raise Skipped("no cgroup of version 1 can be made") from None
    try:
        with open(os.path.join(path, "memory.limit_in_bytes"), "w") as file:
            file.write(str(size))

        def enter():
            with open(os.path.join(path, "cgroup.procs"), "w") as file:
                file.write(str(os.getpid()))
        yield enter
    finally:
        os.rmdir(path)


@contextlib.contextmanager
def no_overcommit():
    with open(OVERCOMMIT, "r+") as file:
        before = file.read()
        try:
            file.write("2")
            file.flush()
            yield None
        finally:
            file.write(before)


@contextlib.contextmanager
def simply(apply):
    yield apply


class Skipped(Exception):
    pass


def scenarios():
    """name: (program, function that gives a context manager of a preexec function)"""
    nothing = lambda: simply(None)                                      # noqa: E731
    return {
        "one processor": (CHURN, lambda: simply(one_processor)),
        "no huge pages": (CHURN, lambda: simply(no_huge_pages)),
        "collector starved": (STARVED, nothing),
        "RLIMIT_AS 1 GB": (CHURN, lambda: simply(limit(resource.RLIMIT_AS, 1024 * MB))),
        "RLIMIT_AS 200 MB": (CHURN, lambda: simply(limit(resource.RLIMIT_AS, 200 * MB))),
        "RLIMIT_DATA 150 MB": (CHURN, lambda: simply(limit(resource.RLIMIT_DATA, 150 * MB))),
        "cgroup of 150 MB": (CHURN.replace("width=3000", "width=9000"), lambda: cgroup(150 * MB)),
        "signal storm": (SIGNALS, nothing),
        "500 threads": (THREADS, nothing),
        "108 interpreters, own GIL": (INTERPRETERS, nothing),
        "... own GIL, one processor": (INTERPRETERS, lambda: simply(one_processor)),
        "finalizers": (FINALIZERS, nothing),
        "exit in a finalizer": (EXIT_IN_FINALIZER, nothing),
    }


# -- runs ----------------------------------------------------------------------------------------------------------

class Run:
    def __init__(self, python, lib, program, condition, timeout):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("PYTHON", "ZGC_", "LD_PRELOAD"))}
        if lib:
            env["LD_PRELOAD"] = lib
        start = time.monotonic()
        with tempfile.TemporaryFile("w+") as output, condition() as preexec:
            child = subprocess.Popen([python, "-X", "faulthandler", "-c", PRELUDE + program], env=env,
                                     stdout=output, stderr=subprocess.STDOUT, preexec_fn=preexec)
            # The child alone, without its children: wait4 knows its peak.
            self.status, used, stacks = patience.wait(child, timeout)
            self.peak = used.ru_maxrss / 1024 if used else 0
            output.seek(0)
            self.output = output.read() + stacks
        self.seconds = time.monotonic() - start

    def is_good(self):
        return self.status == 0 and "finished" in self.output

    def __format__(self, spec):
        return format(str(self), spec)

    def __str__(self):
        return f"{'ok' if self.is_good() else self.status!s:>7}{self.seconds:7.1f} s{self.peak:7.0f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    known = scenarios()
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--lib", default=os.environ.get("ZGC_LIB") or
                        os.path.join(ROOT, "build", "libzgcpreload.so"))
    parser.add_argument("--only", action="append", choices=known, metavar="NAME",
                        help=f"one of: {'; '.join(known)} (repeatable)")
    parser.add_argument("--huge", type=float, nargs="?", const=20, metavar="GB",
                        help="only the heap of so many GB")
    parser.add_argument("--overcommit-refused", action="store_true", help="only that")
    parser.add_argument("--no-stock", action="store_true", help="with the library only")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for each program")
    arguments = parser.parse_args()
    if arguments.huge:
        known = {f"{arguments.huge:g} GB heap": (f"GB = {arguments.huge}\n" + HUGE, lambda: simply(None))}
    if arguments.overcommit_refused:
        known = {"overcommit refused": (CHURN, no_overcommit),
                 "overcommit refused, threads": (THREADS, no_overcommit)}
    lib = os.path.abspath(arguments.lib)
    version = subprocess.run([arguments.python, "-c", "import sys; print(sys.version_info[1])"],
                             stdout=subprocess.PIPE, check=True).stdout
    bad = 0
    print(f"{'condition':28}{'stock':>20}{'preload':>24}", flush=True)
    for name in arguments.only or known:
        program, condition = known[name]
        if "own GIL" in name and int(version) < 12:
            continue
        try:
            stock = (None if arguments.no_stock else
                     Run(arguments.python, None, program, condition, arguments.timeout))
            ours = Run(arguments.python, lib, program, condition, arguments.timeout)
        except Skipped as reason:
            print(f"{name:28} skipped: {reason}", flush=True)
            continue
        print(f"{name:28}{stock or '-':>20}  {ours}", flush=True)
        if arguments.huge:
            print(f"stock: {stock.output if stock else '-'}\npreload: {ours.output}", flush=True)
        if (stock is None or stock.is_good()) and not ours.is_good():
            bad += 1
            print(ours.output[-3000:], file=sys.stderr, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
