"""zgc.prometheus() read back by prometheus_client, and what OpenTelemetry sees in gc.get_stats()."""

import gc
import re
import unittest

from zgctest import age, automatic_gc_off, main, requires_active, run, zgc

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:                 # Debian's package serves Debian's python; scripts/setup has it
    text_string_to_metric_families = None

try:
    from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
except ImportError:                 # PyPI: opentelemetry-sdk, opentelemetry-instrumentation-system-metrics
    SystemMetricsInstrumentor = None

CAUSES = ("growth", "heap_growth", "memory", "timer", "explicit", "system_gc", "escalation", "stress")
# Where zgc.stats() has a number and what divides it; the rest follows the rule in expected_name().
NOT_BY_NAME = {"collections", "pauses", "pause_total_ns"} | {"collections_" + c for c in CAUSES}
GAUGES = {"pause_max_ns", "young_max_ns", "old_objects", "deferred_objects", "types_registered",
          "types_deferred", "pending_garbage", "running", "heap_used", "heap_committed"}
OBJECTS = {"found", "fed", "reclaimed", "uncollectable", "young_reclaimed", "promoted",
           "pending_garbage"}
BYTES = {"heap_used", "heap_committed", "uncommitted", "populated"}
MOVING = {"heap_used", "heap_committed", "old_objects", "promoted"}     # by the reading itself


class Ring:
    pass


def rings(number):
    made = [Ring() for _ in range(number)]
    for one in made:
        one.me = one
    return made


def expected_name(counter):
    name = "zgc_" + re.sub("_total$", "", re.sub("_ns$", "", counter))
    if counter.endswith("_ns"):
        name += "_seconds"
    name += "_objects" if counter in OBJECTS else "_bytes" if counter in BYTES else ""
    return name if counter in GAUGES else name + "_total"


def samples():
    """{(name, labels): value}, read by a few lines that know the format."""
    found = {}
    text = zgc.prometheus()
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            labels = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels or "")))
            found[name, labels] = float(value)
    return found


def value(found, name, **labels):
    return found[name, tuple(sorted(labels.items()))]


def work():
    old = rings(3000)
    age()
    old.clear()
    zgc.collect()
    gc.collect()


@requires_active
class Prometheus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        work()

    def test_every_counter_is_there_with_its_value(self):
        with automatic_gc_off():
            before, found, after = zgc.stats(), samples(), zgc.stats()
        for counter, low in before.items():
            if counter in NOT_BY_NAME or counter == "managed":
                continue
            scale = 1e-9 if counter.endswith("_ns") else 1
            shown, high = value(found, expected_name(counter)), after[counter]
            if counter in MOVING:
                low, high = min(low, high) * 0.99 - 4096, max(low, high) * 1.01 + 4096
            self.assertTrue(low * scale - 1e-9 <= shown <= high * scale + 1e-9,
                            (counter, low, shown, high))

    def test_causes(self):
        with automatic_gc_off():
            stats, found = zgc.stats(), samples()
        by_cause = {c: value(found, "zgc_collections_total", cause=c) for c in CAUSES}
        self.assertEqual(by_cause, {c: stats["collections_" + c] for c in CAUSES})
        self.assertEqual(sum(by_cause.values()), stats["collections"])
        self.assertGreaterEqual(by_cause["explicit"], 1)
        self.assertGreaterEqual(by_cause["system_gc"], 1)

    def test_the_histogram_has_every_pause_once(self):
        with automatic_gc_off():
            stats, found = zgc.stats(), samples()
        kinds = ("young", "reclaim", "full")
        counts = {k: value(found, "zgc_pause_seconds_count", kind=k) for k in kinds}
        self.assertEqual(sum(counts.values()), stats["pauses"])
        self.assertEqual(counts["full"], stats["collections_system_gc"] +
                         stats["collections_escalation"])
        self.assertGreater(counts["reclaim"], 0)
        total = sum(value(found, "zgc_pause_seconds_sum", kind=k) for k in kinds)
        self.assertAlmostEqual(total, stats["pause_total_ns"] / 1e9, 6)
        for kind in kinds:
            buckets = [(float(dict(labels)["le"]), n) for (name, labels), n in found.items()
                       if name == "zgc_pause_seconds_bucket" and dict(labels)["kind"] == kind]
            self.assertEqual(buckets, sorted(buckets))
            heights = [n for _, n in buckets]
            self.assertEqual(heights, sorted(heights))
            self.assertEqual(buckets[-1], (float("inf"), counts[kind]))
        # The longest pause lies in the last bucket that grows.
        longest = max(le for k in kinds for le, grown in self.growth(found, k) if grown)
        self.assertLessEqual(stats["pause_max_ns"] / 1e9, longest)

    @staticmethod
    def growth(found, kind):
        below = 0
        for (name, labels), n in found.items():
            if name == "zgc_pause_seconds_bucket" and dict(labels)["kind"] == kind:
                yield float(dict(labels)["le"]), n > below
                below = n

    def test_generations_are_those_of_gc_get_stats(self):
        with automatic_gc_off():
            generations, found = gc.get_stats(), samples()
        for g, stats in enumerate(generations):
            for key, name in (("collections", "collections"), ("collected", "collected_objects"),
                              ("uncollectable", "uncollectable_objects")):
                self.assertEqual(value(found, f"cpython_gc_{name}_total", generation=str(g)),
                                 stats[key])

    @unittest.skipUnless(text_string_to_metric_families, "needs prometheus_client")
    def test_the_reference_parser_reads_it(self):
        with automatic_gc_off():
            text, found = zgc.prometheus(), samples()
        families = list(text_string_to_metric_families(text))
        names = [f.name for f in families]
        self.assertEqual(len(set(names)), len(names))
        self.assertTrue(all(f.documentation and f.type in ("counter", "gauge", "histogram")
                            for f in families))
        read = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families
                for s in f.samples}
        self.assertEqual(set(read), set(found))
        for key, number in read.items():
            if not any(word in key[0] for word in ("heap", "promoted", "old_objects")):
                self.assertEqual(number, found[key], key)
        self.assertTrue(text.endswith("\n"))

    @unittest.skipUnless(text_string_to_metric_families, "needs prometheus_client")
    def test_as_a_collector_of_the_client_library(self):
        """The recipe in scripts/README.md."""
        class Collector:
            def collect(self):
                return text_string_to_metric_families(zgc.prometheus())
        registry = CollectorRegistry()
        registry.register(Collector())
        before = registry.get_sample_value("zgc_collections_total", {"cause": "explicit"})
        zgc.collect()
        self.assertEqual(registry.get_sample_value("zgc_collections_total", {"cause": "explicit"}),
                         before + 1)
        self.assertIn(b"# TYPE zgc_pause_seconds histogram", generate_latest(registry))

    def test_info_and_a_passive_library(self):
        code = "import zgc; print(zgc.prometheus())"
        self.assertRegex(run(code).out, r'zgc_info\{version="[\d.]+",interpreter="3[\d.]+\S*",'
                                        r'collector="zgc"\} 1\n')
        passive = run(code, options={"ENABLE": 0}).out
        self.assertIn('collector="stock"} 1\n', passive)
        self.assertIn('zgc_collections_total{cause="growth"} 0\n', passive)
        self.assertNotIn("cpython_gc_", passive)


