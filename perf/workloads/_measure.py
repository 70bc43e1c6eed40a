"""What the workloads share: command line, measuring of steps and pauses, the result.

A workload builds its heap, then takes many short steps. One step ends where the next begins, so
everything that stops the program shows up in some step, whoever caused it. Pauses come from
gc.callbacks (stop minus start) and are the same measurement with and without the preload.
"""

import argparse
import gc
import json
import platform
import resource
import sys
import time
from array import array

try:
    import zgc
except ImportError:
    zgc = None

NS_PER_MS = 1e6
SUB_BITS = 6


class Histogram:
    """Durations in ns in log-linear buckets: fixed memory, values at most 1/64 too high."""

    def __init__(self):
        self.buckets = array("Q", bytes(8 * (64 << SUB_BITS)))
        self.count = 0
        self.total = 0
        self.longest = 0

    def add(self, ns):
        shift = ns.bit_length() - (SUB_BITS + 1)
        if shift < 0:
            shift = 0
        self.buckets[(shift << SUB_BITS) + (ns >> shift)] += 1
        self.count += 1
        self.total += ns
        if ns > self.longest:
            self.longest = ns

    def percentile(self, percent):
        """The smallest bucket bound that at least `percent` % of the durations stay under."""
        wanted = self.count * percent / 100.0
        seen = 0
        for index, hits in enumerate(self.buckets):
            seen += hits
            if hits and seen >= wanted:
                shift = max((index >> SUB_BITS) - 1, 0)
                bound = ((index - (shift << SUB_BITS) + 1) << shift) - 1
                return min(bound, self.longest)
        return 0


class GcWatch:
    """Times every collection that gc.callbacks announces."""

    def __init__(self):
        self.reclaimed_ever = 0
        self.reset()
        gc.callbacks.append(self)

    def reset(self):
        self.young = Histogram()
        self.full = Histogram()
        self.longest_cpu = 0
        self.reclaimed = 0
        self.uncollectable = 0
        self.started = 0
        self.started_cpu = 0

    def __call__(self, phase, info):
        if phase == "start":
            self.started_cpu = time.thread_time_ns()
            self.started = time.perf_counter_ns()
            return
        pause = time.perf_counter_ns() - self.started
        pause_cpu = time.thread_time_ns() - self.started_cpu
        (self.full if info["generation"] == 2 else self.young).add(pause)
        if pause_cpu > self.longest_cpu:
            self.longest_cpu = pause_cpu
        self.reclaimed += info["collected"]
        self.reclaimed_ever += info["collected"]
        self.uncollectable += info["uncollectable"]

    def longest(self):
        return max(self.young.longest, self.full.longest)

    def total(self):
        return self.young.total + self.full.total


def vm_mb(field):
    """A VmXXX line of /proc/self/status, in MiB."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024.0
    return None


def how_far(done, steps, elapsed, length):
    if steps:
        return f"running {done / steps:.0%}"
    if 0 < elapsed < length:
        return f"running {elapsed / length:.0%}"
    return f"running for {elapsed / 1e9:.0f} s"


class Meter:
    """Measures one window of a program's life: begin(), run_steps(), end()."""

    def __init__(self, progress=False):
        self.watch = GcWatch()
        self.steps = Histogram()
        self.garbage_made = 0
        self.uncollected_max = 0
        self.metrics = {}
        self.created = time.perf_counter()
        self.show_progress = progress

    def calibrate(self, make):
        """How many objects a collection reports for one dropped graph of make().

        The graph lives through a collection first, as old garbage does: CPython stops tracking
        some containers then.
        """
        gc.collect()
        graph = make()
        gc.collect()
        del graph
        count = gc.collect()
        self.watch.reclaimed_ever = 0
        return count

    def progress(self, text):
        if self.show_progress:
            print("progress: " + text, file=sys.stderr, flush=True)

    def begin(self):
        self.metrics.update(
            build_s=time.perf_counter() - self.created,
            build_gc_pause_max_ms=self.watch.longest() / NS_PER_MS,
            build_gc_total_ms=self.watch.total() / NS_PER_MS,
            build_rss_mb=vm_mb("VmRSS"),
        )
        self.watch.reset()
        self.zgc_before = zgc.stats() if zgc else {}
        self.usage_before = resource.getrusage(resource.RUSAGE_SELF)
        self.thread_before = time.thread_time()
        self.process_before = time.process_time()
        self.wall_before = time.perf_counter()

    def run_steps(self, step, seconds=None, steps=None, until=None):
        """Call step() for `seconds`, or `steps` times, and in any case until until() is true."""
        add = self.steps.add
        clock = time.perf_counter_ns
        watch = self.watch
        start = before = clock()
        length = int((seconds or 0) * 1e9)
        deadline = start + length
        next_report = 0 if self.show_progress else float("inf")
        done = 0
        while True:
            step()
            now = clock()
            add(now - before)
            done += 1
            uncollected = self.garbage_made - watch.reclaimed_ever
            if uncollected > self.uncollected_max:
                self.uncollected_max = uncollected
            if now >= next_report:
                next_report = now + 1_000_000_000
                self.progress(how_far(done, steps, now - start, length))
            if (done >= steps) if steps else (now >= deadline):
                if until is None or until():
                    return
            before = now

    def end(self):
        wall = time.perf_counter() - self.wall_before
        process = time.process_time() - self.process_before
        thread = time.thread_time() - self.thread_before
        usage = resource.getrusage(resource.RUSAGE_SELF)
        watch = self.watch
        self.metrics.update(
            wall_s=wall,
            cpu_s=process,
            # Every workload is single-threaded, so the other threads are the collector's.
            gc_off_ms=max(process - thread, 0.0) * 1e3,
            gc_total_ms=watch.total() / NS_PER_MS,
            gc_pause_max_ms=watch.longest() / NS_PER_MS,
            gc_pause_max_cpu_ms=watch.longest_cpu / NS_PER_MS,
            young_pause_max_ms=watch.young.longest / NS_PER_MS,
            young_pause_p999_ms=watch.young.percentile(99.9) / NS_PER_MS,
            young_total_ms=watch.young.total / NS_PER_MS,
            young_collections=watch.young.count,
            full_pause_max_ms=watch.full.longest / NS_PER_MS,
            full_collections=watch.full.count,
            collected=watch.reclaimed,
            uncollectable=watch.uncollectable,
            involuntary_switches=usage.ru_nivcsw - self.usage_before.ru_nivcsw,
            peak_rss_mb=vm_mb("VmHWM"),
        )
        if zgc:
            # A collection of ours reports one callback pair per batch it feeds: count it once.
            self.metrics["full_collections"] = (
                zgc.stats()["collections"] - self.zgc_before["collections"])
        if self.steps.count:
            self.metrics.update(
                steps=self.steps.count,
                steps_per_s=self.steps.count / wall,
                step_max_ms=self.steps.longest / NS_PER_MS,
                step_p999_ms=self.steps.percentile(99.9) / NS_PER_MS,
                step_p9999_ms=self.steps.percentile(99.99) / NS_PER_MS,
                step_p50_us=self.steps.percentile(50) / 1e3,
            )
        if self.garbage_made:
            self.metrics["garbage_made"] = self.garbage_made
            self.metrics["uncollected_max"] = self.uncollected_max


