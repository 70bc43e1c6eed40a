"""Threads by the hundred, signal storms, debugging aids and deep structures during collections."""

import contextlib
import faulthandler
import gc
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
import weakref

from zgctest import ACTIVE, age, collect, main, requires_active, run, wait_for, zgc


class Node:
    def __init__(self, name=None):
        self.name = name
        self.me = self


def start_collection():
    if ACTIVE:
        zgc.collect(wait=False)


def in_threads(n, work):
    """Run work(i) in n threads at once; an exception in one fails the caller."""
    errors = []

    def guarded(i):
        try:
            work(i)
        except BaseException as e:
            errors.append(e)
    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


class Threads(unittest.TestCase):
    def test_two_hundred_threads_allocate_and_collect(self):
        barrier = threading.Barrier(200)

        def work(i):
            barrier.wait()
            mine = [[i, j, Node((i, j))] for j in range(300)]
            for j in range(20):
                Node(j)
            if i % 20 == 0:
                collect()
            for j, (a, b, node) in enumerate(mine):
                assert (a, b) == (i, j) and node.me.name == (i, j)
        in_threads(200, work)

    def test_many_short_threads(self):
        total = []

        def work(i):
            total.append(len([[Node(j)] for j in range(50)]))
        for _ in range(40):
            in_threads(25, work)
        self.assertEqual(total, [50] * 1000)
        collect()

    def test_collect_from_many_threads_at_once(self):
        for how in (collect, gc.collect, lambda: gc.collect(0), start_collection):
            results = []
            in_threads(16, lambda i: results.append(how()))
            self.assertEqual(len(results), 16)

    def test_objects_freed_by_another_thread_than_the_one_that_made_them(self):
        pipes = [queue.SimpleQueue() for _ in range(4)]

        def work(i):
            rng = random.Random(i)
            for n in range(1500):
                size = rng.choice((1, 30, 400, 3000))
                pipes[(i + 1) % 4].put(([n] * size, bytes([n % 256]) * size, {n: Node(n)}))
                items, raw, table = pipes[i].get()
                k = items[0]
                assert items.count(k) == len(items) == len(raw) and raw.count(k % 256) == len(raw)
                assert table[k].me.name == k
        in_threads(4, work)

    def test_threads_waiting_in_locks_while_collections_run(self):
        release = threading.Event()
        held = []

        def work(i):
            local = Node(i)
            release.wait()
            held.append(local.me.name)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(50)]
        for t in threads:
            t.start()
        for _ in range(5):
            age()
            collect()
        release.set()
        for t in threads:
            t.join()
        self.assertEqual(sorted(held), list(range(50)))

    def test_warming_up_while_another_thread_collects(self):
        # A finalizer lets the main thread in, for which the timer is due. The proofs of the walkers,
        # which call setattr, outlasted that collection and left the flag of it set for good.
        run('''
            import builtins, gc, threading, time
            entered, go, ended = (threading.Event() for _ in range(3))

            class Slow:
                def __init__(self):
                    self.me = self

                def __del__(self):
                    entered.set()
                    go.wait(10)

            def collect():
                Slow()
                gc.collect(1)
                ended.set()

            plain = setattr

            def setattr(*arguments):
                go.set()
                ended.wait(10)
                return plain(*arguments)

            gc.disable()
            builtins.setattr = setattr
            thread = threading.Thread(target=collect)
            thread.start()
            entered.wait(10)
            gc.enable()
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                sum(range(100))
            go.set()
            thread.join()
            builtins.setattr = plain
            ring = []
            ring.append(ring)
            del ring
            assert gc.collect() == 1
        ''', preload=True, options={"INTERVAL": 1})

    def test_thread_locals_die_with_their_threads(self):
        local = threading.local()
        refs = []

        def work(i):
            local.node = Node(i)
            refs.append(weakref.ref(local.node))
        in_threads(50, work)
        collect()
        collect()
        self.assertEqual(sum(r() is not None for r in refs), 0)

    def test_small_switch_interval(self):
        old = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        shared = [Node(i) for i in range(2000)]
        try:
            def work(i):
                rng = random.Random(i)
                for _ in range(4000):
                    a, b = rng.randrange(2000), rng.randrange(2000)
                    shared[a], shared[b] = shared[b], shared[a]
                    Node()
                    if rng.random() < 0.01:
                        start_collection()
            in_threads(6, work)
        finally:
            sys.setswitchinterval(old)
        # Swaps of several threads may lose one of two; none may be broken.
        self.assertTrue(all(n.me is n for n in shared))

    def test_frames_and_generators_of_running_threads_hold(self):
        stop = threading.Event()
        bad = []

        def generator(i):
            local = Node(i)
            while True:
                yield local.me.name

        def work(i):
            g = generator(i)
            while not stop.is_set():
                if next(g) != i:
                    bad.append(i)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for _ in range(10):
            age()
            collect()
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])


