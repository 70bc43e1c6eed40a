#!/usr/bin/env python3
"""Runs benchmarks in pairs, stock and preloaded in turn, and compares them with their targets.

  perf/bench.py list
  perf/bench.py run live-3m young --rounds 5
  perf/bench.py run all --objects 500k --rounds 1 --markdown
  perf/bench.py run sweep --rounds 1          some hundred small programs; the worst ratios at the end
  perf/bench.py run latency --quick           servers in miniature, with rivals: perf/latency.py, with its options

Each round runs stock first and the preload next. The ratio is the median over the rounds of
preload / stock, so that a change of the machine's mood falls on both. (The profile's benchmarks have
the preload on both sides: "stock" is the one without a profile.) A run that crashes is shown
with the end of its error output and makes the exit status 1. With --strict a missed target does so
too.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import time
from pathlib import Path

import latency
from _benches import BENCHES, GROUPS
from _runner import DEFAULT_LIBRARY, RunFailed, busy_note, run

DEFAULT_PYTHON = "/usr/bin/python3.11"
SIDES = ("stock", "preload")


def say(text):
    print(text, file=sys.stderr, flush=True)


def number(value):
    """A value with the digits worth reading."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def median(values):
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


class Outcome:
    """All rounds of one benchmark. A failed run stands as None beside its partner."""

    def __init__(self, bench):
        self.bench = bench
        self.results = {side: [] for side in SIDES}
        self.failures = []

    def add(self, side, result):
        self.results[side].append(result)

    def fail(self, side, round_number, failure):
        self.results[side].append(None)
        self.failures.append({"side": side, "round": round_number, "what": failure.what,
                              "stderr": failure.stderr_tail})

    def values(self, side, metric):
        return [result["metrics"].get(metric) if result else None
                for result in self.results[side]]

    def ratio(self, metric):
        pairs = zip(self.values("stock", metric), self.values("preload", metric))
        return median(preload / stock for stock, preload in pairs
                      if stock and preload is not None)

    def rows(self):
        """(metric, stock, preload, ratio, target, verdict) for every metric that was measured."""
        for metric, target in self.bench.rows:
            stock = median(self.values("stock", metric))
            preload = median(self.values("preload", metric))
            if stock is None and preload is None:
                continue
            ratio = self.ratio(metric)
            met = target.met(stock, preload, ratio) if target else None
            verdict = "" if target is None else {True: "pass", False: "MISS", None: "?"}[met]
            yield metric, stock, preload, ratio, str(target or ""), verdict


def run_rounds(bench, options):
    outcome = Outcome(bench)
    arguments = list(bench.arguments)
    for size in bench.scaled_by:
        if getattr(options, size):
            arguments += ["--" + size, getattr(options, size)]
    for round_number in range(1, options.rounds + 1):
        for side in SIDES:
            preloaded = side == "preload" or bench.base is not None
            started = time.monotonic()
            label = f"{bench.name} round {round_number}/{options.rounds} {side}"
            try:
                result = run(options.python, bench.workload, arguments,
                             library=options.lib if preloaded else None,
                             options=bench.options if side == "preload" else bench.base,
                             timeout=options.timeout)
            except RunFailed as failure:
                outcome.fail(side, round_number, failure)
                say(f"{label}: FAILED: {failure.what}")
            else:
                outcome.add(side, result)
                say(f"{label}: {time.monotonic() - started:.0f} s")
    return outcome


HEADINGS = ("metric", "stock", "preload", "ratio", "target", "")


def table_rows(outcome):
    for metric, stock, preload, ratio, target, verdict in outcome.rows():
        yield (metric, number(stock), number(preload),
               "-" if ratio is None else f"{ratio:.3f}", target, verdict)


def failure_lines(outcome):
    for failure in outcome.failures:
        yield f"FAILED: round {failure['round']} {failure['side']}: {failure['what']}"
        for line in failure["stderr"]:
            yield "    | " + line


def print_text(outcome):
    rows = [HEADINGS, *table_rows(outcome)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    print(f"\n{outcome.bench.name}: {outcome.bench.about}")
    for row in rows:
        cells = [cell.ljust(width) if column in (0, 4, 5) else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths))]
        print("  " + "  ".join(cells).rstrip())
    for line in failure_lines(outcome):
        print("  " + line)


def print_markdown(outcome):
    print(f"\n### {outcome.bench.name}: {outcome.bench.about}\n")
    print("| " + " | ".join(HEADINGS) + " |")
    print("|---|---:|---:|---:|---|---|")
    for row in table_rows(outcome):
        print("| " + " | ".join(row) + " |")
    lines = list(failure_lines(outcome))
    if lines:
        print("\n```\n" + "\n".join(lines) + "\n```")


