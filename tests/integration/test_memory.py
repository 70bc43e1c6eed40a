"""The heap as a program sees it: contents, growth, limits, and memory that goes back."""

import ctypes
import gc
import random
import sys
import threading
import tracemalloc
import unittest

from zgctest import ACTIVE, age, collect, main, requires_active, rss, run, wait_for, zgc

MB = 1 << 20
# Just below, at and above every kind of boundary: granule, size class, OS page, span, ZPage.
EDGES = sorted({b + d for b in (16, 32, 64, 256, 512, 1024, 4096, 32768, 65536, 131072, MB, 2 * MB,
                                4 * MB) for d in (-17, -1, 0, 1, 33) if b + d > 0})


def pattern(n, seed):
    """n bytes that differ by place and seed."""
    return random.Random(seed).randbytes(min(n, 64)) * (n // 64 + 1)


class Contents(unittest.TestCase):
    def test_every_size_keeps_its_bytes(self):
        kept = [(n, seed, bytearray(pattern(n, seed)[:n])) for n in EDGES for seed in range(3)]
        for n, seed, data in kept:
            self.assertEqual(data, pattern(n, seed)[:n], n)

    def test_growing_step_by_step(self):
        for start, step in ((0, 1), (500, 7), (60000, 997), (MB, 65537)):
            data = bytearray()
            data += pattern(start, start)[:start]
            expected = bytes(data)
            for i in range(200):
                piece = bytes([i]) * step
                data += piece
                expected += piece
                if i % 40 == 0:
                    self.assertEqual(data, expected)
            self.assertEqual(data, expected)

    def test_shrinking(self):
        for n in EDGES:
            data = bytearray(pattern(n, 1)[:n])
            while len(data) > 1:
                del data[len(data) // 2:]
                self.assertEqual(data, pattern(n, 1)[:len(data)])

    def test_large_list_append_pop_and_extend(self):
        items = []
        for i in range(3_000_000):
            items.append(i)
        self.assertEqual(sum(items), 3_000_000 * 2_999_999 // 2)
        del items[100:]
        items.extend(range(1_000_000))
        self.assertEqual(items[:100], list(range(100)))
        self.assertEqual(items[100:], list(range(1_000_000)))
        while len(items) > 10:
            items.pop()
        self.assertEqual(items, list(range(10)))

    def test_large_realloc_while_a_collection_reads(self):
        """Lists and dicts of old objects grow and move while the collector walks them."""
        holders = [[[i]] for i in range(300)]
        tables = [{0: [i]} for i in range(300)]
        age()
        for round_ in range(60):
            if ACTIVE:
                zgc.collect(wait=False)
            for i, (h, t) in enumerate(zip(holders, tables)):
                h.extend([[i]] * (round_ * 7))
                t.update((round_ * 1000 + j, h[0]) for j in range(round_))
                if round_ % 10 == 9:
                    del h[1:]
                    for k in list(t)[1:]:
                        del t[k]
        for i, (h, t) in enumerate(zip(holders, tables)):
            self.assertTrue(all(x == [i] for x in h))
            self.assertTrue(all(x == [i] for x in t.values()))

    def test_random_sizes_in_several_threads(self):
        bad = []

        def work(seed):
            rng = random.Random(seed)
            blocks = {}
            for step in range(4000):
                k = rng.randrange(200)
                if k in blocks:
                    n, s, data = blocks.pop(k)
                    if data != pattern(n, s)[:n]:
                        bad.append((seed, step, n))
                n = rng.choice(EDGES) if rng.random() < 0.02 else int(rng.paretovariate(0.6)) % 9000
                blocks[k] = n, step, pattern(n, step)[:n]
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])

    def test_alignment(self):
        for n in EDGES[:20]:
            buffers = [ctypes.create_string_buffer(n) for _ in range(20)]
            self.assertTrue(all(id(b) % 16 == 0 for b in buffers))
            self.assertTrue(all(id(x) % 16 == 0 for x in [[], (1, 2), {}, object(), "x" * n]))

    def test_getsizeof_is_stocks(self):
        code = """
            import sys, collections, array
            things = [[], [1] * 10, (), (1,), {}, dict.fromkeys(range(100)), set(range(50)), "x" * 99,
                      b"y" * 999, 1 << 99, object(), collections.deque(range(99)), 1.5,
                      array.array("i", range(9)), lambda: 0, type("A", (), {})()]
            for n in range(40):
                x = []
                for i in range(n): x.append(i)
                things.append(x)
            print([sys.getsizeof(t) for t in things])
        """
        self.assertEqual(run(code).out, run(code, preload=False).out)


class Untouched(unittest.TestCase):
    def test_zeros_need_no_memory(self):
        """calloc of a large block: what nobody writes to is not resident."""
        code = """
from zgctest import rss
before = rss()
kept = []
for size in (1 << 22, 1 << 24, 1 << 26, 1 << 28):
    bytearray(200_000)      # leaves memory that was written to where the next block begins
    kept.append(bytes(size))
print(rss() - before)
assert not any(any(block[::4096]) for block in kept)
"""
        self.assertLess(int(run(code).out), 24 << 20)       # of 340 MiB


class GoesBack(unittest.TestCase):
    def falls(self, code, options=None):
        """Run code that prints peak and final RSS in MB: (peak, after)."""
        out = run(code, options={"UNCOMMIT_DELAY": 0, **(options or {})}).out.split()
        return int(out[-2]), int(out[-1])

    SETTLE = """
        import zgctest, gc, time
        peak = zgctest.rss()
        def settle():
            drop()
            zgctest.collect()
            [[] for _ in range(30000)]
            return zgctest.rss() < peak - wanted
        zgctest.wait_for(settle, 40, 0.1)
        print(peak >> 20, zgctest.rss() >> 20)
    """

    def test_after_dropping_half_a_gigabyte_of_small_blocks(self):
        peak, after = self.falls("""
        keep = [bytes(200) for _ in range(2_400_000)]
        def drop(): keep.clear()
        wanted = 400 << 20
        """ + self.SETTLE)
        self.assertGreater(peak, 500)
        self.assertLess(after, peak - 400)

    def test_after_dropping_half_a_gigabyte_of_large_blocks(self):
        peak, after = self.falls("""
        keep = [bytearray(b"x") * 5_000_000 for _ in range(110)]
        def drop(): keep.clear()
        wanted = 450 << 20
        """ + self.SETTLE)
        self.assertGreater(peak, 500)
        self.assertLess(after, peak - 450)

    def test_after_dropping_rings(self):
        peak, after = self.falls("""
        class Node: pass
        def ring():
            a, b = Node(), Node()
            a.b, b.a = b, a
            a.data = b.data = bytes(500)
            return a
        keep = [ring() for _ in range(400_000)]
        def drop(): keep.clear()
        wanted = 60 << 20
        """ + self.SETTLE)
        self.assertLess(after, peak - 60)       # stock leaves most of its arenas half full

    def test_nobody_is_woken_for_it_in_a_program_that_sleeps(self):
        # Sparse pages are waiting, and no safepoint comes: our thread asked 300 times a second.
        out = run('''
            import gc, os, time, zgc
            keep = [bytes(1500) for _ in range(60_000)]
            anchors = [[i] for i in range(50_000)]
            zgc.collect()
            gc.disable()
            for i in range(len(keep)):
                if i % 10: keep[i] = None
            def switches():
                total = 0
                for task in os.listdir("/proc/self/task"):
                    if int(task) == os.getpid(): continue
                    with open(f"/proc/self/task/{task}/status") as f:
                        total += sum(int(line.split()[1]) for line in f if line.startswith("voluntary"))
                return total
            time.sleep(2.5)
            before = switches()
            time.sleep(2)
            print(before, switches() - before)
        ''', options={"UNCOMMIT_DELAY": 0}).out.split()
        self.assertGreater(int(out[0]), 0)
        self.assertLess(int(out[1]), 50)

    def test_after_dropping_nine_tenths_at_random(self):
        """No page gets empty, but most of each is free."""
        out = run("""
        import random, zgc, zgctest
        random.seed(1)
        keep = [bytes([i % 256]) * random.choice((600, 1500, 4000)) for i in range(150_000)]
        anchors = [[i] for i in range(50_000)]
        zgctest.age(); zgctest.collect()
        full = zgctest.rss()
        for i in range(len(keep)):
            if i % 10: keep[i] = None
        def is_back():
            global after
            [[] for _ in range(3000)]
            after = zgctest.rss()
            return after < full - (100 << 20)
        zgctest.wait_for(is_back, 60, 0.05)
        print(full, after)
        assert all(set(keep[i]) == {i % 256} for i in range(0, len(keep), 10))
        again = [bytes([i % 256]) * random.choice((600, 1500, 4000)) for i in range(135_000)]
        assert all(set(again[i]) == {i % 256} for i in range(0, len(again), 7))
        assert all(set(keep[i]) == {i % 256} for i in range(0, len(keep), 10))
        assert zgctest.rss() < full + (30 << 20)
        """).out.split()
        self.assertLess(int(out[1]), int(out[0]) - (100 << 20))

    def test_default_delay_gives_it_back_without_any_call(self):
        out = run("""
        import zgctest, time
        keep = [bytearray(b"x") * 3_000_000 for _ in range(100)]
        peak = zgctest.rss()
        keep.clear()
        zgctest.wait_for(lambda: zgctest.rss() < peak - (200 << 20), 60, 0.2)
        print(peak >> 20, zgctest.rss() >> 20)
        """).out.split()
        self.assertLess(int(out[1]), int(out[0]) - 200)

    def test_no_growth_over_many_collections(self):
        out = run("""
        import zgctest
        class Node: pass
        def ring():
            a, b = Node(), Node()
            a.b, b.a = b, a
            return a
        live = [[ring()] for _ in range(20000)]
        def work(n):
            for _ in range(n):
                dead = [ring() for _ in range(3000)]
                zgctest.age()
                del dead
                zgctest.collect()
            return zgctest.rss() >> 20
        print(work(30), work(120))
        """, timeout=200).out.split()
        self.assertLessEqual(int(out[1]), int(out[0]) * 1.25 + 10)

    def test_no_growth_when_old_objects_die_by_reference_count(self):
        out = run("""
        import zgctest
        from collections import deque
        window = deque(maxlen=100000)
        def work(n):
            for i in range(n):
                window.append({"id": i, "data": [i, (i, [i])]})
            return zgctest.rss() >> 20
        print(work(300000), work(1500000))
        """, timeout=200).out.split()
        self.assertLessEqual(int(out[1]), int(out[0]) * 1.25 + 10)


HUGE_PAGES = """
import os, zgc
def huge_kb():
    with open("/proc/self/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("AnonHugePages"))
kept = [[i] for i in range(500_000)]
child = os.fork()
if child == 0:
    mine = [[i] for i in range(100_000)]
    os._exit(0 if sum(map(len, mine)) == 100_000 == sum(map(len, kept)) // 5 else 1)
assert os.waitpid(child, 0)[1] == 0
assert zgc.verify() >= 0 and all(kept[i][0] == i for i in range(0, len(kept), 1000))
print(huge_kb() >> 10, zgc.stats()["populated"] >> 20, zgc.stats()["faults"])
"""


def huge_pages_can_be_had():
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as modes:
            return "[never]" not in modes.read()
    except OSError:
        return False


@requires_active
class HugePages(unittest.TestCase):
    def numbers(self, **options):
        return [int(number) for number in run(HUGE_PAGES, options=options).out.split()]

    @unittest.skipUnless(huge_pages_can_be_had(), "the kernel has huge pages switched off")
    def test_large_heap_lies_in_populated_chunks(self):
        _, populated, faults = self.numbers(HUGE_PAGES=1)
        self.assertGreaterEqual(populated, 2)
        self.assertEqual(faults, 0)

    def test_none_unless_asked_for(self):
        self.assertEqual(self.numbers()[1], 0)

    @unittest.skipUnless(huge_pages_can_be_had(), "the kernel has huge pages switched off")
    def test_refused_population_and_thread_are_survived(self):
        _, populated, faults = self.numbers(HUGE_PAGES=1, FAULT="populate=1+")
        self.assertEqual((populated, faults), (0, 1))
        _, populated, _ = self.numbers(HUGE_PAGES=1, FAULT="thread=1+")
        self.assertEqual(populated, 0)


class Limits(unittest.TestCase):
    def test_low_address_space_limit_from_the_start(self):
        """Where the reserved range does not fit, the program runs all the same."""
        code = """
            import resource, subprocess, sys, os
            limit = int(sys.argv[1]) << 20
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            os.execv(sys.executable, [sys.executable, "-c", '''if 1:
                import gc
                keep = [[i, (i,)] for i in range(100000)]
                assert all(keep[i] == [i, (i,)] for i in range(100000))
                x = []; x.append(x); del x
                gc.disable()
                assert gc.collect() >= 1
                try:
                    big = bytearray(1 << 40)
                except MemoryError:
                    print("ran")
            '''])
        """
        for limit in (300, 1000, 4000):
            with self.subTest(limit):
                self.assertEqual(run(code, limit).out, "ran\n")

    @requires_active
    def test_low_data_limit_from_the_start(self):
        """RLIMIT_DATA counts our side tables whole: they leave the program what stock needs."""
        code = """
            import resource, sys, os
            resource.setrlimit(resource.RLIMIT_DATA, (150 << 20, 150 << 20))
            os.execv(sys.executable, [sys.executable, "-c", '''if 1:
                import zgc
                keep = [[i, (i,)] for i in range(300000)]
                zgc.collect()
                assert all(keep[i] == [i, (i,)] for i in range(300000))
                print(zgc.status()["active"], zgc.status()["reason"], zgc.stats()["faults"])
            '''])
        """
        self.assertEqual(run(code).out, "True None 0\n")

    def test_limit_set_at_run_time(self):
        code = """
            import resource, gc, zgctest
            live = [[i] for i in range(50000)]
            zgctest.age(); zgctest.collect()
            with open("/proc/self/statm") as f:
                now = int(f.read().split()[0]) * 4096
            resource.setrlimit(resource.RLIMIT_AS, (now + (64 << 20),) * 2)
            failures = 0
            for size in (200, 3000, 100000, 5 << 20):
                eaten = []
                try:
                    while True:
                        eaten.append(bytearray(size))
                except MemoryError:
                    failures += 1
                del eaten
                zgctest.collect()
                gc.collect()
                assert all(live[i] == [i] for i in range(50000))
            print(failures)
        """
        # With a range reserved beforehand, more may fit than the limit says: small sizes need not
        # fail. A block that needs a new mapping must fail, and nothing may break.
        out = run("""
            import resource
            resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
        """ + code.replace("while True:", "while len(eaten) * size < 3 << 30:"), timeout=200).out
        self.assertGreaterEqual(int(out), 1)

    def test_memory_errors_of_huge_requests(self):
        for size in (1 << 45, sys.maxsize // 2, sys.maxsize - 100):
            with self.assertRaises((MemoryError, OverflowError)):
                bytearray(size)
            with self.assertRaises((MemoryError, OverflowError)):
                [None] * size
        self.assertEqual(len([[] for _ in range(1000)]), 1000)

    def test_failing_allocations_at_every_point(self):
        """_testcapi.set_nomemory wraps our allocator and fails it from the n-th call on."""
        try:
            import _testcapi
        except ImportError:
            self.skipTest("needs _testcapi")
        code = """
            import _testcapi, gc, sys
            from zgctest import age, collect, ACTIVE, zgc
            class Node: pass
            def work():
                a, b = Node(), Node()
                a.b, b.a = [b], {"a": a}
                c = {i: [i] for i in range(20)}
                d = bytearray(3000) + bytes(100)
                return a, c, d
            live = [[i] for i in range(5000)]
            age()
            failed = 0
            for n in range(1, 150):
                if ACTIVE: zgc.collect(wait=False)
                try:
                    _testcapi.set_nomemory(n, n + 30)
                    try:
                        for _ in range(3): work()
                        gc.collect(0)
                    finally:
                        _testcapi.remove_mem_hooks()
                except MemoryError:
                    failed += 1
            collect()
            assert all(live[i] == [i] for i in range(5000))
            print(failed > 20)
        """
        self.assertEqual(run(code).out, "True\n")


class Tracemalloc(unittest.TestCase):
    def tearDown(self):
        tracemalloc.stop()

    def test_started_and_stopped_mid_run(self):
        live = [[i] for i in range(20000)]
        for round_ in range(4):
            before = [bytes(100) for _ in range(1000)]
            tracemalloc.start(3 if round_ % 2 else 1)
            traced = [bytes(100 + i % 500) for i in range(20000)]
            current, peak = tracemalloc.get_traced_memory()
            self.assertGreater(current, 20000 * 300)
            self.assertGreaterEqual(peak, current)
            snapshot = tracemalloc.take_snapshot()
            top = snapshot.statistics("lineno")[0]
            self.assertEqual(top.traceback[0].filename, __file__)
            age()
            collect()
            del before              # made before, freed under tracing
            if round_ % 2:
                tracemalloc.stop()
                del traced          # made under tracing, freed after
            else:
                del traced
                tracemalloc.stop()
            gc.collect()
        self.assertTrue(all(live[i] == [i] for i in range(20000)))

    def test_from_the_start(self):
        code = """
            import tracemalloc
            from zgctest import age, collect
            keep = [[i] for i in range(10000)]
            age(); collect()
            print(tracemalloc.is_tracing(), tracemalloc.get_traced_memory()[0] > 10000 * 60)
        """
        for how in (dict(flags=("-X", "tracemalloc")), dict(env={"PYTHONTRACEMALLOC": "5"})):
            self.assertEqual(run(code, **how).out, "True True\n")

    def test_object_tracebacks(self):
        tracemalloc.start()
        x = bytes(5000)
        where = tracemalloc.get_object_traceback(x)
        self.assertEqual(where[0].filename, __file__)

    def test_while_collections_run_and_threads_allocate(self):
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                [[i, {i: i}] for i in range(300)]
        threads = [threading.Thread(target=churn) for _ in range(3)]
        for t in threads:
            t.start()
        for _ in range(15):
            if ACTIVE:
                zgc.collect(wait=False)
            tracemalloc.start()
            [[i] for i in range(3000)]
            tracemalloc.stop()
        stop.set()
        for t in threads:
            t.join()
        self.assertFalse(tracemalloc.is_tracing())


@requires_active
class Accounting(unittest.TestCase):
    def test_committed_memory_falls_after_a_peak(self):
        code = """
            import zgc
            from zgctest import wait_for
            keep = [bytes(300) for _ in range(500000)]
            high = zgc.stats()["heap_committed"]
            del keep
            print(wait_for(lambda: zgc.stats()["heap_committed"] < high - (100 << 20), 40))
        """
        self.assertEqual(run(code, options={"UNCOMMIT_DELAY": 0}).out, "True\n")

    def test_rss_is_explained(self):
        """Committed heap and resident memory do not drift apart."""
        keep = [bytes(1000) for _ in range(100000)]
        self.assertLess(abs(zgc.stats()["heap_used"] - 100 * MB), 200 * MB)
        self.assertGreater(rss(), 100 * MB)
        self.assertTrue(wait_for(lambda: zgc.stats()["heap_committed"] >= zgc.stats()["heap_used"]))
        self.assertEqual(len(keep), 100000)


if __name__ == "__main__":
    main()