@requires_active
class Managed(unittest.TestCase):
    """Managed objects, from their first use on: zgc.stats()["managed"] and the pauses."""

    GAUGES = {"cycle_groups_left", "pause_max_ns", "pause_max_cpu_ns", "used_bytes", "resident_bytes", "capacity_bytes", "live_bytes",
              "handles", "weak_handles", "python_references"}
    NOT_BY_NAME = {"pauses", "pause_total_ns"}                                  # the histogram
    USAGE = {"young_pages", "old_pages", "young_bytes", "old_bytes"}            # by generation

    @classmethod
    def setUpClass(cls):
        class Node(zgc.Object):
            next: object
            key: zgc.i64
        cls.keep = [Node(None, i) for i in range(20000)]
        del cls.keep[::3]
        zgc.collect("young")
        zgc.collect("full")

    def expected_name(self, prefix, counter):
        name = prefix + re.sub("_total$", "", re.sub("_ns$", "", counter))
        name += "_seconds" if counter.endswith("_ns") else ""
        return name if counter in self.GAUGES else name + "_total"

    def test_every_counter_is_there_with_its_value(self):
        stats, found = zgc.stats()["managed"], samples()
        generations = {g: stats.pop(g) for g in ("young", "old")}
        for counter in set(stats) - self.NOT_BY_NAME - self.USAGE:
            shown = value(found, self.expected_name("zgc_managed_", counter))
            self.assertAlmostEqual(shown, stats[counter] * (1e-9 if counter.endswith("_ns") else 1), 9, counter)
        for generation, values in generations.items():
            for counter in values:
                shown = value(found, self.expected_name("zgc_managed_generation_", counter), generation=generation)
                self.assertAlmostEqual(shown, values[counter] * (1e-9 if counter.endswith("_ns") else 1), 9,
                                       counter)
        for counter in self.USAGE:
            generation, what = counter.split("_")
            self.assertEqual(value(found, "zgc_managed_generation_" + what, generation=generation), stats[counter])
        self.assertGreater(value(found, "zgc_managed_generation_bytes", generation="old"), 13000 * 16)
        self.assertGreater(value(found, "zgc_managed_generation_marked_bodies_total", generation="old"), 13000)

    def test_the_histogram_has_every_pause_once(self):
        stats, found, fine = zgc.stats()["managed"], samples(), zgc.pause_histogram()
        counts = {kind: value(found, "zgc_managed_pause_seconds_count", kind=kind) for kind in fine}
        self.assertEqual(counts, {kind: sum(n for _, n in rows) for kind, rows in fine.items()})
        self.assertEqual(sum(counts.values()), stats["pauses"])
        total = sum(value(found, "zgc_managed_pause_seconds_sum", kind=kind) for kind in fine)
        self.assertAlmostEqual(total, stats["pause_total_ns"] / 1e9, 9)
        for kind, rows in fine.items():
            buckets = [(float(dict(labels)["le"]), n) for (name, labels), n in found.items()
                       if name == "zgc_managed_pause_seconds_bucket" and dict(labels)["kind"] == kind]
            self.assertEqual(buckets, sorted(buckets))
            for bound, below in buckets:    # a row's bound is an upper one, at most an eighth too high
                self.assertGreaterEqual(below, sum(n for ns, n in rows if ns <= bound * 1e9))
                self.assertLessEqual(below, sum(n for ns, n in rows if ns * 8 / 9 <= bound * 1e9))
            self.assertEqual(buckets[-1], (float("inf"), counts[kind]))

    @unittest.skipUnless(text_string_to_metric_families, "needs prometheus_client")
    def test_the_reference_parser_reads_it(self):
        families = {f.name: f for f in text_string_to_metric_families(zgc.prometheus())}
        managed = {name: f for name, f in families.items() if name.startswith("zgc_managed_")}
        self.assertEqual(managed["zgc_managed_pause_seconds"].type, "histogram")
        self.assertEqual(managed["zgc_managed_used_bytes"].type, "gauge")
        self.assertEqual(managed["zgc_managed_generation_marks"].type, "counter")
        read = {(s.name, tuple(sorted(s.labels.items()))) for f in managed.values() for s in f.samples}
        self.assertEqual(read, {key for key in samples() if key[0].startswith("zgc_managed_")})
        self.assertTrue(all(f.documentation for f in managed.values()))

    def test_nothing_of_it_before_the_first_use(self):
        self.assertNotIn("managed", run("import zgc; print(zgc.prometheus())").out)


