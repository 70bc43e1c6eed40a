"""Serves the requests of one kind of program one behind the other, and says how long each took.

Each request has the wall time from its start to its end and the CPU time of its thread; collections are timed by
gc.callbacks. Figures are those of DaCapo Chopin (Blackburn et al., ASPLOS 2025):

  simple     end minus start
  metered    as if requests had arrived steadily and had waited for their turn: end minus arrival, where the arrival is
             the mean start of the requests around (as many as fall into a window on average), and never after the
             start. `full`: steadily over the whole run.
  mmu        minimum mutator utilisation (Cheng and Blelloch, PLDI 2001): the least share of any window of that length
             that collections on the program's thread left to the program
"""

import argparse
import gc
import json
import platform
import resource
import time
from array import array
from itertools import accumulate

from _measure import count, vm_mb
from _services import SERVICES

try:
    import zgc
except ImportError:
    zgc = None

PERCENTS = (50, 90, 99, 99.9, 99.99, 100)
METERED_MS = (10, 100, 1000)
MMU_MS = (1, 5, 20, 100)
GAP_SECONDS_MOST = 1.0


class Pauses:
    """Start and end of each collection, in ns; room is made before the run."""

    ROOM = 1 << 20

    def __init__(self):
        self.times = array("q", bytes(16 * self.ROOM))
        self.count = 0
        self.cpu_started = self.cpu_longest = 0
        gc.callbacks.append(self.note)

    def note(self, phase, _info):
        place = 2 * self.count
        if place >= len(self.times):
            return
        if phase == "start":
            self.cpu_started = time.thread_time_ns()
            self.times[place] = time.perf_counter_ns()
        else:
            self.times[place + 1] = time.perf_counter_ns()
            self.cpu_longest = max(self.cpu_longest, time.thread_time_ns() - self.cpu_started)
            self.count += 1

    def reset(self):
        self.count = self.cpu_longest = 0

    def spans(self):
        return [(self.times[2 * i], self.times[2 * i + 1]) for i in range(self.count)]


def percentiles(durations):
    """{percent: ms}: the smallest duration that so many per cent do not exceed."""
    ordered = sorted(durations)
    last = len(ordered) - 1
    return {str(percent): ordered[min(last, int(len(ordered) * percent / 100))] / 1e6
            for percent in PERCENTS}


def arrivals(starts, neighbours):
    """The mean start of so many requests around each one, and never after its own."""
    sums = [0, *accumulate(starts)]
    for i, start in enumerate(starts):
        low, high = max(i - neighbours // 2, 0), min(i + neighbours // 2 + 1, len(starts))
        reach = min(i - low, high - 1 - i)          # the same on both sides, also at the ends of the run
        mean = (sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1)
        yield min(start, mean)


def metered(starts, ends):
    """{window in ms or "full": {percent: ms}}."""
    length = starts[-1] - starts[0]
    said = {}
    for window in METERED_MS:
        neighbours = round(len(starts) * window * 1e6 / max(length, 1))
        said[str(window)] = percentiles([end - at for at, end in zip(arrivals(starts, neighbours), ends)])
    steady = (starts[0] + length * i / max(len(starts) - 1, 1) for i in range(len(starts)))
    said["full"] = percentiles([end - min(at, start) for at, start, end in zip(steady, starts, ends)])
    return said


def stopped_most(spans, window):
    """The most time that lies in `spans` (sorted, apart) within any window of that length, in ns."""
    most = 0
    first, before = 0, 0        # spans that end before the window begins, and their length
    sums = [0, *accumulate(end - start for start, end in spans)]
    for i, (_start, end) in enumerate(spans):       # windows that end where a span does
        begin = end - window
        while spans[first][1] <= begin:
            first += 1
        before = max(begin - spans[first][0], 0)
        most = max(most, sums[i + 1] - sums[first] - before)
    return most


def utilisation(spans):
    """{window in ms: share}."""
    return {str(ms): max(1 - stopped_most(spans, ms * 1e6) / (ms * 1e6), 0.0) for ms in MMU_MS}


def machine_gaps(seconds):
    """The longest time, in ms, for which this thread did not run although it only read the clock for so long."""
    clock = time.perf_counter_ns
    longest, before = 0, clock()
    end = before + int(seconds * 1e9)
    while before < end:
        now = clock()
        longest = max(longest, now - before)
        before = now
    return longest / 1e6


def cpu_seconds():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def serve(service, requests, pauses):
    """Starts, ends and CPU times in ns."""
    starts, ends, cpus = (array("q", bytes(8 * requests)) for _ in range(3))
    clock, cpu, request = time.perf_counter_ns, time.thread_time_ns, service.request
    pauses.reset()
    for number in range(requests):
        cpu_before = cpu()
        starts[number] = clock()
        request(number)
        ends[number] = clock()
        cpus[number] = cpu() - cpu_before
    return starts, ends, cpus


def prepare(mode):
    """What people do by hand, after loading."""
    if mode == "freeze":
        gc.collect()
        gc.freeze()
    elif mode == "disable":
        gc.disable()


def measure(args):
    pauses = Pauses()
    kind = SERVICES[args.kind]
    service = kind(args.objects)
    requests = args.requests or (kind.QUICK if args.quick else kind.REQUESTS)
    prepare(args.mode)
    built_mb, cpu_before = vm_mb("VmRSS"), cpu_seconds()
    starts, ends, cpus = serve(service, requests, pauses)
    spans, longest_cpu = pauses.spans(), pauses.cpu_longest
    peak_mb = max(vm_mb("VmHWM"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    service.close()
    cpu = cpu_seconds() - cpu_before
    walls = [end - start for start, end in zip(starts, ends)]
    return {
        "requests": requests,
        "seconds": (ends[-1] - starts[0]) / 1e9,
        "simple_ms": percentiles(walls),
        "cpu_ms": percentiles(cpus),
        "metered_ms": metered(starts, ends),
        "mmu": utilisation(spans),
        "pauses": len(spans),
        "pause_max_ms": max((end - start for start, end in spans), default=0) / 1e6,
        "pause_max_cpu_ms": longest_cpu / 1e6,
        "cpu_per_request_ms": cpu * 1e3 / requests,
        "peak_rss_mb": peak_mb,
        "over_live_mb": peak_mb - built_mb,
        "machine_gap_ms": machine_gaps(min((ends[-1] - starts[0]) / 1e9, GAP_SECONDS_MOST)),
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=SERVICES)
    parser.add_argument("--objects", type=count, default=1_000_000, metavar="N",
                        help="live objects known to the collector (default: %(default)s)")
    parser.add_argument("--requests", type=count, metavar="N", help="instead of the kind's own number")
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    parser.add_argument("--mode", choices=("plain", "freeze", "disable"), default="plain",
                        help="gc.freeze() or gc.disable() once the heap is built")
    parser.add_argument("--json", metavar="FILE", help="write the result here")
    parser.add_argument("--progress", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = arguments()
    metrics = measure(args)
    result = {"workload": args.kind, "python": platform.python_version(), "metrics": metrics,
              "zgc_status": zgc.status() if zgc else None}
    text = json.dumps(result, indent=1, default=str)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            out.write(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
