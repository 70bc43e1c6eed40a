#!/usr/bin/env python3
"""What a prefork server keeps shared: memory of workers after full collections in each of them.

    prefork.py [--python PYTHON] [--lib LIB] [--objects N] [--workers N] [--rounds N] [--json]

The same small server in turn with stock CPython, with stock and gc.freeze() before the fork, under the
preload, and under the preload with gc.freeze(): the parent loads an application of N records and forks; each worker serves requests
(reads a few records, makes cyclic garbage) and makes full collections. While all are alive,
/proc/PID/smaps_rollup of each is read. Medians over rounds and workers, in MB:

    private   pages of the worker's own
    shared    pages it shares with the parent and its siblings
    pss       its fair share of everything

Exit status 1 when the preload keeps less shared with the parent than stock with gc.freeze(), or its
workers have more than 5 % of what they map to themselves.
"""

import argparse
import gc
import json
import os
import random
import re
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODES = ("stock", "gc.freeze", "preload", "preload+freeze")
FIELDS = ("private", "shared", "pss")
OWN_SHARE = 0.05


# -- the server ----------------------------------------------------------------------------------------

class Record:
    def __init__(self, key):
        self.key = key
        self.name = f"record {key}"
        self.tags = [key % 7, key % 11]
        self.links = {}


def load(count):
    """An application as it stands before the fork: records that refer to each other."""
    rng = random.Random(1)
    records = [Record(i) for i in range(count)]
    for record in records:
        other = records[rng.randrange(count)]
        record.links[other.name] = other
    return records


def serve(records, requests, rng):
    for _ in range(requests):
        record = records[rng.randrange(len(records) // 100)]     # popular ones
        answer = {"name": record.name, "tags": list(record.tags)}
        answer["self"] = answer
        answer["page"] = [[i] for i in range(20)]


def worker(records, number):
    rng = random.Random(number)
    for _ in range(4):
        serve(records, 2000, rng)
        gc.collect()
        if "zgc" in sys.modules:
            sys.modules["zgc"].collect()
    serve(records, 2000, rng)


def memory(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        rollup = {k: int(v) / 1024 for k, v in re.findall(r"(\w+): +(\d+) kB", file.read())}
    return {"private": rollup["Private_Clean"] + rollup["Private_Dirty"],
            "shared": rollup["Shared_Clean"] + rollup["Shared_Dirty"], "pss": rollup["Pss"]}


def fork_worker(records, number):
    """Returns (pid, pipe that tells when it has served, pipe whose end makes it leave)."""
    done_read, done_write = os.pipe()
    leave_read, leave_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(leave_write)
            worker(records, number)
            os.write(done_write, b"x")
            os.read(leave_read, 1)
            status = 0
        finally:
            os._exit(status)
    os.close(done_write)
    os.close(leave_read)
    return pid, done_read, leave_write


def server(mode, objects, workers):
    if mode.startswith("preload"):
        import zgc
        status = zgc.status()
        if not status["active"]:
            sys.exit(f"prefork: the library is not active: {status['reason']}")
    records = load(objects)
    gc.collect()
    if mode.endswith("freeze"):
        gc.freeze()
    children = [fork_worker(records, i) for i in range(workers)]
    for _, done, _ in children:
        if os.read(done, 1) != b"x":
            sys.exit("prefork: a worker ended early")
    found = [memory(pid) for pid, _, _ in children]
    parent = memory(os.getpid())
    for _, _, leave in children:    # all, before one is waited for: a later child holds a copy
        os.close(leave)
    for pid, _, _ in children:
        if os.waitpid(pid, 0)[1]:
            sys.exit("prefork: a worker failed")
    print(json.dumps({"workers": found, "parent": parent}))
    sys.stdout.flush()
    os._exit(0)


# -- the comparison ---------------------------------------------------------------------------------------

def run(python, lib, mode, arguments):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LD_PRELOAD"))}
    if mode.startswith("preload"):
        env["LD_PRELOAD"] = lib
    command = [python, os.path.abspath(__file__), "--serve", mode, "--objects", str(arguments.objects),
               "--workers", str(arguments.workers)]
    return json.loads(subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE).stdout)


def medians(samples):
    return {field: statistics.median(s[field] for s in samples) for field in FIELDS}


def compare(python, lib, arguments):
    """{mode: {"worker": medians, "parent": medians}}, the modes taking turns."""
    workers, parents = {m: [] for m in MODES}, {m: [] for m in MODES}
    for _ in range(arguments.rounds):
        for mode in MODES:
            found = run(python, lib, mode, arguments)
            workers[mode] += found["workers"]
            parents[mode].append(found["parent"])
    return {m: {"worker": medians(workers[m]), "parent": medians(parents[m])} for m in MODES}


def misses(found):
    frozen = found["gc.freeze"]["worker"]
    for mode in MODES[2:]:
        ours = found[mode]["worker"]
        if ours["shared"] < frozen["shared"]:
            yield f"{mode} keeps less shared than gc.freeze"
        if ours["private"] > OWN_SHARE * (ours["private"] + ours["shared"]):
            yield f"{mode}: a worker has {ours['private']:.1f} MB to itself"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--lib", default=os.environ.get("ZGC_LIB") or
                        os.path.join(ROOT, "build", "libzgcpreload.so"))
    parser.add_argument("--objects", type=int, default=300000, help="records (4 containers each)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the medians as JSON too")
    parser.add_argument("--serve", choices=MODES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        server(arguments.serve, arguments.objects, arguments.workers)
    found = compare(arguments.python, arguments.lib, arguments)
    print(f"{'mode':16}" + "".join(f"{field:>10}" for field in FIELDS) + f"{'parent pss':>12}")
    for mode in MODES:
        numbers = found[mode]["worker"]
        print(f"{mode:16}" + "".join(f"{numbers[field]:10.1f}" for field in FIELDS)
              + f"{found[mode]['parent']['pss']:12.1f}")
    if arguments.json:
        print(json.dumps(found))
    missed = list(misses(found))
    for text in missed:
        print(f"MISSED: {text}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