class OpenTelemetry(unittest.TestCase):
    """Its runtime metrics are observations of gc.get_stats()."""

    NAMES = {"cpython.gc.collections": "collections", "cpython.gc.collected_objects": "collected",
             "cpython.gc.uncollectable_objects": "uncollectable"}

    def test_full_collections_count_what_the_program_dropped(self):
        """The same numbers with and without the library."""
        for collect in (gc.collect, zgc.collect if zgc else gc.collect):
            old = rings(2500)
            age()
            gc.collect()
            before = gc.get_stats()[2]
            with automatic_gc_off():
                middle = gc.get_stats()[2]
                old.clear()
                collect()
                after = gc.get_stats()[2]
            self.assertEqual(middle["collections"] - before["collections"], 1)  # automatic_gc_off's
            self.assertGreaterEqual(after["collections"] - middle["collections"], 1)
            # Up to 3.12 an instance and its dict are two objects unless attributes lie inline.
            collected = after["collected"] - middle["collected"]
            self.assertIn(collected, (2500, 5000))
            self.assertEqual(after["uncollectable"], middle["uncollectable"])

    @unittest.skipUnless(SystemMetricsInstrumentor, "needs the OpenTelemetry packages from PyPI")
    def test_the_instrumentation_sees_them(self):
        """The recipe in scripts/README.md."""
        reader = InMemoryMetricReader()
        instrumentor = SystemMetricsInstrumentor(config={name: None for name in self.NAMES})
        instrumentor.instrument(meter_provider=MeterProvider(metric_readers=[reader]))

        def observed():
            found = {}
            for resource in reader.get_metrics_data().resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        for point in metric.data.data_points:
                            found[metric.name, int(point.attributes["generation"])] = point.value
            return found
        try:
            old = rings(2000)
            age()
            before = observed()
            old.clear()
            reclaimed = (zgc or gc).collect()
            with automatic_gc_off():
                seen, stats = observed(), gc.get_stats()
        finally:
            instrumentor.uninstrument()
        self.assertGreaterEqual(reclaimed, 2000)
        for name, key in self.NAMES.items():
            for g in range(3):
                self.assertEqual(seen[name, g], stats[g][key], (name, g))
        self.assertGreaterEqual(seen["cpython.gc.collected_objects", 2] -
                                before["cpython.gc.collected_objects", 2], reclaimed)
        self.assertGreater(seen["cpython.gc.collections", 2], before["cpython.gc.collections", 2])


if __name__ == "__main__":
    main()