def print_worst(outcomes, most):
    """Of each metric that several benchmarks share: geometric mean of the ratios, and the highest ones."""
    ratios = {}
    for outcome in outcomes:
        for metric, stock, preload, value, *_ in outcome.rows():
            if value:
                ratios.setdefault(metric, []).append((value, outcome.bench.name, stock, preload))
    for metric, found in ratios.items():
        if len(found) < 3:
            continue
        mean = statistics.geometric_mean(value for value, *_ in found)
        print(f"\n{metric}: geometric mean {mean:.3f} of {len(found)}; the highest:")
        for value, name, stock, preload in sorted(found, reverse=True)[:most]:
            print(f"  {value:6.2f}  {name}  {number(stock)} -> {number(preload)}")


def write_json(path, options, outcomes):
    document = {
        "python": options.python, "library": str(options.lib), "rounds": options.rounds,
        "cpus": os.cpu_count(), "load_average": os.getloadavg(),
        "benches": [{
            "name": outcome.bench.name,
            "rows": [dict(zip(("metric", "stock", "preload", "ratio", "target", "verdict"), row))
                     for row in outcome.rows()],
            "failures": outcome.failures,
            "results": outcome.results,
        } for outcome in outcomes],
    }
    Path(path).write_text(json.dumps(document, indent=1))


def chosen(names):
    if names == ["all"]:
        return [bench for name, bench in BENCHES.items() if not any(name in group for group in GROUPS.values())]
    names = [member for name in names for member in GROUPS.get(name, [name])]
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.exit(f"bench.py: no benchmark named {', '.join(unknown)}; "
                 f"there are: {', '.join([*GROUPS, *BENCHES])}")
    return [BENCHES[name] for name in names]


def command_list(_options):
    width = max(map(len, BENCHES))
    for bench in BENCHES.values():
        print(f"{bench.name:{width}}  {bench.about}")
        for row in bench.rows:
            if row.target:
                print(f"{'':{width}}    {row.metric} {row.target}")
    return 0


def command_run(options):
    benches = chosen(options.names)
    if not shutil.which(options.python):
        sys.exit(f"bench.py: {options.python} is not a program; name an interpreter with --python")
    if not options.lib.is_file():
        sys.exit(f"bench.py: no library at {options.lib}; build it with "
                 "`cmake -B build && cmake --build build`, or name one with --lib")
    if busy_note():
        say(busy_note())
    outcomes = []
    for bench in benches:
        outcome = run_rounds(bench, options)
        outcomes.append(outcome)
        (print_markdown if options.markdown else print_text)(outcome)
        sys.stdout.flush()
    if len(outcomes) > 1:
        print_worst(outcomes, options.worst)
    if options.json:
        write_json(options.json, options, outcomes)
    verdicts = [row[-1] for outcome in outcomes for row in outcome.rows()]
    failed = sum(len(outcome.failures) for outcome in outcomes)
    print(f"\n{verdicts.count('pass')} targets met, {verdicts.count('MISS')} missed, "
          f"{verdicts.count('?')} not measured, {failed} runs failed")
    missed = options.strict and verdicts.count("pass") < len([v for v in verdicts if v])
    return 1 if failed or missed else 0


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name the benchmarks and their targets").set_defaults(
        function=command_list)
    runner = commands.add_parser("run", help="run benchmarks, or `all`")
    runner.set_defaults(function=command_run)
    runner.add_argument("names", nargs="+", metavar="NAME")
    runner.add_argument("--python", default=DEFAULT_PYTHON,
                        help="the interpreter (default: %(default)s)")
    runner.add_argument("--lib", type=lambda text: Path(text).resolve(), default=DEFAULT_LIBRARY,
                        help="the library (default: %(default)s)")
    runner.add_argument("--rounds", type=positive, default=3, metavar="N",
                        help="pairs per benchmark (default: %(default)s)")
    runner.add_argument("--objects", metavar="N",
                        help="live objects, instead of each benchmark's own number")
    runner.add_argument("--seconds", metavar="S",
                        help="length of the measured part, instead of the workload's own")
    runner.add_argument("--steps", metavar="N",
                        help="take N steps instead: both sides do the same work, so that their memory compares")
    runner.add_argument("--timeout", type=float, default=900, metavar="S",
                        help="kill a run after this many seconds (default: %(default)s)")
    runner.add_argument("--json", metavar="FILE", help="write every run's result here as well")
    runner.add_argument("--worst", type=positive, default=10, metavar="N",
                        help="with several benchmarks: name the N highest ratios of each metric (default: %(default)s)")
    runner.add_argument("--markdown", action="store_true", help="print Markdown tables")
    runner.add_argument("--strict", action="store_true",
                        help="exit with status 1 when a target is missed")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # quiet under `| head`
    if sys.argv[1:3] == ["run", "latency"]:
        sys.exit(latency.main(sys.argv[3:]))
    options = parse_arguments()
    sys.exit(options.function(options))
