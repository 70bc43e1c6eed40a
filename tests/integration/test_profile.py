"""The allocation profile: its totals against what a program allocated, its stacks, its files.

Totals are estimates. A block of s bytes is sampled with p = 1 - exp(-s/rate) and counts for s/p, so
the variance of a sum is the sum of s*s*(1-p)/p, which is below s*rate for each block: the standard
deviation of a total of B bytes is below sqrt(B * rate). The tests allow six of them, which chance
exceeds about twice in 10**9 runs.
"""

import contextlib
import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

from zgctest import (SUPPORT, environment, main, requires_active, run, wait_for)

SIGMAS = 6
READER = ["/usr/bin/python3", os.path.join(SUPPORT, "pprof.py")]

# What every program here starts with. block: the heap's for a bytes object of at most 990 bytes.
PRELUDE = """
    import collections, itertools, json, os, sys, threading, time, zgc
    def block(n): return (sys.getsizeof(bytes(n)) + 15) // 16 * 16
    def say(**facts): print(json.dumps(facts), flush=True)
    def fill(slots, n):
        for i in INDICES:
            slots[i] = bytes(n)
    def churn(n, count):
        collections.deque(map(bytes, itertools.repeat(n, count)), maxlen=0)
"""


class Profile:
    """One profile, read by the independent reader."""

    def __init__(self, path):
        done = subprocess.run([*READER, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env={"PATH": "/usr/bin:/bin"})
        if done.returncode == 77:
            raise unittest.SkipTest("needs python3-protobuf (scripts/setup installs it)")
        if done.returncode:
            raise AssertionError(done.stderr)
        self.path = path
        self.data = json.loads(done.stdout)
        self.samples = self.data["samples"]
        for sample in self.samples:
            sample["stack"] = [self.data["places"][key] for key in sample["stack"]]

    def total(self, value, *functions, label=None):
        """Sum over the samples in whose stack all the functions are."""
        return sum(s["values"][value] for s in self.samples
                   if set(functions) <= {f["function"] for f in s["stack"]}
                   and label in (None, s["labels"]["lifetime"]))

    def python_stacks(self, function):
        """The distinct Python parts of stacks with the function, outermost first."""
        return {tuple((f["function"], f["line"]) for f in reversed(s["stack"]) if not f["native"])
                for s in self.samples if any(f["function"] == function for f in s["stack"])}

    def collapsed(self, which):
        with open(f"{self.path}.{which}.collapsed") as f:
            lines = [line.rstrip("\n").rpartition(" ") for line in f]
        return [(stack.split(";"), int(size)) for stack, _, size in lines]


@requires_active
class ProfileCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="zgc-profile-")
        self.addCleanup(folder.cleanup)
        self.dir = folder.name
        self.path = os.path.join(self.dir, "heap.pb.gz")

    def run_it(self, code, rate="4k", path=None, options=None, **how):
        options = dict({"PROFILE": f"{path or self.path},{rate}"}, **(options or {}))
        code = textwrap.dedent(PRELUDE) + textwrap.dedent(code)
        return run(code, options=options, **how)

    def profile(self, code, **how):
        result = self.run_it(code, **how)
        self.assertNotIn("zgc:", result.err, result.describe())
        self.facts = json.loads(result.out) if result.out else {}
        return Profile(self.path)

    def assert_near(self, estimate, true, rate, unit=1):
        """unit: bytes of each, where objects are counted."""
        allowed = SIGMAS * math.sqrt(true * unit * rate) / unit + 1
        self.assertLessEqual(abs(estimate - true), allowed,
                             f"{estimate} is not {true} +- {allowed:.0f}")


