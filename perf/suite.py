#!/usr/bin/env python3
"""pyperformance with and without the preload, benchmark by benchmark in turn.

    python3.11 -m venv V && V/bin/pip install pyperformance
    perf/suite.py install   --python V/bin/python         # what the benchmarks need; prints what fails
    perf/suite.py calibrate --python V/bin/python         # loops of each, on stock; once
    perf/suite.py run       --python V/bin/python         # --seconds 85: stops there, exit status 3
    perf/suite.py run       --python V/bin/python --over 1.03 --rounds 7    # once more what is slow
    perf/suite.py table     --python V/bin/python --markdown

Each benchmark runs stock, preload, preload, stock, ... in processes of their own with the same number
of loops, so that a change of the machine's mood falls on both sides. A process counts with the
median of its values; the ratio is the median over the pairs of preload / stock. Results are kept in
--state (default: suite-VERSION.json here) after every benchmark: `run` goes on where it stopped.

With --null both sides are stock: what the machine's noise alone makes of it. Give such a run a copy of the
calibrated state as its --state.

With --cpu the CPU time of the process (all threads) is taken instead of the wall clock: where to look
while the machine does other work, not a result. Give such runs a --state of their own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _runner import DEFAULT_LIBRARY, busy_note, environment

MORE_LEFT = 3
SIDES = ("stock", "preload")
VALUE_SECONDS = 0.08        # a value is at least so long
PROCESS_SECONDS = 0.6       # ... and a process measures about so long
TASKS_MAX = 30              # of one benchmark script
TIMEOUT = 300

LIST = """
import json
from pyperformance import _manifest
benchmarks = _manifest.load_manifest(None).benchmarks
print(json.dumps([[b.name, b.runscript, list(b.extra_opts or ()), b.requirements_lockfile]
                  for b in benchmarks]))
