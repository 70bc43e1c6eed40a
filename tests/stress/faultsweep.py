#!/usr/bin/env python3
"""Every system call and allocation of the library fails in turn; the program must not notice.

    faultsweep.py [--python PYTHON] [--lib LIB] [--call NAME ...] [--quick] [--seconds N]

For each kind of call (those of ZGC_FAULT) call number 1, 2, 3... fails, once alone and once together with
all that follow, until the program ends without having reached the call. (After the first 20 the
numbers grow by a tenth, as each kind repeats itself; --every leaves none out.) The program builds
data, makes garbage with finalizers, grows and shrinks large blocks, forks, uses managed objects, and
compares all of it with what it must be. One row per kind:

    injected   calls that failed
    runs       programs run
    survived   ... that ended as without faults: all data right, each finalizer run once, zgc.verify() clean
    refused    ... of these, where an operation raised MemoryError or RuntimeError, and lost nothing
    passive    ... of these, where the library stayed out and the program ran as stock CPython
    LOST       anything else; its output is printed. Exit status 1, also when nothing failed at all.

"heap+fallback" lets the heap's growth fail for good and malloc for 31 calls: only then memory is really
short, and any statement of the program may raise MemoryError.
"""

import argparse
import json
import os
import sys
import time

import patience

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KINDS = ("reserve", "commit", "uncommit", "remap", "table", "advise", "populate", "constant", "move", "thread",
         "atfork", "fallback")
NEVER = 1 << 40
TIMEOUT_S = 400     # generous: the machine may do other work, and each takes less than a second
SHORTAGE = 30        # allocations in a row that fail in heap+fallback
QUICK = ("1", "9", "2+")
UNCOMMIT_S = 1.8     # within which memory that is free goes back to the system

PROGRAM = r"""
import gc, json, os, sys, threading, time, zgc
refused, problems = [], []
active = zgc.status()["active"]
class Node:
    made = ended = 0
    def __init__(self, n):
        self.n, self.me = n, self
        Node.made += 1
    def __del__(self):
        Node.ended += 1
def stage(function):
    try:
        function()
    except (MemoryError, RuntimeError) as error:
        refused.append(f"{function.__name__}: {type(error).__name__}")
    except AssertionError as error:
        problems.append(f"{function.__name__}: {error!r}")
kept = {}
def check_kept():
    for key, value in kept.items():
        assert value[0] == key and value[1]["n"] == key * 3 and value[2] is value, key
def build():
    for i in range(30000):
        value = [i, {"n": i * 3}]
        value.append(value)
        kept[i] = value
def churn():
    for round in range(3):
        for i in range(3000):
            Node(i)
        keep = [[] for _ in range(12000)]
        zgc.collect() if active else gc.collect()
        check_kept()
def large():
    block = bytearray(b"x" * 100)
    for power in range(10, 25):
        block.extend(bytes([power]) * ((1 << power) - len(block)))
        assert block[50] == 120 and block[-1] == power
    words = list(range(1500000))
    del words[20:]
    assert words == list(range(20))
    time.sleep(LINGER)
    tail = bytes(block[-1000:])
    del block[:-1000]
    assert block == tail
    many = [bytes(1 << 20) for _ in range(24)]
    del many[::2]
    more = [bytearray(b"y" * 700000) for _ in range(8)]
    assert all(not any(b[:100]) for b in many) and all(b[-1] == 121 for b in more)
def fork():
    pid = os.fork()
    if pid == 0:
        try:
            check_kept()
            try:
                zgc.collect() if active else 0
                gc.collect()
            except (MemoryError, RuntimeError):
                pass
            check_kept()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0, "child"
def threads():
    found = []
    def run(k):
        local = [[k, i] for i in range(5000)]
        gc.collect(0)
        found.append(sum(pair[1] for pair in local))
    started = []
    for k in range(4):
        started.append(threading.Thread(target=run, args=(k,)))
        started[-1].start()
    for thread in started:
        thread.join()
    assert found == [12497500] * 4, found
def managed():
    class Item(zgc.Object):
        next: "Item"
        key: zgc.i64
        text: object
    def chain(n):
        head = None
        for i in range(n):
            head = Item(head, i, str(i))
        return head
    def check(item, n):
        while item is not None:
            n -= 1
            assert item.key == n and item.text == str(n), n
            item = item.next
        assert n == 0, n
    head = chain(8000)
    for kind in ("young", "full", "full"):
        rest = chain(4000)
        try:
            zgc.collect(kind)
        except (MemoryError, RuntimeError):
            refused.append(f"collect {kind}")
        check(head, 8000)
        check(rest, 4000)
        del rest
    table = zgc.allocate(20000)
    for i in range(0, 20000, 7):
        table[i] = (i,)
    assert table[7] == (7,) and table[1] is None
for function in (build, churn, large, threads, fork, churn, fork):
    stage(function)
    stage(check_kept)
if active and MANAGED:
    stage(managed)
    stage(check_kept)
stage(gc.collect)
stage(gc.collect)
if Node.ended != Node.made:
    problems.append(f"{Node.made} nodes, {Node.ended} finalized")
if zgc.status()["active"]:
    try:
        zgc.verify()
    except MemoryError:
        refused.append("verify")
    except Exception as error:
        problems.append(f"verify: {error!r}")
status = zgc.status()
print(json.dumps({"problems": problems, "refused": refused, "active": active,
                  "collector": status["collector"], "injected": status.get("injected", {})}))
"""