class Totals(ProfileCase):
    def test_live_allocated_and_freed(self):
        for rate in (1, 10_000, 100_000):
            with self.subTest(rate=rate):
                count = 2000 if rate == 1 else 50_000
                profile = self.profile(f"""
                    INDICES = list(range({count}))
                    slots = [None] * {count}
                    fill(slots, 200)
                    slots[::4] = [None] * ({count} // 4)
                    churn(900, {count})
                    say(fill=block(200), churn=block(900))
                """, rate=rate)
                one, other = self.facts["fill"], self.facts["churn"]
                self.assertEqual(profile.data["period"], rate)
                self.assert_near(profile.total("alloc_space", "fill"), count * one, rate)
                self.assert_near(profile.total("alloc_objects", "fill"), count, rate, unit=one)
                self.assert_near(profile.total("inuse_space", "fill"), count * one * 3 // 4, rate)
                self.assert_near(profile.total("inuse_objects", "fill"), count * 3 // 4, rate, unit=one)
                self.assert_near(profile.total("alloc_space", "churn"), count * other, rate)
                self.assertLess(profile.total("inuse_space", "churn"), count * other / 20)
                self.assertEqual(profile.total("inuse_space", label="live"),
                                 profile.total("inuse_space"))

    def test_everything_against_the_heap(self):
        """All that is alive, against the heap's own count; every size the allocator tells apart."""
        rate = 2048
        profile = self.profile("""
            import random
            random.seed(5)
            keep = [bytes(int(2 ** random.uniform(0, 18))) for _ in range(3000)]
            keep += [[i] for i in range(50000)] + [{i: i} for i in range(20000)]
            dropped = [bytes(random.randrange(5000)) for _ in range(3000)]
            del dropped
            import gc
            gc.collect()
            zgc.dump_profile()
            print(json.dumps({"used": zgc.stats()["heap_used"]}), flush=True)
            os._exit(0)
        """, rate=rate)
        used = self.facts["used"]
        # What the interpreter had before the profile began, and the printing above.
        self.assert_near(profile.total("inuse_space"), used, rate)

    def test_realloc_counts_growth_once_and_keeps_samples(self):
        """grow allocates nothing but the buffer: one small object, if sampled, would count for hundreds."""
        rate = 64 * 1024
        result = self.run_it("""
            size = 150 << 20
            def grow(b, chunk):
                b += chunk        # moves: by copy, in place, page by page
            chunk = bytes(1 << 20)
            b = bytearray()
            while len(b) < size: grow(b, chunk)
            full = b.__alloc__()
            zgc.dump_profile(sys.argv[1] + ".full")
            del b[size // 3:]
            third = b.__alloc__()
            zgc.dump_profile(sys.argv[1] + ".third")
            del b
            say(full=full, third=third)
        """.replace("sys.argv[1]", repr(self.path)), rate="64k")
        facts = json.loads(result.out)
        granule = 64 * 1024
        full, third = (-(-facts[name] // granule) * granule for name in ("full", "third"))
        self.assert_near(Profile(self.path + ".full").total("inuse_space", "grow"), full, rate)
        self.assert_near(Profile(self.path + ".third").total("inuse_space", "grow"), third, rate)
        end = Profile(self.path)
        self.assertEqual(end.total("inuse_space", "grow"), 0)
        # Growth from `have` to `want` is want - have: in all the final size, however often it moved.
        self.assert_near(end.total("alloc_space", "grow"), full, rate)
        self.assertLess(end.total("alloc_objects", "grow"), 5)

    def test_lists_that_grow(self):
        rate = 1024
        profile = self.profile("""
            def append(x, n):
                for _ in itertools.repeat(None, n): x.append(None)
            lists = [[] for _ in range(2000)]
            for x in lists: append(x, 100)
            before = zgc.stats()["heap_used"]
            def append_more(x, n):
                for _ in itertools.repeat(None, n): x.append(None)
            for x in lists: append_more(x, 5000)
            say(more=zgc.stats()["heap_used"] - before)
        """, rate=rate)
        more = self.facts["more"]   # above 1 KiB blocks get slack, which the heap counts too
        self.assertGreater(more, 2000 * 39000)
        self.assert_near(profile.total("inuse_space", "append_more"), more, rate)

    def test_threads(self):
        rate = 4096
        profile = self.profile("""
            INDICES = list(range(20000))
            def first(): fill(slots[0], 100)
            def second(): fill(slots[1], 300)
            def third(): fill(slots[2], 500)
            slots = [[None] * 20000 for _ in range(3)]
            threads = [threading.Thread(target=f) for f in (first, second, third)]
            for t in threads: t.start()
            for t in threads: t.join()
            say(sizes=[block(100), block(300), block(500)])
        """, rate=rate)
        for name, size in zip(("first", "second", "third"), self.facts["sizes"]):
            self.assert_near(profile.total("inuse_space", name), 20000 * size, rate)

    def test_lifetimes(self):
        """Blocks so large that each is a sample and stands for itself. What else is allocated in fill
        (the loop's iterator) and may be sampled, is small and does not live as long."""
        count = 1000
        profile = self.profile(f"""
            INDICES = list(range({count}))
            slots = [None] * {count}
            start = time.monotonic_ns()
            fill(slots, 20000)
            born = time.monotonic_ns()
            time.sleep(0.15)
            dies = time.monotonic_ns()
            slots[:] = [None] * {count}
            end = time.monotonic_ns()
            churn(200, 20000)
            say(least=dies - born, most=end - start, churned=time.monotonic_ns() - end)
        """, rate=512)
        lived = profile.total("lifetime", "fill")
        self.assertGreaterEqual(lived, count * self.facts["least"])
        self.assertLessEqual(lived, profile.total("alloc_objects", "fill") * self.facts["most"])
        limits = [("under 1 ms", 1e6), ("under 10 ms", 1e7), ("under 100 ms", 1e8),
                  ("under 1 s", 1e9), ("under 10 s", 1e10), ("under 100 s", 1e11)]
        possible = [name for name, limit in limits
                    if limit > self.facts["least"] and limit / 10 <= self.facts["most"]]
        elsewhere = (profile.total("alloc_space", "fill")
                     - sum(profile.total("alloc_space", "fill", label=name) for name in possible))
        self.assertLess(elsewhere, 20000, f"a block is not under {possible}")
        churned = profile.total("lifetime", "churn") / profile.total("alloc_objects", "churn")
        self.assertLess(churned, self.facts["churned"])

    def test_under_tracemalloc(self):
        rate = 4096
        profile = self.profile("""
            import tracemalloc
            tracemalloc.start(5)
            INDICES = list(range(50000))
            slots = [None] * 50000
            fill(slots, 100)
            traced = sum(s.size for s in tracemalloc.take_snapshot().statistics("lineno")
                         if s.traceback[0].lineno == fill.__code__.co_firstlineno + 2)
            say(block=block(100), traced=traced)
            tracemalloc.stop()
        """, rate=rate)
        self.assertGreater(self.facts["traced"], 50000 * 100)
        self.assert_near(profile.total("inuse_space", "fill"), 50000 * self.facts["block"], rate)

    def test_while_collecting(self):
        """Samples in what collections find, untrack and reclaim; the heap verifies afterwards."""
        rate = 1024
        profile = self.profile("""
            import gc
            class Node:
                def __init__(self): self.me = self
            def make(n): return [Node() for _ in range(n)]
            for _ in range(30): make(2000)
            keep = make(5000)
            gc.collect()
            zgc.verify()
            say()
        """, rate=rate, options={"STRESS": "1"}, timeout=300)
        self.assertGreater(profile.total("inuse_objects", "make"), 0)
        live, made = (profile.total(value, "make") for value in ("inuse_objects", "alloc_objects"))
        self.assertLess(live, made / 4)

    @unittest.skipIf(sys.version_info < (3, 12), "interpreters with a GIL of their own came with 3.12")
    def test_own_gil_interpreters(self):
        rate = 4096
        profile = self.profile("""
            try: import _interpreters as interpreters
            except ImportError: import _xxsubinterpreters as interpreters
            INDICES = list(range(30000))
            def mine(): fill(slots, 300)
            slots = [None] * 30000
            ids = [interpreters.create() for _ in range(3)]
            code = "keep = [bytes(300) for _ in range(30000)]; keep = None"
            def other(i): interpreters.run_string(i, code)
            threads = [threading.Thread(target=other, args=(i,)) for i in ids]
            for t in threads: t.start()
            mine()
            for t in threads: t.join()
            for i in ids: interpreters.destroy(i)
            say(block=block(300))
        """, rate=rate)
        self.assert_near(profile.total("inuse_space", "mine"), 30000 * self.facts["block"], rate)


class Stacks(ProfileCase):
    CODE = """
        def leaf(n): return bytes(n)
        def middle(n):
            return leaf(n)
        class Class:
            def method(self, n):
                return middle(n)
        def generator(n):
            for _ in range(2000):
                yield Class().method(n)
        def through_c(n):
            return list(map(lambda x: leaf(x), [n] * 2000))
        keep = list(generator(5000))
        keep += through_c(6000)
        lines = {f.__qualname__: f.__code__.co_firstlineno for f in (leaf, middle, Class.method, generator)}
        say(lines=lines, through=through_c.__code__.co_firstlineno)
    """

    def test_functions_and_lines(self):
        profile = self.profile(self.CODE)
        line = self.facts["lines"]
        chain = [("generator", line["generator"] + 2), ("Class.method", line["Class.method"] + 1),
                 ("middle", line["middle"] + 1), ("leaf", line["leaf"])]
        tails = {stack[-4:] for stack in profile.python_stacks("middle") if stack[-1][0] == "leaf"}
        self.assertEqual(tails, {tuple(chain)})
        tails = {stack[-3:] for stack in profile.python_stacks("through_c") if stack[-1][0] == "leaf"}
        at = self.facts["through"] + 1
        self.assertEqual(tails, {(("through_c", at), ("through_c.<locals>.<lambda>", at),
                                  ("leaf", line["leaf"]))})
        for stack in profile.python_stacks("leaf"):
            self.assertEqual(stack[0][0], "<module>")

    def test_python_frames_stand_where_their_loop_stands(self):
        profile = self.profile(self.CODE)
        seen = 0
        for sample in profile.samples:
            names = [f["function"] for f in sample["stack"]]
            if names[:1] == ["leaf"] or "leaf" not in names or "through_c" not in names:
                continue
            seen += 1
            self.assertNotIn("_PyEval_EvalFrameDefault", names)
            between = names[names.index("through_c.<locals>.<lambda>") + 1:names.index("through_c")]
            self.assertTrue(between, "map() and list() are C functions in between")
            self.assertTrue(all(f["native"] for f in sample["stack"]
                                if f["function"] in between))
            self.assertIn("PyEval_EvalCode", names[names.index("<module>"):])
        self.assertGreater(seen, 0)

    def test_build_ids(self):
        profile = self.profile("say()")
        ids = {m["file"]: m["build_id"] for m in profile.data["mappings"]}
        self.assertTrue(all(len(i) in (0, 40) for i in ids.values()))
        self.assertTrue(any(ids.values()))
        if shutil.which("readelf") is None:
            self.skipTest("needs readelf (binutils) to compare with")
        for file, build_id in ids.items():
            if build_id and os.path.exists(file):
                told = subprocess.run(["readelf", "-n", file], stdout=subprocess.PIPE, text=True,
                                      env=dict(os.environ, LC_ALL="C")).stdout
                self.assertIn(build_id, told, file)

    def test_without_libunwind(self):
        with open(os.path.join(self.dir, "libunwind.so.8"), "w"):
            pass    # the loader finds this one first
        result = self.run_it(self.CODE, env={"LD_LIBRARY_PATH": self.dir})
        self.assertEqual(result.err.count("zgc:"), 1, result.err)
        self.assertIn("libunwind", result.err)
        profile = Profile(self.path)
        self.assertTrue(profile.python_stacks("middle"))
        self.assertFalse(any(f["native"] for s in profile.samples for f in s["stack"]))

    def test_unknown_frames(self):
        """Where the proof fails there is no guessing: native stacks, and the program runs on."""
        result = self.run_it(self.CODE, options={"FAULT": "peek=1+"})
        self.assertEqual(result.err.count("zgc:"), 1, result.err)
        self.assertIn("native functions only", result.err)
        self.assertIn("process_vm_readv is refused", result.err)
        profile = Profile(self.path)
        self.assertTrue(profile.total("alloc_space") > 2000 * 5000)
        self.assertTrue(all(f["native"] for s in profile.samples for f in s["stack"]))

    def test_a_program_of_one_line_without_site(self):
        """Nothing runs before it: the proof finds itself at the first instruction of the module."""
        result = run("keep = [bytes(500) for _ in range(20000)]", flags=("-I", "-S"),
                     options={"PROFILE": f"{self.path},4k"})
        self.assertEqual(result.err, "")
        self.assertGreater(Profile(self.path).total("inuse_space", "<module>"), 5 << 20)

    def test_deep_recursion(self):
        profile = self.profile("""
            sys.setrecursionlimit(20000)
            def down(n):
                if n: return down(n - 1)
                return [bytes(100) for _ in range(20000)]
            keep = down(15000)
            say()
        """)
        deep = [stack for stack in profile.python_stacks("down") if stack[0][0] != "<module>"]
        self.assertTrue(deep)
        for stack in deep:      # the inner end is there, the outer one is cut
            self.assertEqual(len(stack), 192)
            self.assertEqual({name for name, _ in stack} - {"down.<locals>.<listcomp>"}, {"down"})

    def test_collapsed_stacks_say_the_same(self):
        profile = self.profile(self.CODE)
        for which, value in (("live", "inuse_space"), ("allocated", "alloc_space")):
            lines = profile.collapsed(which)
            total = sum(size for _, size in lines)
            self.assertAlmostEqual(total, profile.total(value), delta=len(profile.samples))
            mine = sum(size for stack, size in lines if any(f.startswith("middle (") for f in stack))
            self.assertAlmostEqual(mine, profile.total(value, "middle"), delta=len(profile.samples))
        outermost = {stack[0] for stack, _ in profile.collapsed("live")}
        self.assertTrue(any("start" in name for name in outermost), outermost)

    def test_names_that_need_care(self):
        """Separators of the formats, non-ASCII, lone surrogates."""
        profile = self.profile(r"""
            names = {"__builtins__": __builtins__}
            exec(compile("def größe(): return [bytes(100) for _ in range(9000)]",
                         "ein; datei\nname", "exec"), names)
            keep = names["größe"]()
            exec(compile("def odd(): return [bytes(100) for _ in range(9000)]", "\udc80.py", "exec"), names)
            keep += names["odd"]()
            say()
        """)
        self.assertGreater(profile.total("inuse_space", "größe"), 0)
        self.assertGreater(profile.total("inuse_space", "odd"), 0)
        self.assertTrue(any("ein: datei name" in f for s, _ in profile.collapsed("live") for f in s))


class Writing(ProfileCase):
    def files(self):
        return sorted(os.listdir(self.dir))

    def test_at_the_end(self):
        for ending in ("pass", "sys.exit(0)"):
            with self.subTest(ending=ending):
                self.run_it(ending)
                self.assertEqual(self.files(), ["heap.pb.gz", "heap.pb.gz.allocated.collapsed",
                                                "heap.pb.gz.live.collapsed"])
                for name in self.files():
                    path = os.path.join(self.dir, name)
                    self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
                    os.unlink(path)
        self.run_it("1 / 0", status=1)
        self.assertEqual(len(self.files()), 3)

    def test_by_call(self):
        self.make_link()
        result = self.run_it("""
            import pathlib
            one = zgc.dump_profile()
            two = zgc.dump_profile("DIR/two")
            three = zgc.dump_profile(path=pathlib.Path("DIR/three"))
            four = zgc.dump_profile(b"DIR/four")
            wrong = []
            for path in ("DIR/none/x", "DIR", "DIR/link", "x" * 5000):
                try: zgc.dump_profile(path)
                except OSError as e: wrong.append(e.filename)
            for path in (1, object()):
                try: zgc.dump_profile(path)
                except TypeError: wrong.append("type")
            print(json.dumps([one, two, three, four, wrong]), flush=True)
            os._exit(0)
        """.replace("DIR", self.dir))
        one, two, three, four, wrong = json.loads(result.out)
        self.assertEqual([one, two, three, four],
                         [self.path] + [f"{self.dir}/{name}" for name in ("two", "three", "four")])
        for path in (one, two, three, four):
            Profile(path)
        self.assertEqual(len(wrong), 6)
        with open(os.path.join(self.dir, "victim")) as f:
            self.assertEqual(f.read(), "untouched")
        self.assertFalse([name for name in self.files() if name.startswith("heap.pb.gz.") and
                          not name.endswith("collapsed")], "no temporary file is left")

    def make_link(self):
        victim, link = os.path.join(self.dir, "victim"), os.path.join(self.dir, "link")
        with open(victim, "w") as f:
            f.write("untouched")
        os.symlink(victim, link)
        return link

    def test_what_cannot_be_written(self):
        for path in (os.path.join(self.dir, "none", "x"), self.make_link(), "/dev/null"):
            with self.subTest(path=path):
                result = self.run_it("print('done')", path=path)
                self.assertEqual(result.out, "done\n")
                self.assertEqual(result.err.count("zgc:"), 1)
                self.assertIn(path, result.err)
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/null").st_mode))
        with open(os.path.join(self.dir, "victim")) as f:
            self.assertEqual(f.read(), "untouched")

    def test_values_not_understood(self):
        for value in (",", "x,0", "x,12q", "x,99999999999999999999", self.dir + "/"):
            with self.subTest(value=value):
                result = run("""
                    import zgc
                    print(zgc.status()["active"])
                    try: zgc.dump_profile("x")
                    except RuntimeError as e: print(e)
                """, options={"PROFILE": value})
                self.assertEqual(result.err.count("zgc:"), 1, result.err)
                self.assertIn(f"ZGC_PROFILE={value} not understood (path[,rate]", result.err)
                self.assertTrue(result.out.startswith("True\n") and "ZGC_PROFILE=path" in result.out)
        self.assertFalse(os.path.exists("x"))

    def test_process_id_in_the_path(self):
        result = self.run_it("print(os.getpid())", path=os.path.join(self.dir, "%p.pb"))
        self.assertIn(result.out.strip() + ".pb", self.files())

    def test_fork(self):
        rate = 4096
        result = self.run_it("""
            INDICES = list(range(20000))
            def before(): fill(slots[0], 200)
            def in_child(): fill(slots[1], 300)
            slots = [[None] * 20000 for _ in range(2)]
            before()
            child = os.fork()
            if child == 0:
                in_child()
                slots[0][:10000] = [None] * 10000
                sys.exit(0)
            os.waitpid(child, 0)
            say(child=child, one=block(200), two=block(300))
        """, rate=rate)
        facts = json.loads(result.out)
        parent, child = Profile(self.path), Profile(f"{self.path}.{facts['child']}")
        self.assert_near(parent.total("inuse_space", "before"), 20000 * facts["one"], rate)
        self.assertEqual(parent.total("alloc_space", "in_child"), 0)
        self.assert_near(child.total("inuse_space", "before"), 10000 * facts["one"], rate)
        self.assert_near(child.total("inuse_space", "in_child"), 20000 * facts["two"], rate)

    def test_fork_while_threads_allocate(self):
        self.run_it("""
            stop = False
            def work():
                while not stop: churn(500, 100)
            threads = [threading.Thread(target=work) for _ in range(3)]
            for t in threads: t.start()
            for _ in range(8):
                child = os.fork()
                if child == 0:
                    churn(500, 1000)
                    zgc.dump_profile()
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
            stop = True
            for t in threads: t.join()
        """, rate=2048, path=os.path.join(self.dir, "%p"))
        self.assertEqual(len(self.files()), 3 * 9)


class Signal(ProfileCase):
    def start(self, code, **options):
        env = environment(True, dict({"PROFILE": self.path}, **options))
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=env, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def test_idle_program(self):
        """Asleep in a system call: the signal is served, and the sleep goes on."""
        process = self.start("""
            import time
            def hold(): return [bytes(1000) for _ in range(20000)]
            keep = hold()
            print("ready", flush=True)
            time.sleep(600)
        """)
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            process.send_signal(signal.SIGUSR2)
            self.assertTrue(wait_for(lambda: os.path.exists(self.path + ".allocated.collapsed")))
            self.assertTrue(wait_for(lambda: os.path.exists(self.path)))
            self.assertIsNone(process.poll())
        self.assertGreater(Profile(self.path).total("inuse_space", "hold"), 10 << 20)

    def test_another_signal(self):
        for name in ("USR1", str(int(signal.SIGUSR1))):
            process = self.start("print('ready', flush=True); import time; time.sleep(600)",
                                 PROFILE_SIGNAL=name)
            process.send_signal(signal.SIGUSR1)
            self.assertTrue(wait_for(lambda: os.path.exists(self.path)))
            os.unlink(self.path)
            process.send_signal(signal.SIGUSR2)    # not ours: the default, the end
            self.assertEqual(process.wait(30), -signal.SIGUSR2)

    def test_the_programs_own_handler(self):
        result = self.run_it("""
            import signal
            seen = []
            before = signal.signal(signal.SIGUSR2, lambda *_: seen.append(1))
            os.kill(os.getpid(), signal.SIGUSR2)
            exists = os.path.exists(PATH)
            signal.signal(signal.SIGUSR2, before)
            os.kill(os.getpid(), signal.SIGUSR2)
            say(seen=len(seen), exists=exists, then=os.path.exists(PATH))
        """.replace("PATH", repr(self.path)))
        self.assertEqual(json.loads(result.out), {"seen": 1, "exists": False, "then": True})

    def test_a_disposition_that_was_there(self):
        env = environment(True, {"PROFILE": self.path})
        done = subprocess.run(
            [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGUSR2).name)"],
            env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))
        self.assertEqual(done.stdout, "SIG_IGN\n")
        self.assertIn("ZGC_PROFILE_SIGNAL=USR2 cannot be used", done.stderr)

    def test_none_and_wrong(self):
        result = self.run_it("import signal; print(signal.getsignal(signal.SIGUSR2).name)",
                             options={"PROFILE_SIGNAL": "0"})
        self.assertEqual((result.out, result.err), ("SIG_DFL\n", ""))
        for value in ("NOPE", "KILL", "999"):
            result = self.run_it("print(1)", options={"PROFILE_SIGNAL": value})
            self.assertEqual(result.err.count("zgc:"), 1, result.err)
            self.assertIn(f"ZGC_PROFILE_SIGNAL={value} cannot be used", result.err)
            self.assertTrue(os.path.exists(self.path))


@requires_active
class Off(unittest.TestCase):
    def test_the_binding_is_the_same_with_a_profile(self):
        with tempfile.TemporaryDirectory(prefix="zgc-profile-") as folder:
            bindings = {run("import zgc; print(zgc.status()['binding'])", options=options).out
                        for options in ({}, {"PROFILE": os.path.join(folder, "heap.pb.gz")})}
        self.assertEqual(len(bindings), 1, bindings)

    def test_nothing_is_there(self):
        result = run("""
            import signal, zgc
            print(signal.getsignal(signal.SIGUSR2).name, zgc.stats()["profile_samples"])
            print("unwind" in open("/proc/self/maps").read())
        """)
        self.assertEqual(result.out, "SIG_DFL 0\nFalse\n")


if __name__ == "__main__":
    main()
