"""fork at any moment, with what programs do next: collect, exit, exec, fork again."""

import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
import unittest
import warnings
import weakref

from zgctest import ACTIVE, age, collect, main, run, wait_for, zgc

# From 3.12 on a fork beside other threads warns. A child that is forked while another thread writes that warning
# inherits stderr's lock, and would wait for ever to flush: with stock, too. test_fork_warnings looks at the warning.
def setUpModule():
    """Here, since unittest puts a filter of its own in front of those that were there before."""
    warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)


class Node:
    def __init__(self, name):
        self.name = name
        self.me = self


def start_collection():
    if ACTIVE:
        zgc.collect(wait=False)


def live_heap(n=40000):
    return {i: [Node(i), (i, [i]), {i}] for i in range(n)}


def intact(heap):
    return all(x[0].me.name == i and x[1] == (i, [i]) and x[2] == {i} for i, x in heap.items())


def in_child(work):
    """Fork; the child runs work() and leaves with 0 when that is true. Returns the child's pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(120)
            status = 0 if work() else 3
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def child_life(heap):
    """What a forked worker does: check what it inherited, allocate, drop, collect."""
    refs = [weakref.ref(Node(i)) for i in range(500)]
    own = live_heap(3000)
    age()
    collect()
    gc.collect()
    if ACTIVE:
        zgc.verify()
    return intact(heap) and intact(own) and all(r() is None for r in refs)


class Fork(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.heap = live_heap()
        age()

    def test_while_a_collection_runs(self):
        pids = []
        for i in range(12):
            start_collection()
            time.sleep(random.random() * 0.02)
            pids.append(in_child(lambda: child_life(self.heap)))
            if len(pids) == 4:
                self.assertEqual([status_of(p) for p in pids], [0] * 4)
                pids = []
        self.assertTrue(intact(self.heap))

    def test_while_automatic_collections_run(self):
        pids = []
        for i in range(6):
            keep = [[Node(j)] for j in range(random.randrange(20000))]
            pids.append(in_child(lambda: child_life(self.heap) and
                                 all(n[0].name == j for j, n in enumerate(keep))))
        self.assertEqual([status_of(p) for p in pids], [0] * len(pids))

    def test_garbage_of_the_parent_is_collected_in_both(self):
        nodes = [Node(i) for i in range(2000)]
        refs = [weakref.ref(n) for n in nodes]
        age()
        start_collection()
        del nodes

        def work():
            collect()
            collect()
            return sum(r() is not None for r in refs) == 0
        self.assertEqual(status_of(in_child(work)), 0)
        self.assertTrue(work())

    def test_child_of_a_child_of_a_child(self):
        def generation(n):
            if n == 0:
                return child_life(self.heap)
            start_collection()
            return intact(self.heap) and status_of(in_child(lambda: generation(n - 1))) == 0
        self.assertTrue(generation(4))

    def test_from_another_thread(self):
        results = []

        def work():
            for _ in range(3):
                start_collection()
                results.append(status_of(in_child(lambda: child_life(self.heap))))
        threads = [threading.Thread(target=work) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(results, [0] * 9)

    def test_in_a_thread_that_simply_returns(self):
        """Nothing ends such a child but the end of its threads: ours must not count."""
        def work():
            pid = os.fork()
            if pid == 0:
                collect()                       # starts our threads
                t = threading.Thread(target=lambda: (start_collection(), time.sleep(0.1)))
                t.start()                       # outlives the first thread
                return
            status.append(status_of(pid))
        status = []
        t = threading.Thread(target=work)
        t.start()
        t.join(60)
        self.assertEqual(status, [0])

    def test_while_other_threads_allocate_and_collect(self):
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                [Node(i) for i in range(500)]
                start_collection()
        threads = [threading.Thread(target=churn) for _ in range(4)]
        for t in threads:
            t.start()
        try:
            for _ in range(10):
                self.assertEqual(status_of(in_child(lambda: child_life(self.heap))), 0)
        finally:
            stop.set()
            for t in threads:
                t.join()

    def test_in_a_signal_handler(self):
        pids = []

        def handler(*_):
            pids.append(in_child(lambda: intact(self.heap) and collect() >= 0))
            if len(pids) < 8:   # no interval: where a fork takes longer, handlers would nest
                signal.setitimer(signal.ITIMER_REAL, 0.01)
        old = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            while len(pids) < 8:
                keep = [Node(i) for i in range(1000)]
                start_collection()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        self.assertEqual([status_of(p) for p in pids], [0] * 8)
        self.assertEqual(len(keep), 1000)

    def test_with_the_collector_disabled(self):
        gc.disable()
        try:
            self.assertEqual(status_of(in_child(lambda: not gc.isenabled() and
                                                gc.collect() >= 0 and intact(self.heap))), 0)
        finally:
            gc.enable()

    def test_frozen_parent(self):
        """The prefork recipe: freeze in the parent, collect in the children."""
        gc.freeze()
        try:
            pids = [in_child(lambda: gc.get_freeze_count() > 0 and child_life(self.heap))
                    for _ in range(4)]
            self.assertEqual([status_of(p) for p in pids], [0] * 4)
        finally:
            gc.unfreeze()

    def test_many_at_once(self):
        pids = []
        for _ in range(30):
            start_collection()
            pids.append(in_child(lambda: collect() >= 0 and intact(self.heap)))
        self.assertEqual([status_of(p) for p in pids], [0] * 30)


class Processes(unittest.TestCase):
    def test_children_that_end_in_every_way(self):
        """A forked child finalises its interpreter, as os.fork() users rely on."""
        code = """
            import atexit, os, sys, zgctest
            heap = [[i] for i in range(30000)]
            zgctest.age()
            atexit.register(lambda: print("atexit", flush=True))
            how = sys.argv[1]
            if zgctest.ACTIVE:
                zgctest.zgc.collect(wait=False)
            if os.fork() == 0:
                zgctest.collect()
                if how == "exit": sys.exit(4)
                if how == "_exit": os._exit(4)
                if how == "raise": raise SystemExit(4)
                if how == "exec": os.execv("/bin/sh", ["sh", "-c", "exit 4"])
                if how == "return": heap.clear(); zgctest.collect(); sys.exit(4)
            status = os.waitstatus_to_exitcode(os.wait()[1])
            print(status, len(heap))
        """
        for how in ("exit", "_exit", "raise", "exec", "return"):
            out = run(code, how).out.split("\n")
            self.assertIn("4 30000", out, how)
            self.assertEqual(out.count("atexit"), 1 if how in ("_exit", "exec") else 2, how)

    def test_multiprocessing_pools(self):
        for method in ("fork", "forkserver", "spawn"):
            with self.subTest(method):
                context = multiprocessing.get_context(method)
                with context.Pool(4) as pool:
                    data = [[j, [j], {j: j}] for j in range(200)]
                    results = pool.map(sorted, [data[::-1]] * 20, chunksize=1)
                    self.assertEqual(results, [sorted(data[::-1])] * 20)

    def test_multiprocessing_objects(self):
        code = """
            import multiprocessing as mp, zgctest
            def work(q, r, n):
                total = 0
                while (item := q.get()) is not None:
                    keep = [[i] for i in range(2000)]
                    total += sum(item["data"]) + len(keep)
                zgctest.collect()
                r.put(total)
            if __name__ == "__main__":
                mp.set_start_method("fork")
                q, r = mp.Queue(), mp.Queue()
                workers = [mp.Process(target=work, args=(q, r, i)) for i in range(4)]
                [w.start() for w in workers]
                for i in range(100):
                    q.put({"data": list(range(100))})
                    if zgctest.ACTIVE: zgctest.zgc.collect(wait=False)
                [q.put(None) for w in workers]
                print(sum(r.get() for w in workers))
                [w.join() for w in workers]
                print([w.exitcode for w in workers])
        """
        out = run(code).out
        self.assertEqual(out, f"{100 * (4950 + 2000)}\n[0, 0, 0, 0]\n")

    def test_concurrent_futures(self):
        code = """
            from concurrent.futures import ProcessPoolExecutor
            import math, zgctest
            with ProcessPoolExecutor(4) as pool:
                if zgctest.ACTIVE: zgctest.zgc.collect(wait=False)
                print(sum(pool.map(math.factorial, range(200), chunksize=10)) % 1000003)
        """
        self.assertEqual(run(code).out, run(code, preload=False).out)

    def test_subprocess_from_threads_during_collections(self):
        failures = []

        def work():
            for i in range(8):
                start_collection()
                done = subprocess.run([sys.executable, "-c", "print([[i] for i in range(3)])"],
                                      capture_output=True, text=True)
                if (done.returncode, done.stdout) != (0, "[[0], [1], [2]]\n"):
                    failures.append(done)
                if subprocess.run(["/bin/true"], preexec_fn=lambda: None).returncode:
                    failures.append("true")
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failures, [])

    def test_posix_spawn_and_vfork_users(self):
        for _ in range(5):
            start_collection()
            pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 6"], os.environ)
            self.assertEqual(status_of(pid), 6)
            self.assertEqual(subprocess.call(["/bin/sh", "-c", "exit 5"], close_fds=False), 5)

    def test_os_system_and_popen(self):
        start_collection()
        self.assertEqual(os.waitstatus_to_exitcode(os.system("exit 3")), 3)
        self.assertEqual(os.popen("echo hello").read(), "hello\n")

    def test_no_child_and_no_sigchld_of_ours(self):
        code = """
            import os, signal, zgctest
            seen = []
            signal.signal(signal.SIGCHLD, lambda *a: seen.append(1))
            heap = [[i] for i in range(50000)]
            for _ in range(10):
                zgctest.age(); zgctest.collect()
            try:
                os.waitpid(-1, os.WNOHANG)
                print("a child")
            except ChildProcessError:
                print("no child", seen)
        """
        self.assertEqual(run(code).out, "no child []\n")

    @unittest.skipUnless(ACTIVE, "needs the active library")
    def test_the_childs_collector_is_its_own(self):
        """The child is active with a collector of its own; the parent keeps its own."""
        def tasks():
            return len(os.listdir("/proc/self/task"))

        def work():
            before = zgc.stats()["collections_explicit"]
            zgc.collect()
            return (zgc.status()["active"] and tasks() >= 1 and
                    zgc.stats()["collections_explicit"] == before + 1)
        for _ in range(5):
            zgc.collect(wait=False)
            self.assertEqual(status_of(in_child(work)), 0)
            before = zgc.stats()["collections"]
            zgc.collect()
            self.assertGreater(zgc.stats()["collections"], before)
        self.assertTrue(wait_for(lambda: not zgc.stats()["running"]))


if __name__ == "__main__":
    main()
