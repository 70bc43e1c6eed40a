"""Options, the GC log, status and statistics, switching on and off, and when to stay asleep."""

import gc
import inspect
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import unittest
import weakref

from zgctest import (LIB, age, collect, environment, main, parse_log, requires_active,
                     requires_lib, run, run_command, zgc)

WORK = """
    import gc
    from zgctest import age, collect
    class Node: pass
    def garbage(n):
        for i in range(n):
            a, b = Node(), Node()
            a.b, b.a = b, a
            yield a
    keep = [[i] for i in range(50000)]
    for _ in range(3):
        old = list(garbage(2000))
        age()
        del old
        collect()
    gc.collect()
"""

DUMP_STATUS = "import json, zgc; print(json.dumps(zgc.status()))"

# What each type of option accepts and refuses; the table of the library supplies the ranges.
GOOD = {
    "bool": ["0", "1"],
    "count": ["{min}", "{max}", "0{min}"],
    "percent": ["{min}", "{max}", "{min}%"],
    "size": ["{min}", "{max}", "64M", "1G", "70000k", "2g"],
    "level": ["info", "debug", "trace"],
    "exit": ["exact", "fast"],
    "binding": ["auto", "table"],       # symbols: a line on static builds; test_symbols.py
    "text": ["/dev/null"],
}
BAD = {
    "bool": ["2", "-1", "yes", "1x", " 1"],
    "count": ["abc", "-1", "1.5", "99999999999999999999999", "0x10", "{over}", "1k"],
    "percent": ["abc", "-5", "25%%", "%", "{over}", "1.5%"],
    "size": ["12Q", "-1", "M", "1MM", "1 M", "99999999999T", "1.5G", "{over}"],
    "level": ["INFO", "2", "verbose", "info "],
    "binding": ["0", "Auto", "symbol", "tables"],
    "exit": ["0", "Fast", "quick"],
    "text": ["x" * 1001],
}


def number(text):
    """12, 12k, 12M ... as printed in a range."""
    digits, suffix = re.fullmatch(r"(\d+)([kMGT]?)", text).groups()
    return int(digits) << (10 * " kMGT".index(suffix or " "))


def bounds(option):
    """(min, max) as texts from the range's description, or None."""
    match = re.search(r"from (\d+[kMGT]?) to (\d+[kMGT]?)", option["range"])
    return match and match.groups()


def values(option, table):
    limits = bounds(option)
    for value in table[option["type"]]:
        if "{" in value:
            low, high = limits
            value = value.format(min=low, max=high, over=number(high) + 1)
        yield value


