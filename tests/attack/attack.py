#!/usr/bin/env python3
"""Runs random programs with and without the library, and compares what they did.

  tests/attack/attack.py --seconds 600 --python /usr/bin/python3.11
  tests/attack/attack.py --seed 4711 --rounds 1 weak_graphs      # repeats one

Each round takes a program of tests/attack/programs, a seed, and random options of the library. Exit status and
output must be those of stock CPython with the same seed; peak memory may exceed stock's by a bound. What differs is
printed with the command that repeats it. Exit status: 0 all alike, 1 something differed, 2 wrong usage.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

PROGRAMS = Path(__file__).resolve().parent / "programs"
ROOT = PROGRAMS.parents[2]
NAMES = sorted(path.stem for path in PROGRAMS.glob("*.py"))
MEMORY_RATIO, MEMORY_MORE_KB = 1.3, 12_000      # beyond that, memory is lost
TIME_LIMIT = 240

OPTIONS = (
    {}, {}, {"ZGC_SMALL": "0"}, {"ZGC_SMALL": "0"}, {"ZGC_SMALL": "0", "ZGC_STRESS": "1"},
    {"ZGC_SMALL": "0", "ZGC_VERIFY": "1"}, {"ZGC_SMALL": "0", "ZGC_PAUSE_TARGET": "50"},
    {"ZGC_SMALL": "0", "ZGC_INTERVAL": "1"}, {"ZGC_BINDING": "table"}, {"ZGC_TRIGGER": "5"},
    {"ZGC_SMALL": "0", "ZGC_COMPONENT_MAX": "1"}, {"ZGC_SMALL": "0", "ZGC_COMPONENT_MAX": "1", "ZGC_STRESS": "1"},
)


class Run(NamedTuple):
    status: int
    out: str
    err: str
    peak_kb: int


def run(command, environment):
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, errors="replace")
    try:
        out, err = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return Run(-1, out, f"no end after {TIME_LIMIT} s\n" + err, 0)
    # The program's last line on standard error is its own peak: rusage of children is the maximum of all.
    lines = err.splitlines()
    peak = int(lines.pop().split()[1]) if lines and lines[-1].startswith("peak ") else 0
    return Run(process.returncode, out, "\n".join(lines), peak)


START = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print("peak", line.split()[1], file=sys.stderr)
"""


def environment(library, options):
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith("ZGC") and name != "LD_PRELOAD"}
    clean["PYTHONHASHSEED"] = "0"
    return {**clean, "LD_PRELOAD": library, **options} if library else clean


def differences(stock, ours, has_options):
    if ours.status != stock.status:
        yield f"exit status {ours.status}, stock {stock.status}"
    if ours.out != stock.out:
        yield f"output:\n{ours.out[-2000:]}\nstock:\n{stock.out[-2000:]}"
    if ours.err != stock.err:
        yield f"errors:\n{ours.err[-3000:]}"
    # ZGC_STRESS and the like are allowed to take more.
    if not has_options and ours.peak_kb > stock.peak_kb * MEMORY_RATIO + MEMORY_MORE_KB:
        yield f"peak {ours.peak_kb} KB, stock {stock.peak_kb} KB"


def attack(arguments, name, seed):
    chance = random.Random(f"{name} {seed}")
    options = chance.choice(OPTIONS)
    command = [arguments.python, "-X", "faulthandler", "-W", "ignore", "-c", START, str(PROGRAMS / f"{name}.py"), str(seed)]
    stock = run(command, environment(None, {}))
    ours = run(command, environment(arguments.lib, options))
    found = list(differences(stock, ours, options))
    if found:
        print(f"\n{name} differs: {Path(__file__).name} --python {arguments.python} --seed {seed} --rounds 1 {name}\n"
              f"options {options}\n" + "\n".join(found), flush=True)
    return not found


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter (default: this one)")
    parser.add_argument("--lib", default=os.environ.get("ZGC_LIB") or str(ROOT / "build" / "libzgcpreload.so"),
                        help="the library (default: ZGC_LIB, or that of build/)")
    parser.add_argument("--seconds", type=float, default=60, help="stop after the round in which they are over")
    parser.add_argument("--rounds", type=int, metavar="N", help="N rounds of each instead")
    parser.add_argument("--seed", type=int, help="of the first round; then seed + 1 and so on (default: random)")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no program named {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    if not os.path.isfile(arguments.lib):
        parser.error(f"there is no library at {arguments.lib}; build it, or name one with --lib")
    return arguments


def main():
    arguments = parse_arguments()
    names = arguments.names or NAMES
    seed = random.randrange(1 << 30) if arguments.seed is None else arguments.seed
    print(f"attack: first seed {seed}, programs {', '.join(names)}", flush=True)
    end, rounds, failed = time.monotonic() + arguments.seconds, 0, 0
    while rounds < arguments.rounds if arguments.rounds else time.monotonic() < end:
        for name in names:
            failed += not attack(arguments, name, seed + rounds)
        rounds += 1
    print(f"attack: {rounds} rounds of {len(names)} programs, {failed} differed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