@requires_active
class OurThreads(unittest.TestCase):
    CODE = """
        import os, time, threading, zgc
        from zgctest import age
        for _ in range(3):
            age(); zgc.collect()
        assert threading.active_count() == 1
        main = os.getpid()
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/status") as f:
                fields = dict(line.split(":", 1) for line in f)
            print(int(task) == main, fields["Name"].strip(), fields["SigBlk"].strip())
    """

    def test_few_threads_by_name(self):
        tasks = [line.split() for line in run(self.CODE).out.splitlines()]
        mine = [t for t in tasks if t[0] == "False"]
        self.assertLessEqual(len(mine), 4)
        for _, name, _ in mine:
            self.assertTrue(name.startswith("zgc"), name)

    def test_they_take_no_signals(self):
        """A signal to the process must reach a thread of the program."""
        for line in run(self.CODE).out.splitlines():
            is_main, name, blocked = line.split()
            if is_main == "False":
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1,
                               signal.SIGCHLD, signal.SIGPROF):
                    self.assertTrue(int(blocked, 16) >> (number - 1) & 1, f"{name} {number!r}")

    def test_none_in_a_program_that_does_nothing(self):
        out = run("import os; print(len(os.listdir('/proc/self/task')))").out
        self.assertLessEqual(int(out), 1 + 3)


OPENED_BY_OTHERS = """
import ctypes, os, time, zgc
live = [[i] for i in range(200000)]
zgc.collect()
libc = ctypes.CDLL(None, use_errno=True)
watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
for name in "statm", "cgroup", "stat":
    assert libc.inotify_add_watch(watch, f"/proc/{os.getpid()}/{name}".encode(), 0x20) >= 0  # IN_OPEN
open("/proc/self/stat").close()
assert os.read(watch, 4096)
time.sleep(2.2)  # no safepoint comes; the collector's thread does what it does from time to time
try:
    os.read(watch, 65536)
    print("opened")
except BlockingIOError:
    print("none")
"""


@requires_active
class DescriptorsOfThreads(unittest.TestCase):
    def test_threads_of_ours_open_no_files(self):
        # A program that closes a descriptor and opens another expects to get its number.
        self.assertEqual(run(OPENED_BY_OTHERS).out.split(), ["none"])


class Signals(unittest.TestCase):
    @contextlib.contextmanager
    def storm(self, handler):
        old = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)

    def test_handlers_that_allocate_and_collect(self):
        calls = []

        def handler(*_):
            calls.append(1)
            for i in range(20):
                Node(i)
            if len(calls) % 20 == 0:
                start_collection()
            if len(calls) % 100 == 0:
                gc.collect(0)
        live = [Node(i) for i in range(20000)]
        age()
        with self.storm(handler):
            for _ in range(10):
                collect()
                [[] for _ in range(20000)]
        self.assertGreater(len(calls), 5)
        self.assertEqual([n.me.name for n in live], list(range(20000)))

    def test_handlers_that_raise_out_of_a_waiting_collection(self):
        class Stop(Exception):
            pass

        def handler(*_):
            raise Stop
        live = [Node(i) for i in range(100000)]
        age()
        stops = 0
        old = signal.signal(signal.SIGALRM, handler)
        for _ in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.003)
                while True:
                    collect()
            except Stop:
                stops += 1
        signal.signal(signal.SIGALRM, old)
        self.assertEqual(stops, 60)
        self.assertEqual([n.me.name for n in live], list(range(100000)))
        ref = weakref.ref(Node())
        collect()
        collect()
        self.assertIsNone(ref())

    def test_blocked_signals_wait_for_sigwait(self):
        """Were one of our threads to take it, it would kill the process."""
        age()
        old = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
        try:
            for _ in range(20):
                start_collection()
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.001)
                self.assertIn(signal.SIGUSR1, signal.sigpending())
                self.assertEqual(signal.sigwait([signal.SIGUSR1]), signal.SIGUSR1)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def test_system_calls_are_not_interrupted_by_us(self):
        r, w = os.pipe()
        for _ in range(5):
            start_collection()
            threading.Timer(0.02, os.write, (w, b"x")).start()
            self.assertEqual(os.read(r, 1), b"x")
        os.close(r)
        os.close(w)

    def test_wakeup_fd_sees_only_the_programs_signals(self):
        r, w = os.pipe()
        os.set_blocking(w, False)
        os.set_blocking(r, False)
        old = signal.set_wakeup_fd(w)
        try:
            for _ in range(5):
                age()
                collect()
            with self.assertRaises(BlockingIOError):
                os.read(r, 10)
        finally:
            signal.set_wakeup_fd(old)
            os.close(r)
            os.close(w)