"""


def say(text):
    print(text, file=sys.stderr, flush=True)


class Suite:
    def __init__(self, python, state):
        self.python = python
        version = subprocess.check_output(
            [python, "-c", "import sys; print('{}.{}.{}'.format(*sys.version_info))"], text=True)
        self.version = version.strip()
        self.path = Path(state or f"suite-{self.version}.json")
        self.state = json.loads(self.path.read_text()) if self.path.exists() else {"tasks": {}}

    def save(self):
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.state, indent=1))
        new.replace(self.path)

    def benchmarks(self):
        return json.loads(subprocess.check_output([self.python, "-c", LIST], text=True))

    def tasks(self, only):
        return [(key, task) for key, task in self.state["tasks"].items()
                if not only or key in only or task["benchmark"] in only]


CPU_CLOCK = "import time; time.perf_counter = time.process_time\n"


def worker(suite, task, options, library=None, cpu=False):
    """Run one pyperf worker; (name, values, metadata), or None when there is no such task."""
    with tempfile.TemporaryDirectory(prefix="zgc-suite-") as folder:
        env = environment(library)
        if cpu:
            (Path(folder) / "sitecustomize.py").write_text(CPU_CLOCK)
            env["PYTHONPATH"] = folder
        output = Path(folder) / "result.json"
        command = [suite.python, "-u", task["script"], *task["options"], "--worker",
                   f"--worker-task={task['task']}", f"--append={output}", *options]
        done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=TIMEOUT)
        if done.returncode != 0:
            raise RuntimeError(" | ".join(done.stderr.strip().splitlines()[-3:])[-300:])
        if not output.exists():
            return None
        result = json.loads(output.read_text())
    (benchmark,) = result["benchmarks"]
    (run,) = benchmark["runs"]
    metadata = {**result.get("metadata", {}), **benchmark.get("metadata", {}),
                **run.get("metadata", {})}
    return metadata["name"], run.get("values", []), metadata


def install(suite, args):
    failed = []
    for name, _, _, requirements in suite.benchmarks():
        if requirements and os.path.exists(requirements):
            done = subprocess.run([suite.python, "-m", "pip", "install", "-q", "-r", requirements])
            if done.returncode != 0:
                failed.append(name)
    print("not installed:", *(failed or ["none"]))


def calibrate(suite, args):
    known = {task["benchmark"] for task in suite.state["tasks"].values()}
    for name, script, options, _ in suite.benchmarks():
        if name in known or args.names and name not in args.names:
            continue
        for number in range(TASKS_MAX):
            task = {"benchmark": name, "script": script, "options": options, "task": number}
            try:
                found = worker(suite, task, ["--calibrate-loops", "-w1", "-n1",
                                             f"--min-time={VALUE_SECONDS}"])
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                say(f"{name}: {error}")
                suite.state["tasks"][name] = dict(task, error=str(error))
                break
            if found is None:
                break
            key, _, metadata = found
            task["loops"] = metadata["calibrate_loops"]
            seconds = metadata["duration"] / 3
            task["values"] = max(2, min(8, round(PROCESS_SECONDS / max(seconds, VALUE_SECONDS))))
            task["pairs"] = []
            suite.state["tasks"][key] = task
            say(f"{key}: {task['loops']} loops")
        suite.save()


def measure_pair(suite, task, library, turned, cpu):
    pair = {}
    for side in reversed(SIDES) if turned else SIDES:
        _, values, metadata = worker(
            suite, task, [f"-l{task['loops']}", f"-n{task['values']}", "-w1"],
            library if side == "preload" else None, cpu)
        pair[side] = [statistics.median(values), metadata.get("mem_max_rss", 0)]
    return pair


def run(suite, args):
    note = busy_note()
    if note:
        say(note)
    end = time.monotonic() + args.seconds if args.seconds else float("inf")
    pending = [(key, task) for key, task in suite.tasks(args.names)
               if "error" not in task and len(task["pairs"]) < args.rounds
               and (args.over is None or task["pairs"] and ratio(task, 0) > args.over)]
    longest = 0
    while pending:
        key, task = pending[0]
        if time.monotonic() + task.get("seconds", longest) > end:
            say(f"{len(pending)} benchmarks left")
            return MORE_LEFT
        started = time.monotonic()
        turned = len(task["pairs"]) % 2 == 1
        try:
            library = None if args.null else args.library
            task["pairs"].append(measure_pair(suite, task, library, turned, args.cpu))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            task["error"] = str(error)
            say(f"{key}: {error}")
        task["seconds"] = time.monotonic() - started
        longest = max(longest, task["seconds"])
        if "error" in task or len(task["pairs"]) >= args.rounds:
            pending.pop(0)
            suite.save()
            if task["pairs"]:
                say(f"{key} {ratio(task, 0):.3f}")
    return 0


def ratio(task, which):
    """Median over the pairs: of time (0) or of peak RSS (1); nan where pyperf did not tell."""
    if not task["pairs"][0]["stock"][which]:
        return float("nan")
    return statistics.median(p["preload"][which] / p["stock"][which] for p in task["pairs"])


def table(suite, args):
    rows = [(key, task) for key, task in suite.tasks(args.names) if task.get("pairs")]
    if not rows:
        sys.exit(f"nothing measured yet in {suite.path}")
    bar = "|" if args.markdown else ""
    if args.markdown:
        print("| benchmark | time, preload/stock | lowest..highest pair | peak RSS |\n|---|---:|---:|---:|")
    for key, task in sorted(rows, key=lambda row: -ratio(row[1], 0)):
        each = [p["preload"][0] / p["stock"][0] for p in task["pairs"]]
        print(f"{bar} {key:34} {bar} {ratio(task, 0):.3f} {bar} {min(each):.3f}..{max(each):.3f} "
              f"{bar} {ratio(task, 1):.3f} {bar}")
    times = [ratio(task, 0) for _, task in rows]
    sizes = [ratio(task, 1) for _, task in rows if task["pairs"][0]["stock"][1]]
    print(f"\npython {suite.version}, {len(rows)} benchmarks: geometric mean "
          f"{statistics.geometric_mean(times):.3f}, highest {max(times):.3f}, over 1.03: "
          f"{sum(t > 1.03 for t in times)}; peak RSS {statistics.geometric_mean(sizes):.3f}, "
          f"highest {max(sizes):.3f}, over 1.05: {sum(s > 1.05 for s in sizes)}")
    for key, task in suite.tasks(args.names):
        if "error" in task:
            print(f"did not run: {key}: {task['error'][-160:]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"install": install, "calibrate": calibrate, "run": run, "table": table}
    parser.add_argument("command", choices=commands)
    parser.add_argument("names", nargs="*", help="benchmarks (all)")
    parser.add_argument("--python", required=True, help="of a venv with pyperformance")
    parser.add_argument("--state", help="file of the results")
    parser.add_argument("--library", default=str(DEFAULT_LIBRARY))
    parser.add_argument("--rounds", type=int, default=3, help="pairs per benchmark (3)")
    parser.add_argument("--seconds", type=float, help="stop before this; status 3 when more is left")
    parser.add_argument("--over", type=float, help="only what is over this ratio so far")
    parser.add_argument("--null", action="store_true", help="stock on both sides")
    parser.add_argument("--cpu", action="store_true", help="measure CPU time")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_intermixed_args()    # names may follow options
    if args.command == "run" and not args.null and not os.path.exists(args.library):
        sys.exit(f"suite: {args.library} is missing: build it, or name it with --library")
    return commands[args.command](Suite(args.python, args.state), args)


if __name__ == "__main__":
    sys.exit(main())
