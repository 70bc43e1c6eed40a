"""CPython warns where a process with several threads forks, from 3.12 on: none of ours may be what it counts."""

import sys
import unittest

from zgctest import main, requires_active, run

PRELUDE = """
import gc, os, sys, threading, warnings
try:
    import zgc
except ImportError:
    zgc = None
warnings.simplefilter("always")
seen = []
warnings.showwarning = lambda message, category, *rest: seen.append(category.__name__)

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

def collect():
    zgc.collect() if zgc else gc.collect()

def threads():
    with open("/proc/self/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[17])

keep = [[i] for i in range(100_000)]
collect()
"""

IDLE = """
for _ in range(10):
    fork()
    collect()
    junk = [[i] for i in range(3000)]
print(seen)
"""

# Each fork meets a collection that has just begun, in another of its phases.
AT_WORK = """
class Node:
    def __init__(self):
        self.me = self
import weakref
refs = []
for i in range(60):
    refs += [weakref.ref(Node()) for _ in range(200)]
    if zgc:
        zgc.collect(wait=False)
    junk = [[j] for j in range(i * 150)]
    fork()
print(seen)
collect()
print(sum(ref() is not None for ref in refs))
"""

# Garbage is reclaimed though every collection meets a fork.
STARVED = """
class Node:
    alive = 0
    def __init__(self):
        self.me = self
        Node.alive += 1
    def __del__(self):
        Node.alive -= 1
gc.set_threshold(700, 10, 10)
most = 0
for i in range(120):
    nodes = [Node() for _ in range(2000)]
    keep.append(nodes.pop())
    for _ in range(3):
        junk = [[j] for j in range(2000)]
    fork()
    most = max(most, Node.alive)
print(seen)
print(most < 160_000 or most)
"""

ANOTHER_THREAD = """
go = threading.Event()
thread = threading.Thread(target=go.wait)
thread.start()
fork()
go.set()
thread.join()
print(seen)
"""

OTHER_WAYS = """
import multiprocessing, subprocess, pty
subprocess.run(["/bin/true"], preexec_fn=lambda: None)
subprocess.run(["/bin/true"])
process = multiprocessing.get_context("fork").Process(target=int)
process.start()
process.join()
pid, fd = pty.fork()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
os.close(fd)
print(seen)
"""

# The program's own hooks run before CPython counts, and after we have ended the thread.
HOOKS = """
def hook():
    for _ in range(5):
        junk = [[i] for i in range(200)]
os.register_at_fork(before=hook, after_in_parent=hook)
for _ in range(5):
    fork()
    collect()
print(seen)
"""

# A handler that forks while zgc.collect() waits: the collection is done all the same.
IN_A_HANDLER = """
import signal, weakref
class Node:
    def __init__(self):
        self.me = self
def handler(number, frame):
    fork()
signal.signal(signal.SIGALRM, handler)
left = 0
for i in range(15):
    refs = [weakref.ref(Node()) for _ in range(100)]
    signal.setitimer(signal.ITIMER_REAL, 0.001 * (i + 1))
    collect()
    left += sum(ref() is not None for ref in refs)
signal.setitimer(signal.ITIMER_REAL, 0)
print(seen, left)
"""

BACK = """
fork()
if zgc:
    for _ in range(200_000):
        keep.append([1])
    zgc.collect()
    assert threads() == 2, threads()
    assert zgc.status()["active"]
print(seen)
"""


# The thread is at work where it gets a processor last of all: the fork waits for its end, however long that takes.
NO_PROCESSOR = """
import subprocess, time
def starve():
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm") as file:
            if file.read().startswith("zgc-"):
                os.sched_setscheduler(int(task), os.SCHED_IDLE, os.sched_param(0))
                return True
    return False
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])]
try:
    keep += [[i] for i in range(200_000)]
    for _ in range(4):
        zgc.collect(wait=False)
        while not starve():
            time.sleep(0.001)
        fork()
finally:
    for process in busy:
        process.kill()
        process.wait()
print(seen)
"""


@requires_active
class Warnings(unittest.TestCase):
    def check(self, program):
        stock = run(PRELUDE + program, preload=False).out
        self.assertEqual(run(PRELUDE + program, preload=True, options={"SMALL": 0}).out, stock)

    def test_idle_thread(self):
        self.check(IDLE)

    def test_thread_at_work(self):
        self.check(AT_WORK)

    @unittest.skipIf(sys.version_info < (3, 12), "warns from 3.12 on")
    def test_thread_without_a_processor(self):
        self.assertEqual(run(PRELUDE + NO_PROCESSOR, options={"SMALL": 0}, timeout=200).out, "[]\n")

    def test_collections_are_not_starved(self):
        self.check(STARVED)

    def test_threads_of_the_program_count(self):
        self.check(ANOTHER_THREAD)

    def test_other_ways_to_fork(self):
        self.check(OTHER_WAYS)

    def test_hooks(self):
        self.check(HOOKS)

    def test_forks_in_a_signal_handler(self):
        self.check(IN_A_HANDLER)

    def test_thread_is_back(self):
        self.check(BACK)

    def test_no_exception(self):
        result = run(PRELUDE + "warnings.simplefilter('error')\nfork()\nprint('forked')", options={"SMALL": 0})
        self.assertEqual(result.out, "forked\n")


if __name__ == "__main__":
    main()
