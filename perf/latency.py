#!/usr/bin/env python3
"""The latency suite: programs that serve requests, at equal work, under stock CPython, its remedies, and the preload.

  perf/latency.py                                   15 minutes on an idle machine: a table
  perf/latency.py --quick --html latency.html       2 minutes: a page with plots
  perf/latency.py web cache --rounds 5 --json out.json
  perf/latency.py --rival 3.14.2=/opt/python-3.14.2/bin/python3

The sides are run in turn, round after round; each figure is the median over the rounds. What they are is said in
perf/workloads/service_requests.py. Beside the wall time stands the CPU time of the requests' own thread: what the
machine does to a program shows in the first only, and in "machine", the longest gap of a loop that only reads the
clock, in the same process after the run.
"""

import argparse
import glob
import json
import statistics
import sys
from pathlib import Path
from typing import NamedTuple, Optional

from _runner import DEFAULT_LIBRARY, ROOT, RunFailed, busy_note, run

sys.path.insert(0, str(ROOT / "scripts"))
from zgctools import units                              # noqa: E402
from zgctools.chart import Axis, Chart                  # noqa: E402
from zgctools.page import Page                          # noqa: E402
from zgctools.texttable import Table                    # noqa: E402

KINDS = ("web", "cache", "jobs", "documents", "chat", "trainer", "loader", "tool")
ABOUT = {
    "web": "a web service with sessions", "cache": "an LRU cache of object graphs",
    "jobs": "a job scheduler", "documents": "a parser of documents that are dropped",
    "chat": "an asyncio chat", "trainer": "two ranks that wait for each other",
    "loader": "a loader of a big heap", "tool": "a command-line tool, start to end",
}
PERCENTS = ("50", "90", "99", "99.9", "99.99")


class Side(NamedTuple):
    name: str
    python: Optional[str] = None        # None: that of the run
    library: bool = False
    options: dict = {}
    mode: str = "plain"
    kinds: tuple = KINDS


SERVERS = tuple(kind for kind in KINDS if kind != "tool")      # its heap is made in a child


def allocators():
    """jemalloc and mimalloc in place of pymalloc, where Debian's packages are installed."""
    for name in ("jemalloc", "mimalloc"):
        found = sorted(glob.glob(f"/usr/lib/*/lib{name}.so.*"))
        if found:
            yield Side(name, options={"LD_PRELOAD": found[0], "PYTHONMALLOC": "malloc"})


def sides(rivals):
    return [Side("stock"), Side("gc.freeze", mode="freeze", kinds=SERVERS),
            Side("gc.disable", mode="disable", kinds=SERVERS), *allocators(),
            *(Side(name, python=python) for name, python in rivals), Side("zgc", library=True),
            Side("zgc, exit fast", library=True, options={"ZGC_EXIT": "fast"}, kinds=("tool",))]


# -- running ---------------------------------------------------------------------------------------------

def say(text):
    print(text, file=sys.stderr, flush=True)


def run_one(kind, side, options):
    arguments = [kind, "--objects", options.objects, "--mode", side.mode]
    arguments += ["--quick"] if options.quick else []
    return run(side.python or options.python, "service_requests", arguments,
               library=options.lib if side.library else None, options=side.options)["metrics"]


def run_all(options):
    """{kind: {side: [metrics of a round]}}."""
    results = {kind: {side.name: [] for side in sides(options.rival) if kind in side.kinds}
               for kind in options.kinds}
    for number in range(1, options.rounds + 1):
        for kind in options.kinds:
            for side in sides(options.rival):
                if kind not in side.kinds:
                    continue
                try:
                    results[kind][side.name].append(run_one(kind, side, options))
                except RunFailed as failure:
                    say(f"{kind}, {side.name}: FAILED: {failure.what}\n" + "\n".join(failure.stderr_tail))
                    options.failed = True
                else:
                    say(f"round {number}/{options.rounds} {kind}, {side.name}: "
                        f"{results[kind][side.name][-1]['seconds']:.1f} s")
    return results


def median(rounds, *path):
    """Of the value at that path in each round's metrics; None without a round."""
    values = []
    for metrics in rounds:
        for key in path:
            metrics = metrics[key]
        values.append(metrics)
    return statistics.median(values) if values else None


# -- showing ---------------------------------------------------------------------------------------------

HEADS = ["side", ">p50", ">p99", ">p99.9", ">max", ">metered p99.9, 100 ms", ">full", ">CPU p99.9", ">CPU max",
         ">longest pause", ">its CPU", ">mmu 20 ms", ">CPU/request", ">peak RSS", ">machine"]


def ms(value):
    return "-" if value is None else units.duration(value / 1e3)


def row(name, rounds):
    def of(*path):
        return median(rounds, *path)
    share, rss = of("mmu", "20"), of("peak_rss_mb")
    return [name, *(ms(of("simple_ms", percent)) for percent in ("50", "99", "99.9", "100")),
            ms(of("metered_ms", "100", "99.9")), ms(of("metered_ms", "full", "99.9")),
            ms(of("cpu_ms", "99.9")), ms(of("cpu_ms", "100")), ms(of("pause_max_ms")), ms(of("pause_max_cpu_ms")),
            "-" if share is None else f"{share:.0%}", ms(of("cpu_per_request_ms")),
            "-" if rss is None else units.size(rss * 2**20), ms(of("machine_gap_ms"))]