@requires_active
class Options(unittest.TestCase):
    def test_table(self):
        options = zgc.options()
        self.assertEqual(len({o["name"] for o in options}), len(options))
        for option in options:
            self.assertEqual(set(option), {"name", "type", "default", "range", "help", "value"})
            self.assertRegex(option["name"], r"ZGC_[A-Z_]+")
            self.assertIn(option["type"], GOOD)
            self.assertTrue(option["help"] and option["range"])
        for name in ("ENABLE", "LOG", "LOG_LEVEL", "STATS", "VERIFY", "STRESS", "HEAP_MAX",
                     "TRIGGER", "INTERVAL", "PAUSE_TARGET", "YOUNG", "UNCOMMIT_DELAY"):
            self.assertIn("ZGC_" + name, {o["name"] for o in options})

    def test_the_table_printer_agrees(self):
        printer = os.path.join(os.path.dirname(LIB), "zgc-options")
        if not os.path.exists(printer):
            self.skipTest("needs zgc-options beside the library")
        out = subprocess.run([printer], capture_output=True, text=True, check=True).stdout
        printed = [tuple(line.split("\t")) for line in out.splitlines()]
        table = [tuple(str(o[k]) for k in ("name", "type", "default", "range", "help"))
                 for o in zgc.options()]
        self.assertEqual(printed, table)

    def test_status_carries_the_values(self):
        status = json.loads(run(DUMP_STATUS, options={"TRIGGER": 40, "YOUNG": 500}).out)
        self.assertEqual(int(status["options"]["ZGC_TRIGGER"]), 40)
        self.assertEqual(int(status["options"]["ZGC_YOUNG"]), 500)

    def test_good_values(self):
        for option in zgc.options():
            name = option["name"]
            if name in ("ZGC_ENABLE", "ZGC_FAULT"):
                continue
            for value in values(option, GOOD):
                if name == "ZGC_HEAP_MAX" and number(value.upper().replace("K", "k")) > 1 << 40:
                    continue        # more address space than some machines let us reserve
                with self.subTest(option=name, value=value):
                    result = run(DUMP_STATUS, env={name: value})
                    self.assertTrue(json.loads(result.out)["active"], result.describe())
                    self.assertNotIn("not understood", result.err)

    def test_bad_values_give_one_line_and_a_stock_process(self):
        code = """
            import gc, zgc
            x = []; x.append(x); del x
            print(gc.collect() >= 1, zgc.status()["active"], zgc.status()["collector"])
        """
        for option in zgc.options():
            for value in values(option, BAD):
                with self.subTest(option=option["name"], value=value[:40]):
                    result = run(code, env={option["name"]: value})
                    self.assertEqual(result.out, "True False stock\n")
                    lines = [line for line in result.err.splitlines() if line.startswith("zgc:")]
                    self.assertEqual(len(lines), 1, result.err)
                    shown = f"zgc: {option['name']}={value[:200]} not understood ("
                    self.assertTrue(lines[0].startswith(shown), lines[0])
                    self.assertIn(option["range"], lines[0])
                    self.assertTrue(lines[0].endswith("running as stock CPython"), lines[0])

    def test_an_empty_variable_is_an_unset_one(self):
        for option in zgc.options():
            result = run(DUMP_STATUS, env={option["name"]: ""})
            self.assertTrue(json.loads(result.out)["active"], option["name"])

    def test_options_work_together(self):
        for options in ({"STRESS": 1}, {"VERIFY": 1}, {"STRESS": 1, "VERIFY": 1, "YOUNG": 50},
                        {"THREADS": 4}, {"PAUSE_TARGET": 50}, {"UNCOMMIT_DELAY": 0},
                        {"TRIGGER": 1}, {"TRIGGER": 1000}, {"HEAP_MAX": "256M"}):
            with self.subTest(options=options):
                run(WORK, options=options)

    def test_heap_max_is_not_the_end_of_memory(self):
        """What does not fit into the reserved range is served from elsewhere."""
        code = """
            keep = [bytes(500) for _ in range(200000)] + [[i] for i in range(300000)]
            assert all(len(b) == 500 for b in keep[:200000])
            assert all(keep[200000 + i] == [i] for i in range(300000))
            import zgc
            zgc.collect()
            assert all(keep[200000 + i] == [i] for i in range(300000))
        """
        run(code, options={"HEAP_MAX": "16M"})

    def test_interval_starts_collections(self):
        code = """
            import time, zgc
            from zgctest import wait_for
            def tick():
                [[] for _ in range(500)]   # few enough to leave it to the timer
                return zgc.stats()["collections_timer"] >= 2
            print(wait_for(tick, 60, 0.05))
        """
        result = run(code, options={"INTERVAL": 1})
        self.assertEqual(result.out, "True\n")
        self.assertRegex(result.log, r"Full Collection \(Timer\)")

    def test_interval_in_an_idle_program(self):
        code = """
            import zgc
            from zgctest import wait_for
            print(wait_for(lambda: zgc.stats()["collections_timer"] >= 2, 20, 0.1))
        """
        self.assertEqual(run(code, options={"INTERVAL": 1}).out, "True\n")

    def test_stats_prints_a_summary_at_exit(self):
        quiet = run(WORK)
        self.assertEqual(quiet.err, "")
        result = run(WORK, options={"STATS": 1})
        self.assertRegex(result.err, r"collections")
        self.assertRegex(result.err, r"reclaimed")

    def test_verify_checks_after_each_collection(self):
        result = run(WORK + "\n    import zgc; print(zgc.stats()['faults'])",
                     options={"VERIFY": 1})
        self.assertEqual(result.out, "0\n")

    def test_fault_injection_is_survived(self):
        for fault in ("commit=1", "commit=3+", "table=1+", "thread=1+", "table=2-4"):
            with self.subTest(fault):
                result = run(WORK + "\n    print(len(keep), keep[777])", env={"ZGC_FAULT": fault})
                self.assertEqual(result.out, "50000 [777]\n")