# Memory is really short for a while: any statement may fail, also those of finalizers. What the program
# holds must be right nevertheless. Counting the shortages must not need memory.
SHORT_PROGRAM = r"""
import gc, json, sys, zgc
kept, lost, short = [], [], [False]
sys.unraisablehook = lambda unused: None
class Record:
    def __del__(self):
        self.body.append(self)
        self.body.pop()
def grow():
    for _ in range(5000):
        record = Record()
        record.key = len(kept)
        record.body = [record.key, str(record.key)]
        record.me = record
        kept.append(record)
        garbage = Record()
        garbage.body = [garbage]
    gc.collect()
    zgc.collect()
def check():
    for key, record in enumerate(kept):
        if record.key != key or record.body != [key, str(key)] or record.me is not record:
            lost.append(key)
def insist(function):
    while True:
        try:
            return function()
        except MemoryError:
            short[0] = True
for attempt in range(6):
    insist(grow)
    insist(check)
def finish():
    del kept[::2]
    kept[:] = sorted(kept, key=lambda record: -record.key)
    gc.collect()
    zgc.verify()
insist(finish)
status = insist(zgc.status)
print(json.dumps({"problems": lost[:5], "refused": ["x"] * short[0], "active": status["active"],
                  "collector": status["collector"], "injected": status["injected"]}))
"""


class Run:
    """One program under one ZGC_FAULT; what came of it."""

    def __init__(self, sweep, fault, program):
        self.fault = fault
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ZGC_"))}
        env.update(LD_PRELOAD=sweep.lib, ZGC_FAULT=fault, ZGC_UNCOMMIT_DELAY="0")
        command = [sweep.python, "-X", "faulthandler", "-c", program]
        self.status, self.out, self.err = patience.run(command, TIMEOUT_S, env=env)
        try:
            self.answer = json.loads(self.out.splitlines()[-1])
        except (IndexError, ValueError):
            self.answer = {}

    def injected(self):
        return sum(pair[1] for pair in self.answer.get("injected", {}).values())

    def is_lost(self):
        return self.status != 0 or not self.answer or bool(self.answer["problems"])

    def describe(self):
        return (f"ZGC_FAULT={self.fault}: status {self.status}, "
                f"{self.answer.get('problems', 'no answer')}\n{self.err[-3000:]}")