class Tools(unittest.TestCase):
    def test_faulthandler_dumps_during_collections(self):
        with tempfile.TemporaryFile("w+") as f:
            live = [Node(i) for i in range(50000)]
            stop = threading.Event()

            def dump():
                while not stop.is_set():
                    faulthandler.dump_traceback(f, all_threads=True)
            thread = threading.Thread(target=dump)
            thread.start()
            for _ in range(5):
                age()
                collect()
            stop.set()
            thread.join()
            f.seek(0)
            text = f.read()
        self.assertGreater(text.count("most recent call first"), 5)
        self.assertIn("test_faulthandler_dumps_during_collections", text)
        self.assertTrue(all(n.me is n for n in live))

    def test_settrace_and_setprofile_see_no_frames_of_ours(self):
        code = """
            import sys
            def program():
                import zgctest
                keep = [[i] for i in range(5000)]
                zgctest.age()
                return len(keep)
            import zgctest
            files = set()
            def tracer(frame, event, arg):
                files.add(frame.f_code.co_filename)
                return tracer
            sys.settrace(tracer); sys.setprofile(tracer)
            program()
            sys.settrace(None); sys.setprofile(None)
            print([f for f in files if f != "<string>" and not f.endswith("zgctest.py")])
        """
        self.assertEqual(run(code).out, "[]\n")

    def test_audit_hooks_see_no_import_of_ours(self):
        code = """
            import sys, zgctest
            seen = []
            sys.addaudithook(lambda name, args: seen.append(name) if name == "import" else None)
            keep = [[i] for i in range(5000)]
            zgctest.age(); zgctest.collect()
            print(seen)
        """
        self.assertEqual(run(code).out, "[]\n")

    def test_sys_current_frames_and_exceptions(self):
        start_collection()
        frames = sys._current_frames()
        self.assertLessEqual(set(frames), {t.ident for t in threading.enumerate()})

    def test_recursion_to_the_limit_during_collections(self):
        def down(n):
            keep = [Node(n)]
            try:
                return down(n + 1)
            except RecursionError:
                return keep[0].name
        for _ in range(10):
            start_collection()
            self.assertGreater(down(0), 100)


class DeepStructures(unittest.TestCase):
    """A collector that recurses would overflow its stack; each is grown old, walked, dropped."""

    DEPTH = 1_000_000

    def check(self, link, ring=True):
        bottom = top = Node("bottom")
        ref = weakref.ref(bottom)
        for _ in range(self.DEPTH):
            top = link(top)
        bottom.me = top if ring else None
        age()
        collect()
        self.assertIsNotNone(ref())
        del top, bottom
        if ring:
            collect()
            collect()
        self.assertIsNone(ref())

    def test_linked_list_of_instances(self):
        def link(rest):
            node = Node()
            node.next = rest
            return node
        self.check(link)

    def test_nested_tuples(self):
        self.check(lambda rest: (rest,))

    def test_nested_lists(self):
        self.check(lambda rest: [rest])

    def test_nested_dicts(self):
        self.check(lambda rest: {0: rest})

    def test_alternating(self):
        kinds = [lambda r: (r,), lambda r: [r], lambda r: {1: r}]
        self.check(lambda rest: random.choice(kinds)(rest))

    def test_without_a_ring_reference_counts_do_it(self):
        self.check(lambda rest: [rest], ring=False)

    def test_partials_and_closures(self):
        def link(rest):
            return lambda: rest
        self.DEPTH = 50_000     # a closure's deallocation nests in C on some versions
        self.check(link)

    def test_star(self):
        """One object with a million neighbours, each with a reference back."""
        hub = Node("hub")
        hub.spokes = [[hub] for _ in range(self.DEPTH)]
        ref = weakref.ref(hub)
        age()
        collect()
        self.assertEqual(len(hub.spokes), self.DEPTH)
        del hub
        collect()
        collect()
        self.assertIsNone(ref())


class Descriptors(unittest.TestCase):
    def test_none_leak(self):
        age()
        collect()
        before = sorted(os.listdir("/proc/self/fd"))
        for _ in range(30):
            keep = [Node(i) for i in range(1000)]
            age()
            start_collection()
            collect()
        self.assertEqual(sorted(os.listdir("/proc/self/fd")), before)
        self.assertEqual(len(keep), 1000)

    def test_a_new_process_has_those_of_stock(self):
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
        # The log keeps one descriptor, a high one: no log here.
        self.assertEqual(run(code, env={"ZGC_LOG": None}).out, run(code, preload=False).out)

    def test_the_logs_is_not_inherited(self):
        code = """
            import subprocess
            print(subprocess.run(["ls", "/proc/self/fd"], capture_output=True, text=True,
                                 close_fds=False).stdout.split())
        """
        self.assertEqual(run(code).out, run(code, preload=False).out)

    @unittest.skipUnless(os.path.exists("/usr/bin/gdb"), "needs gdb")
    def test_gdb_can_attach_during_a_collection(self):
        code = """
            import sys, zgctest
            heap = [[i] for i in range(100000)]
            print("ready", flush=True)
            while True:
                zgctest.age(); zgctest.collect()
        """
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)],
                                   stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(process.stdout.readline(), "ready\n")
            env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
            out = subprocess.run(["gdb", "-p", str(process.pid), "-batch", "-ex", "info threads"],
                                 capture_output=True, text=True, env=env, timeout=120).stdout
            self.assertIn("LWP", out)
            self.assertFalse(wait_for(lambda: process.poll() is not None, 0.3))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


if __name__ == "__main__":
    main()