# Every line the library writes at level info, by tag. Milliseconds have three digits.
MS = r"\d+\.\d{3}ms"
FORMS = {
    "gc,init": [r"zgcpreload \S+ pid \d+ python \S+ .*binding \w+ heap range \d+M", r"option ZGC_\w+=.*",
                r"full collections: (zgc|stock)",
                rf"walkers proven for \d+ types, \d+ deferred, in {MS}"],
    "gc,start": [r"GC\(\d+\) Full Collection \([A-Za-z. ]+\) old \d+ heap \d+M rss \d+M"],
    "gc,phases": [rf"GC\(\d+\) Concurrent Defer {MS} objects \d+",
                  rf"GC\(\d+\) Concurrent Pass \d+ {MS} in \d+ out \d+",
                  rf"GC\(\d+\) Concurrent Components {MS} components \d+ largest \d+",
                  rf"GC\(\d+\) Pause Reclaim {MS} fed \d+ reclaimed \d+"],
    "gc,types": [r"GC\(\d+\) garbage( \S+ \d+)+"],
    "gc,young": [rf"young \d+ max {MS} total {MS} reclaimed \d+"],
    "gc": [r"GC\(\d+\) Full Collection \([A-Za-z. ]+\) found \d+ reclaimed \d+ "
           rf"heap \d+M->\d+M rss \d+M->\d+M concurrent {MS} pauses \d+ max {MS} total {MS}",
           r"GC\(\d+\) Full Collection \([A-Za-z. ]+\) abandoned: .+",
           rf"GC\(\d+\) Pause Full \([A-Za-z. ]+\) found \d+ reclaimed \d+ old \d+ {MS}"],
    "gc,director": [r"rule .*", r"escalation: .*"],
    "gc,exit": [rf"collections \d+ reclaimed \d+ pauses \d+ max {MS} faults \d+"],
    "gc,fault": [r".+"],
}
CAUSES = {"Growth", "Heap Growth", "Memory Pressure", "Timer", "Explicit", "System.gc",
          "Escalation", "Stress"}