class Workload:
    """Base of all workloads. Override build() and step(), or build() and measure().

    A class without a live heap sets objects to None, one that does a fixed amount of work seconds.
    """

    objects = 2_000_000
    seconds = 10.0

    def __init__(self, args, meter):
        self.args = args
        self.meter = meter

    @staticmethod
    def add_arguments(parser):
        """Add options of one's own."""

    def build(self):
        """Make the live heap; not part of the measured window."""

    def step(self):
        """A few dozen microseconds of the program's work."""
        raise NotImplementedError

    def measure(self):
        self.meter.run_steps(self.step, self.args.seconds, self.args.steps)


def count(text):
    """A number of objects: 3000000, 3_000_000, 3M, 500k."""
    factor = {"k": 10**3, "m": 10**6}.get(text[-1:].lower())
    value = float(text[:-1]) * factor if factor else int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(value)


def parse_arguments(workload, doc):
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if workload.objects:
        parser.add_argument("--objects", type=count, default=workload.objects, metavar="N",
                            help="live objects known to the collector (default: %(default)s)")
    if workload.seconds:
        parser.add_argument("--seconds", type=float, default=workload.seconds, metavar="S",
                            help="length of the measured part (default: %(default)s)")
        parser.add_argument("--steps", type=count, metavar="N",
                            help="take N steps instead of running for --seconds")
    parser.add_argument("--json", metavar="FILE", help="write the result here as JSON")
    parser.add_argument("--progress", action="store_true",
                        help="report progress on standard error")
    workload.add_arguments(parser)
    return parser.parse_args()


def result_of(name, args, meter):
    return {
        "workload": name,
        "parameters": {key: value for key, value in vars(args).items()
                       if key not in ("json", "progress")},
        "python": platform.python_version(),
        "executable": sys.executable,
        "metrics": meter.metrics,
        "zgc_status": zgc.status() if zgc else None,
        "zgc_stats": zgc.stats() if zgc else None,
    }


def print_result(result):
    status = result["zgc_status"]
    collector = status["collector"] if status else "stock"
    print(f"{result['workload']} on Python {result['python']}, collector: {collector}")
    for name, value in sorted(result["metrics"].items()):
        shown = f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
        print(f"  {name:24} {shown:>18}")


def main(workload, doc):
    """Run a workload class as a program; `doc` is its module's docstring."""
    args = parse_arguments(workload, doc)
    meter = Meter(args.progress)
    subject = workload(args, meter)
    if workload.objects:
        meter.progress(f"building {args.objects:,} objects")
    subject.build()
    meter.begin()
    subject.measure()
    meter.end()
    result = result_of(sys.argv[0].rpartition("/")[2].removesuffix(".py"), args, meter)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file, indent=1, default=str)
    else:
        print_result(result)
