#!/usr/bin/env python3
"""What an allocation profile costs: CPU time of the same allocations with it and without.

  perf/profile_cost.py
  perf/profile_cost.py --python ~/python3.13/bin/python3 --base ZGC_BINDING=table

Two processes under the preload, one of them with ZGC_PROFILE, work in turn on the same processor for
slices of a few hundredths of a second, so that a change of the machine's mood falls on both. Where
their memory happens to lie makes some per cent of difference: they are started anew several times. A
slice makes and drops objects of perf/workloads/alloc_micro.py and does nothing else: a program that
also computes pays less.
Printed: the median of profile / none over all pairs of slices, and the medians of the single starts.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from _runner import DEFAULT_LIBRARY, WORKLOADS, busy_note, environment

SLICES = 4      # that all the work is cut into: small against what disturbs it, many samples in each


def serve():
    """In the child: a slice of work for each line read, its CPU time in ns for an answer."""
    sys.path.insert(0, str(WORKLOADS))
    from alloc_micro import AT_ONCE, BLOCKS, BUILDS, IN_BATCH, compiled
    work = [compiled(expression, body) for expression in (*BLOCKS.values(), *BUILDS.values())
            for body in (AT_ONCE, IN_BATCH)]
    for number, _ in enumerate(sys.stdin):
        before = time.process_time_ns()
        for run in work[number % SLICES::SLICES]:
            run(7)
        print(time.process_time_ns() - before, flush=True)


def start(options, settings):
    process = subprocess.Popen([options.python, __file__, "--serve"], text=True, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=environment(options.lib, settings))
    os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    return process


def work(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def pairs(plain, profiled, count):
    for _ in range(3 * SLICES):      # page faults and specialisation first
        work(plain), work(profiled)
    for number in range(count):
        if number % 2:
            with_profile, without = work(profiled), work(plain)
        else:
            without, with_profile = work(plain), work(profiled)
        yield without, with_profile


def one_start(options, base):
    with tempfile.TemporaryDirectory(prefix="zgc-bench-") as folder:
        path = os.path.join(folder, "heap.pb.gz")
        with start(options, base) as plain, \
                start(options, {"ZGC_PROFILE": f"{path},{options.rate}"}) as profiled:
            yield from pairs(plain, profiled, options.pairs)
        if not os.path.exists(path):
            sys.exit("profile_cost.py: no profile was written: is the library active here?")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="/usr/bin/python3.11", help="(%(default)s)")
    parser.add_argument("--lib", default=DEFAULT_LIBRARY, help="the library (%(default)s)")
    parser.add_argument("--base", action="append", default=[], metavar="ZGC_X=VALUE",
                        help="an option of the side without a profile")
    parser.add_argument("--rate", default="512k", help="bytes between samples (%(default)s)")
    parser.add_argument("--starts", type=int, default=8, help="(%(default)s)")
    parser.add_argument("--pairs", type=int, default=100, help="of slices, for each start (%(default)s)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse_arguments()
    if options.serve:
        return serve()
    if busy_note():
        print(busy_note(), file=sys.stderr)
    base = dict(one.split("=", 1) for one in options.base)
    starts = [list(one_start(options, base)) for _ in range(options.starts)]
    ratios = [[b / a - 1 for a, b in times] for times in starts]
    single = " ".join(f"{median:+.1%}" for median in sorted(map(statistics.median, ratios)))
    print(f"{options.starts} starts of {options.pairs} pairs of "
          f"{statistics.median(a for times in starts for a, _ in times) / 1e6:.1f} ms: "
          f"{statistics.median(sum(ratios, [])):+.1%} ({single})")


if __name__ == "__main__":
    main()