def rows(results, kind):
    return [row(name, rounds) for name, rounds in results[kind].items()]


def markdown(results):
    lines = []
    for kind in results:
        lines += [f"\n### {kind}: {ABOUT[kind]}\n", "| " + " | ".join(h.lstrip(">") for h in HEADS) + " |",
                  "|---|" + "---:|" * (len(HEADS) - 1)]
        lines += ["| " + " | ".join(cells) + " |" for cells in rows(results, kind)]
    return "\n".join(lines)


def text(results):
    parts = []
    for kind in results:
        table = Table(*HEADS)
        for cells in rows(results, kind):
            table.row(*cells)
        parts.append(f"{kind}: {ABOUT[kind]}\n{table}")
    return "\n\n".join(parts)


def rarity(percent):
    """One request of so many is slower."""
    return 1 / (1 - float(percent) / 100)


def percentile_chart(title, sides_rounds, *path):
    names = {rarity(percent): "p" + percent for percent in PERCENTS}
    x = Axis("one request of 2, 10, 100 ... is slower", lambda v: f"1:{v:g}", log=True)
    chart = Chart(title, x, Axis("", units.duration, log=True), width=480)
    for name, rounds in sides_rounds.items():
        points = [(rarity(p), median(rounds, *path, p)) for p in PERCENTS if rounds]
        chart.line(name, [(at, max(value, 1e-3) / 1e3, f"{name}, {names[at]}: {ms(value)}")
                          for at, value in points])
    return chart


def utilisation_chart(sides_rounds):
    x = Axis("window", lambda v: f"{v:g} ms", log=True)
    chart = Chart("Least share of a window left by collections (MMU)", x,
                  Axis("", lambda v: f"{v:.0%}", zero=True), width=480)
    for name, rounds in sides_rounds.items():
        if rounds:
            points = [(float(window), median(rounds, "mmu", window)) for window in rounds[0]["mmu"]]
            chart.line(name, [(at, share, f"{name}, {at:g} ms: {share:.0%}") for at, share in points])
    return chart


def page(results, options):
    said = Page("Latency of requests, stock and zgcpreload",
                f"{options.python}, {options.objects} live objects, {options.rounds} rounds"
                + (", quick" if options.quick else ""))
    if busy_note():
        said.warning(busy_note())
    said.paragraph("Each figure is the median over the rounds. Simple latency is end minus start; metered latency also "
                   "counts the time for which a request that had arrived on schedule would have waited. CPU is that "
                   "of the requests' thread; \"machine\" the longest gap in a loop that only reads the clock.")
    for kind, sides_rounds in results.items():
        said.heading(f"{kind}: {ABOUT[kind]}")
        said.table(HEADS, rows(results, kind))
        said.charts([percentile_chart("Simple latency", sides_rounds, "simple_ms"),
                     percentile_chart("CPU time of the request's thread", sides_rounds, "cpu_ms"),
                     percentile_chart("Metered latency, window of 100 ms", sides_rounds, "metered_ms", "100"),
                     utilisation_chart(sides_rounds)])
    return str(said)


# -- the command -------------------------------------------------------------------------------------------

def rival(value):
    name, equals, python = value.partition("=")
    if not equals or not Path(python).is_file():
        raise argparse.ArgumentTypeError(f"{value!r} is not NAME=PROGRAM with a program that exists")
    return name, python


def arguments(argv):
    parser = argparse.ArgumentParser(prog="latency.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS) + "; default: all")
    parser.add_argument("--quick", action="store_true", help="100k live objects and fewer requests, one round")
    parser.add_argument("--objects", metavar="N", help="live objects (default: 1M; 100k with --quick)")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 3; 1 with --quick")
    parser.add_argument("--python", default="/usr/bin/python3.11", help="the interpreter (default: %(default)s)")
    parser.add_argument("--lib", type=lambda value: Path(value).resolve(), default=DEFAULT_LIBRARY,
                        help="the library (default: %(default)s)")
    parser.add_argument("--rival", type=rival, action="append", default=[], metavar="NAME=PROGRAM",
                        help="another interpreter, without the library, beside the others")
    parser.add_argument("--html", metavar="FILE", help="one self-contained page with plots")
    parser.add_argument("--json", metavar="FILE", help="every round's figures")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    options = parser.parse_args(argv)
    unknown = [kind for kind in options.kinds if kind not in KINDS]
    if unknown:
        parser.error(f"no kind named {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    if not options.lib.is_file():
        parser.error(f"no library at {options.lib}; build it with `cmake -B build && cmake --build build`, "
                     "or name one with --lib")
    options.kinds = options.kinds or KINDS
    options.objects = options.objects or ("100k" if options.quick else "1M")
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.failed = False
    return options


def main(argv=None):
    options = arguments(argv)
    if busy_note():
        say(busy_note())
    results = run_all(options)
    print(markdown(results) if options.markdown else text(results))
    if options.html:
        Path(options.html).write_text(page(results, options), encoding="utf-8")
    if options.json:
        Path(options.json).write_text(json.dumps({
            "python": options.python, "library": str(options.lib), "objects": options.objects,
            "rounds": options.rounds, "quick": options.quick, "results": results}, indent=1), encoding="utf-8")
    return 1 if options.failed else 0


if __name__ == "__main__":
    sys.exit(main())