@requires_active
class Log(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.result = run(WORK)
        cls.lines = cls.result.lines()

    def test_every_line_has_its_form(self):
        for line in self.lines:
            self.assertIn(line.tag, FORMS)
            self.assertTrue(any(re.fullmatch(form, line.text) for form in FORMS[line.tag]), line)

    def test_begins_with_who_and_where(self):
        self.assertEqual(self.lines[0].tag, "gc,init")
        version = "{}.{}.{}".format(*sys.version_info[:3])
        self.assertRegex(self.lines[0].text, rf"zgcpreload \S+ .*python {version}\S* binding \w+")

    def test_uptime_grows(self):
        times = [line.uptime for line in self.lines]
        self.assertEqual(times, sorted(times))

    def collections(self):
        found = {}
        for line in self.lines:
            match = re.match(r"GC\((\d+)\) (.*)", line.text)
            if match:
                found.setdefault(int(match[1]), []).append((line.tag, match[2]))
        return found

    def test_one_number_per_collection_from_zero(self):
        self.assertEqual(sorted(self.collections()), list(range(len(self.collections()))))

    def test_concurrent_collections_tell_their_story_in_order(self):
        explicit = [c for c in self.collections().values() if "(Explicit)" in c[0][1]]
        self.assertEqual(len(explicit), 3)
        for story in explicit:
            tags = [tag for tag, _ in story]
            self.assertEqual(tags[0], "gc,start")
            self.assertEqual(tags[-1], "gc")
            passes = [text for tag, text in story if "Concurrent Pass" in text]
            numbers = [int(re.match(r"Concurrent Pass (\d+)", p)[1]) for p in passes]
            self.assertEqual(numbers, list(range(1, len(passes) + 1)))
            in_out = [tuple(map(int, re.search(r"in (\d+) out (\d+)", p).groups())) for p in passes]
            for (_, out), (following, _) in zip(in_out, in_out[1:]):
                self.assertEqual(out, following)
            self.assertTrue(all(before >= after for before, after in in_out))

    def test_found_and_reclaimed_are_the_garbage(self):
        """Three times 4000 objects, found by explicit collections or by earlier automatic ones."""
        ends = [text for story in self.collections().values() for tag, text in story if tag == "gc"]
        sums = [sum(column) for column in zip(*(
            map(int, re.search(r"found (\d+) reclaimed (\d+)", text).groups()) for text in ends))]
        self.assertTrue(all(12000 <= n <= 12500 for n in sums), sums)
        fed = [tuple(map(int, m.groups())) for line in self.lines
               if (m := re.search(r"fed (\d+) reclaimed (\d+)", line.text))]
        self.assertGreaterEqual(sum(reclaimed for _, reclaimed in fed), 12000)

    def test_types_of_the_garbage_are_named(self):
        named = [line.text for line in self.lines if line.tag == "gc,types"]
        self.assertTrue(any(re.search(r"Node \d+", text) for text in named), self.result.log)

    def test_explicit_gc_collect_is_a_pause_with_its_own_number(self):
        self.assertRegex(self.result.log, r"GC\(\d+\) Pause Full \(System\.gc\)")

    def test_causes(self):
        for line in self.lines:
            cause = re.search(r"Full Collection \(([^)]*)\)", line.text)
            if cause:
                self.assertIn(cause[1], CAUSES)

    def test_growth_starts_collections_with_the_rules_reason(self):
        code = """
            keep = []
            for i in range(600):
                keep.append([[j] for j in range(3000)])
        """
        result = run(code, options={"LOG_LEVEL": "debug"})
        self.assertRegex(result.log, r"Full Collection \(Growth\)")
        self.assertRegex(result.log, r"\[gc,director *\] rule growth: old \d+ base \d+")

    def test_levels_add_lines(self):
        sizes = {}
        for level in ("info", "debug", "trace"):
            result = run(WORK, options={"LOG_LEVEL": level})
            lines = result.lines()
            sizes[level] = {line.level for line in lines}
        self.assertLessEqual(sizes["info"], {"info", "warn"})
        self.assertIn("debug", sizes["debug"])
        self.assertNotIn("trace", sizes["debug"])

    def test_options_that_differ_are_listed(self):
        result = run("pass", options={"TRIGGER": 33})
        listed = [line.text for line in result.lines() if line.text.startswith("option ")]
        self.assertIn("option ZGC_TRIGGER=33", listed)
        self.assertFalse(any("ZGC_YOUNG" in text for text in listed))

    def test_stderr(self):
        result = run(WORK, options={"LOG": "stderr"})
        self.assertGreater(len(parse_log(result.err)), 5)

    def test_file_is_private_and_appended_to(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "log")
            for _ in range(2):
                run("pass", options={"LOG": path})
            with open(path) as f:
                text = f.read()
            self.assertEqual(len(re.findall("zgcpreload .* python", text)), 2)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    def test_process_id_in_the_path_and_after_fork(self):
        code = """
            import os, zgc
            if os.fork() == 0:
                zgc.collect()
                os._exit(0)
            os.wait()
            zgc.collect()
            print(os.getpid())
        """
        with tempfile.TemporaryDirectory() as folder:
            pid = run(code, options={"LOG": folder + "/log-%p"}).out.strip()
            files = sorted(os.listdir(folder))
            self.assertIn(f"log-{pid}", files)
            self.assertEqual(len(files), 2, files)
            for name in files:
                with open(os.path.join(folder, name)) as f:
                    parse_log(f.read())

    def test_a_path_that_cannot_be_opened(self):
        result = run("print('ran')", options={"LOG": "/nonexistent/folder/log"})
        self.assertEqual(result.out, "ran\n")
        lines = [line for line in result.err.splitlines() if line.startswith("zgc:")]
        self.assertEqual(len(lines), 1, result.err)
        self.assertIn("/nonexistent/folder/log", lines[0])

    def test_a_symbolic_link_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            target, link = os.path.join(folder, "precious"), os.path.join(folder, "link")
            with open(target, "w") as f:
                f.write("precious")
            os.symlink(target, link)
            result = run("print('ran')", options={"LOG": link})
            self.assertEqual(result.out, "ran\n")
            with open(target) as f:
                self.assertEqual(f.read(), "precious")

    def test_nothing_is_written_into_files_of_a_program_that_closes_descriptors(self):
        code = """
            import os, sys, zgc
            os.closerange(3, 4000)
            fds = [os.open(sys.argv[1] + str(i), os.O_RDWR | os.O_CREAT) for i in range(300)]
            for i in range(3):
                zgc.collect()
            print(sum(os.fstat(fd).st_size for fd in fds))
        """
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(run(code, folder + "/mine").out, "0\n")


@requires_active
class StatusAndStats(unittest.TestCase):
    def test_status(self):
        status = zgc.status()
        self.assertLessEqual({"active", "reason", "collector", "binding", "interpreter", "version",
                              "options"}, set(status))
        self.assertIs(status["active"], True)
        self.assertIsNone(status["reason"])
        self.assertEqual(status["collector"], "zgc")
        self.assertIn("{}.{}.{}".format(*sys.version_info[:3]), status["interpreter"])
        self.assertRegex(status["version"], r"^\d+\.\d+\.\d+")

    def test_stats_are_numbers_with_the_promised_names(self):
        stats = zgc.stats()
        self.assertTrue(all(type(v) is int and v >= 0 for v in stats.values()), stats)
        promised = """collections collections_growth collections_timer collections_explicit
            found fed reclaimed uncollectable pauses pause_max_ns pause_total_ns young_collections
            young_max_ns young_total_ns concurrent_ns old_objects promoted heap_used
            heap_committed faults escalations deferred_objects pending_garbage running""".split()
        self.assertLessEqual(set(promised), set(stats))

    def test_numbers_fit_together(self):
        keep = [[i] for i in range(50000)]
        age()
        zgc.collect()
        stats = zgc.stats()
        self.assertGreaterEqual(stats["found"], stats["reclaimed"] - stats["uncollectable"])
        self.assertGreaterEqual(stats["fed"], stats["reclaimed"])
        self.assertGreaterEqual(stats["promoted"], stats["old_objects"])
        self.assertGreaterEqual(stats["old_objects"], 50000)
        self.assertGreaterEqual(stats["pause_total_ns"], stats["pause_max_ns"])
        self.assertGreaterEqual(stats["young_total_ns"], stats["young_max_ns"])
        self.assertGreaterEqual(stats["heap_committed"], stats["heap_used"])
        self.assertEqual(stats["collections"], sum(
            v for k, v in stats.items()
            if k.startswith("collections_") and k != "collections_abandoned"))
        self.assertEqual(len(keep), 50000)

    def test_monotonic(self):
        before = zgc.stats()
        keep = [[[i] for i in range(5000)] for _ in range(20)]
        zgc.collect()
        after = zgc.stats()
        free_to_fall = {"old_objects", "heap_used", "heap_committed", "running", "pending_garbage",
                        "deferred_objects", "types_registered", "types_deferred",
                        "fallback_blocks"}
        for name in set(before) - free_to_fall:
            self.assertGreaterEqual(after[name], before[name], name)
        self.assertEqual(len(keep), 20)

    def test_heap_used_follows_the_program(self):
        before = zgc.stats()["heap_used"]
        keep = [bytes(400) for _ in range(100000)]
        grown = zgc.stats()["heap_used"]
        self.assertGreaterEqual(grown - before, 40_000_000)
        del keep
        self.assertLess(zgc.stats()["heap_used"], grown - 35_000_000)

    def test_collect_without_waiting(self):
        self.assertEqual(zgc.collect(wait=False), 0)
        before = zgc.stats()["collections_explicit"]
        zgc.collect()
        self.assertGreaterEqual(zgc.stats()["collections_explicit"], before)
        self.assertIn(zgc.stats()["running"], (0, 1))

    def test_collect_returns_what_it_reclaimed(self):
        class Node:
            pass
        nodes = []
        for _ in range(1000):
            a, b = Node(), Node()
            a.b, b.a = b, a
            nodes.append(a)
        age()
        del nodes, a, b
        self.assertGreaterEqual(zgc.collect(), 2000)

    def test_bad_arguments(self):
        for call in (lambda: zgc.collect(1, 2), lambda: zgc.collect(nonsense=1),
                     lambda: zgc.stats(1), lambda: zgc.enable(1)):
            self.assertRaises(TypeError, call)

    def test_help(self):
        functions = {name: value for name, value in vars(zgc).items()
                     if callable(value) and not name.startswith("_") and not isinstance(value, type)}
        self.assertLessEqual({"collect", "stats", "census", "allocate", "pages"}, set(functions))
        for name, function in functions.items():
            self.assertTrue(inspect.getdoc(function), name)
            inspect.signature(function)
        for name in ("Object", "Array", "List", "Dict", "allocate", "f64"):
            self.assertIn(name, zgc.__doc__)

    def test_verify_takes_new_garbage_for_new(self):
        """What finalizers leave behind, here for ever, has not been missed."""
        code = """
            import gc, sys, zgc
            class Again:
                def __init__(self):
                    self.me = self
                def __del__(self):
                    if left:
                        left.pop()
                        Again()
            for count in (3, 12, 1000):
                left = [None] * count
                Again()
                zgc.verify()
                print(len(left), sys.getswitchinterval())
                left.clear()
        """
        self.assertEqual(run(code).out.split("\n")[:-1], ["0 0.005", "0 0.005", "970 0.005"])

    def test_verify_counts_objects(self):
        keep = [[i] for i in range(30000)]
        age()
        self.assertGreaterEqual(zgc.verify(), 30000)
        self.assertEqual(len(keep), 30000)


@requires_active
class SwitchAtRunTime(unittest.TestCase):
    def tearDown(self):
        zgc.enable()

    def test_disable_gives_the_stock_collector(self):
        zgc.disable()
        self.assertEqual(zgc.status()["collector"], "stock")
        before = zgc.stats()["collections_growth"]
        keep = [[[i] for i in range(5000)] for _ in range(100)]
        self.assertEqual(zgc.stats()["collections_growth"], before)
        zgc.enable()
        self.assertEqual(zgc.status()["collector"], "zgc")
        self.assertEqual(len(keep), 100)

    def test_garbage_goes_in_either_state_and_across_switches(self):
        class Node:
            pass
        for i in range(6):
            rings = []
            for _ in range(500):
                a, b = Node(), Node()
                a.b, b.a = b, a
                rings.append(a)
            refs = [weakref.ref(r) for r in rings]
            age_in = zgc.enable if i % 2 else zgc.disable
            age_in()
            keep = [[] for _ in range(60000)]
            (zgc.disable if i % 3 else zgc.enable)()
            del rings, a, b
            (gc.collect if i % 3 else collect)()
            self.assertEqual(sum(r() is not None for r in refs), 0, i)
            self.assertEqual(len(keep), 60000)

    def test_thresholds_and_counts_are_the_users_in_both_states(self):
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(600, 7, 8)
        zgc.disable()
        self.assertEqual(gc.get_threshold(), (600, 7, 8))
        zgc.enable()
        self.assertEqual(gc.get_threshold(), (600, 7, 8))
        zgc.disable()
        gc.set_threshold(601, 9, 10)
        zgc.enable()
        self.assertEqual(gc.get_threshold(), (601, 9, 10))

    def test_switching_often_and_while_a_collection_runs(self):
        keep = [[[i]] for i in range(100000)]
        for i in range(60):
            zgc.collect(wait=False)
            zgc.disable()
            [[] for _ in range(1000)]
            zgc.enable()
        zgc.collect()
        self.assertTrue(all(keep[i] == [[i]] for i in range(100000)))
        self.assertGreater(zgc.verify(), 100000)


@requires_lib
class StayAsleep(unittest.TestCase):
    """Passive: `import zgc` tells why, and the process is stock."""

    CODE = """
        import gc, json, sys
        try:
            import zgc
            status = zgc.status()
        except ImportError:
            status = None
        x = []; x.append(x); del x
        gc.disable()
        print(json.dumps([status and status["active"], status and status["reason"],
                          gc.collect() >= 1]))
    """

    def check_passive(self, reason, **how):
        result = run(self.CODE, preload=True, **how)
        active, why, works = json.loads(result.out)
        self.assertIs(active, False)
        self.assertRegex(why, reason)
        self.assertTrue(works)
        return result

    def test_kill_switch(self):
        result = self.check_passive("ZGC_ENABLE", options={"ENABLE": 0})
        self.assertEqual(result.err, "")

    def test_bad_option(self):
        self.check_passive("option", options={"TRIGGER": "abc"})

    def test_pythonmalloc(self):
        for value in ("malloc", "pymalloc", "debug", "malloc_debug", "pymalloc_debug"):
            with self.subTest(value):
                self.check_passive("PYTHONMALLOC", env={"PYTHONMALLOC": value})

    def test_calls_in_passive_mode(self):
        code = """
            import zgc
            assert isinstance(zgc.stats(), dict)
            for call in (zgc.collect, zgc.verify, zgc.enable, zgc.disable, zgc.options):
                try:
                    print(call.__name__, type(call()).__name__)
                except RuntimeError as e:
                    print(call.__name__, "RuntimeError", bool(str(e)))
        """
        out = run(code, preload=True, options={"ENABLE": 0}).out
        self.assertEqual(len(out.splitlines()), 5)
        self.assertIn("options list", out)

    def test_other_programs(self):
        for argv in (["/bin/true"], ["/bin/ls", "/"], ["/bin/sh", "-c", "exit 0"],
                     ["/usr/bin/env", "true"]):
            for env in ({}, {"LD_BIND_NOW": "1"}):
                with self.subTest(argv=argv, env=env):
                    result = run_command(argv, preload=True, env=env)
                    self.assertEqual((result.err, result.log), ("", ""))
        self.assertEqual(run_command(["/bin/false"], preload=True, status=1).err, "")

    def test_python_with_eager_binding(self):
        result = run(DUMP_STATUS, preload=True, env={"LD_BIND_NOW": "1"})
        self.assertTrue(json.loads(result.out)["active"])

    def test_empty_environment(self):
        result = run_command(["/usr/bin/env", "-i", f"LD_PRELOAD={LIB}", sys.executable, "-c",
                              DUMP_STATUS], preload=True)
        self.assertTrue(json.loads(result.out)["active"])

    def test_started_through_a_shell_and_by_python(self):
        code = """
            import subprocess, sys
            out = subprocess.run(["/bin/sh", "-c", f"exec {sys.executable} -c "
                                  "'import zgc; print(zgc.status()[\\"active\\"])'"],
                                 capture_output=True, text=True)
            print(out.stdout.strip(), out.stderr)
        """
        self.assertEqual(run(code, preload=True).out.split(), ["True"])

    def test_isolated_and_bare_interpreters(self):
        for flags in (["-I"], ["-E"], ["-s"], ["-B"], ["-O"], ["-I", "-S", "-E"], ["-u"]):
            with self.subTest(flags=flags):
                result = run(DUMP_STATUS, preload=True, flags=flags)
                self.assertTrue(json.loads(result.out)["active"])
        # Without site nothing has run before the program: the start may come a little later.
        code = """
            keep = [[] for _ in range(20000)]
            import zgc
            print(zgc.status()["active"])
        """
        self.assertEqual(run(code, preload=True, flags=["-S"]).out, "True\n")

    def test_dev_mode_runs(self):
        """-X dev puts debug hooks around the allocators: active or passive, the program runs."""
        result = run(self.CODE, preload=True, flags=["-X", "dev"])
        active, why, works = json.loads(result.out)
        self.assertTrue(works)
        self.assertTrue(active or why)

    def test_version_and_help_and_stdin(self):
        self.assertRegex(run_command([sys.executable, "-V"], preload=True).out, r"Python 3\.")
        self.assertIn("usage", run_command([sys.executable, "-h"], preload=True).out)
        out = run_command([sys.executable, "-"], preload=True, stdin="print(6 * 7)\n").out
        self.assertEqual(out, "42\n")
        self.assertEqual(run("import sys; sys.exit(3)", preload=True, status=3).status, 3)

    def test_syntax_error_and_exception_keep_their_exit_status(self):
        for code in ("1 +", "raise KeyError(1)"):
            stock = run(code, preload=False, status=1)
            ours = run(code, preload=True, status=1)
            self.assertEqual((ours.out, ours.err), (stock.out, stock.err))

    def test_output_of_a_program_is_that_of_stock(self):
        code = """
            import sys, gc
            print(sys.flags, gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks)
            print(sorted(m for m in sys.modules))
        """
        self.assertEqual(run(code, preload=True).out, run(code, preload=False).out)

    def test_getallocatedblocks_counts(self):
        code = """
            import sys
            before = sys.getallocatedblocks()
            keep = [[] for _ in range(10000)]
            print(before > 0, sys.getallocatedblocks() - before >= 10000)
        """
        self.assertEqual(run(code, preload=True).out, run(code, preload=False).out)

    def test_debugmallocstats_shows_our_heap(self):
        code = """
            import sys
            keep = [bytes(600) for _ in range(1234)]
            sys._debugmallocstats()
        """
        err = run(code, preload=True).err
        self.assertIn("Small block threshold", err)
        self.assertIn("free PyFloatObjects" if sys.version_info < (3, 14) else "free", err)
        row = next(r.split() for r in err.splitlines() if r.split()[1:2] == ["640"])
        self.assertGreaterEqual(int(row[3]), 1234)

    def test_pythonmallocstats_shows_our_heap_at_the_end(self):
        asked = {"PYTHONMALLOCSTATS": "1"}
        self.assertIn("Small block threshold", run("pass", preload=True, env=asked).err)
        self.assertEqual(run("pass", preload=True, env=asked, flags=("-E",)).err, "")
        self.assertEqual(run("pass", preload=True).err, "")

    def test_functions_kept_to_the_very_end(self):
        run("""
            import gc, sys
            class Last:
                def __del__(self, freeze=gc.freeze, show=sys._debugmallocstats, collect=gc.collect):
                    freeze(), show(), collect()
            sys.last = Last()
            sys.last.me = sys.last
        """)

    def test_environment_is_left_alone(self):
        code = "import os; print(sorted(k for k in os.environ if k != 'ZGC_LOG'))"
        result = run(code, preload=True)
        expected = sorted(k for k in environment(True) if k != "ZGC_LOG")
        self.assertEqual(json.loads(result.out.replace("'", '"')), expected)


if __name__ == "__main__":
    main()
