#!/usr/bin/env python3
"""Runs the server workload without and with the library and prints one table.

scripts/demo sets everything up, builds, and calls this.
"""

import argparse
import sys
import time
from pathlib import Path

from _runner import DEFAULT_LIBRARY, RunFailed, busy_note, run

# (what, metric, unit)
ROWS = (
    ("longest step (one request)", "step_max_ms", "ms"),
    ("99.9 % of the steps within", "step_p999_ms", "ms"),
    ("longest GC pause", "gc_pause_max_ms", "ms"),
    ("GC time on the program's thread", "gc_total_ms", "ms"),
    ("GC time on other threads", "gc_off_ms", "ms"),
    ("wall time", "wall_s", "s"),
    ("peak memory (RSS)", "peak_rss_mb", "MiB"),
    ("objects collected", "collected", ""),
)
SECONDS_BETWEEN_LINES = 5


class Progress:
    """One line that is rewritten on a terminal; a line now and then elsewhere."""

    def __init__(self, label):
        self.label = label
        self.printed = 0.0

    def __call__(self, text):
        if sys.stderr.isatty():
            print(f"\r\033[K{self.label}: {text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self.printed > SECONDS_BETWEEN_LINES:
            self.printed = time.monotonic()
            print(f"{self.label}: {text}", file=sys.stderr, flush=True)

    def done(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def measure(label, options, library):
    progress = Progress(label)
    try:
        result = run(options.python, "server",
                     ["--objects", options.objects, "--steps", options.steps],
                     library=library, timeout=options.timeout, on_progress=progress)
    except RunFailed as failure:
        progress.done()
        sys.exit("\n".join([f"demo: the run {label} failed: {failure.what}",
                            *failure.stderr_tail]))
    progress.done()
    return result


def shown(value, unit):
    if unit == "":
        return f"{value:,}"
    text = f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{text} {unit}"


def print_table(stock, preload):
    print(f"{'':34}{'stock':>14}{'with library':>16}")
    for what, metric, unit in ROWS:
        print(f"{what:34}{shown(stock[metric], unit):>14}{shown(preload[metric], unit):>16}")


def conclusion(stock, preload):
    before, after = stock["step_max_ms"], preload["step_max_ms"]
    if after >= before:
        return (f"The library did not help here: the longest stop was {shown(before, 'ms')} "
                f"without it and {shown(after, 'ms')} with it.")
    return (f"The same program did the same work, but its longest stop fell from "
            f"{shown(before, 'ms')} to {shown(after, 'ms')}, with "
            f"{preload['peak_rss_mb'] / stock['peak_rss_mb']:.2f} times the memory.")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="/usr/bin/python3",
                        help="the interpreter (default: %(default)s)")
    parser.add_argument("--lib", type=lambda text: Path(text).resolve(), default=DEFAULT_LIBRARY,
                        help="the library (default: %(default)s)")
    parser.add_argument("--objects", default="2M", metavar="N",
                        help="live objects (default: %(default)s)")
    parser.add_argument("--steps", default="500k", metavar="N",
                        help="requests to serve (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=300, metavar="S",
                        help="give up on a run after this many seconds (default: %(default)s)")
    return parser.parse_args()


def main():
    options = parse_arguments()
    if not options.lib.is_file():
        sys.exit(f"demo: no library at {options.lib}; scripts/demo builds it")
    note = busy_note()
    stock = measure("without the library", options, None)
    preload = measure("with the library", options, options.lib)
    print(f"\n{options.steps} requests to a server with {options.objects} live objects, "
          f"Python {stock['python']}\n")
    print_table(stock["metrics"], preload["metrics"])
    if note:
        print("\n" + note)
    print("\n" + conclusion(stock["metrics"], preload["metrics"]))


if __name__ == "__main__":
    main()