class Row:
    def __init__(self, name):
        self.name, self.injected, self.runs = name, 0, 0
        self.refused = self.passive = self.lost = 0

    def add(self, run):
        self.runs += 1
        self.injected += run.injected()
        if run.is_lost():
            self.lost += 1
            print(f"LOST {run.describe()}", file=sys.stderr, flush=True)
            return
        self.refused += bool(run.answer["refused"])
        self.passive += not run.answer["active"]

    HEAD = f"{'call':15}{'injected':>9}{'runs':>7}{'survived':>10}{'refused':>9}{'passive':>9}{'LOST':>6}"

    def __str__(self):
        return (f"{self.name:15}{self.injected:9}{self.runs:7}{self.runs - self.lost:10}"
                f"{self.refused:9}{self.passive:9}{self.lost:6}")


class Sweep:
    def __init__(self, arguments):
        self.python, self.lib = arguments.python, os.path.abspath(arguments.lib)
        self.every, self.quick = arguments.every, arguments.quick
        self.program = f"MANAGED, LINGER = {not arguments.quick}, 0\n" + PROGRAM
        self.lingering = f"MANAGED, LINGER = False, {UNCOMMIT_S}\n" + PROGRAM

    def next(self, n):
        return n + 1 if self.every or n < 20 else n + n // 10

    def kind(self, name, make_fault, program):
        """Until the program no longer comes to the call."""
        row = Row(name)
        if self.quick:
            for numbers in QUICK:
                row.add(Run(self, make_fault(numbers), program))
            return row
        for last in ("", "+"):
            n, clean = 1, 0
            while clean < 2:
                run = Run(self, make_fault(f"{n}{last}"), program)
                row.add(run)
                reached = run.injected() > 0 or run.is_lost() or not run.answer["active"]
                clean = 0 if reached else clean + 1
                n = self.next(n)
        return row

    def first_short(self):
        """The first growth of the heap after start-up."""
        calls = Run(self, f"commit={NEVER}", "import zgc, json; print(json.dumps({'problems': [], "
                    "'injected': zgc.status()['injected']}))").answer["injected"]["commit"]
        return calls[0] + 1

    def heap_and_fallback(self):
        row = Row("heap+fallback")
        start = self.first_short()
        n = 1
        if self.quick:
            row.add(Run(self, f"commit={start}+,fallback={n}-{n + SHORTAGE}", SHORT_PROGRAM))
            return row
        while True:
            run = Run(self, f"commit={start}+,fallback={n}-{n + SHORTAGE}", SHORT_PROGRAM)
            row.add(run)
            if not run.is_lost() and run.answer["injected"].get("fallback", [0, 0])[1] == 0:
                return row
            n = self.next(n)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--lib", default=os.environ.get("ZGC_LIB") or
                        os.path.join(ROOT, "build", "libzgcpreload.so"))
    parser.add_argument("--call", action="append", choices=KINDS + ("heap+fallback",),
                        help="only this one (repeatable)")
    parser.add_argument("--every", action="store_true", help="leave no number out")
    parser.add_argument("--quick", action="store_true", help="of each kind the first, the ninth, and all but the first; no managed objects")
    arguments = parser.parse_args()
    sweep = Sweep(arguments)
    print(Row.HEAD, flush=True)
    rows, start = [], time.monotonic()
    for kind in arguments.call or KINDS + ("heap+fallback",):
        if kind == "heap+fallback":
            row = sweep.heap_and_fallback()
        else:
            program = sweep.lingering if kind == "uncommit" else sweep.program
            row = sweep.kind(kind, lambda n, kind=kind: f"{kind}={n}", program)
        rows.append(row)
        print(row, flush=True)
    lost = sum(row.lost for row in rows)
    print(f"{sum(r.injected for r in rows)} faults in {sum(r.runs for r in rows)} runs, "
          f"{lost} lost, {time.monotonic() - start:.0f} s")
    return 1 if lost or not any(row.injected for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
