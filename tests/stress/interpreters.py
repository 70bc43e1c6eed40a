#!/usr/bin/env python3
"""Interpreters of both kinds made, worked in and ended at random, beside a main one that is busy.

    interpreters.py --seconds 600 --seed 7 --threads 3

Needs _xxsubinterpreters (3.12) or _interpreters (3.13 and later); 3.14 and later use InterpreterPoolExecutor,
too. Each interpreter checks what it holds; at the end the heap is verified, if the library is there. Works on
stock. The seed fixes what is done, not how the threads interleave. Exit status: 0 all well, 1 something was
wrong, 77 no such interpreters here.
"""

import argparse
import gc
import random
import sys
import threading
import time

try:
    import _interpreters as interpreters
except ImportError:
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        sys.exit(77)
try:
    import zgc
except ImportError:
    zgc = None

# What an interpreter does for `rounds` rounds; {names} are filled in.
LIFE = """if 1:
    import gc, random
    dice = random.Random({seed})
    class Node:
        def __init__(self, n):
            self.n, self.me, self.data = n, self, [n] * (n % 50)
    def check(kept):
        for d, (i, k), b, j, node in kept:
            assert d == {{i: j}} and k is kept and len(b) == i % 3000 and i == j, "broken"
            assert node.me is node and node.data == [i] * (i % 50), "a node is broken"
    if {frozen}:
        gc.disable()
    kept = []
    for n in range({rounds}):
        kept.append([{{n: n}}, (n, kept), bytes(n % 3000), n, Node(n)])
        if len(kept) > 1500:
            check(kept)
            del kept[:dice.randrange(200, 1400)]
            if dice.random() < 0.2:
                gc.collect()
    check(kept)
    if {large}:
        big = bytearray(dice.randrange(1 << 17, 1 << 23))
        big.extend(bytes(1 << 20))
        assert not any(big[::4096])
    assert gc.callbacks == []
"""


def create(own_gil):
    if sys.version_info >= (3, 13):
        return interpreters.create("isolated" if own_gil else "legacy")
    return interpreters.create(isolated=own_gil)


class Stress:
    def __init__(self, options):
        self.options = options
        self.end = time.monotonic() + options.seconds
        self.made = 0
        self.errors = []
        self.lock = threading.Lock()

    def is_over(self):
        return time.monotonic() > self.end or bool(self.errors)

    def guarded(self, work, seed):
        try:
            work(random.Random(seed))
        except BaseException as e:
            self.errors.append(f"{work.__name__}: {type(e).__name__}: {e}")

    def live(self, interpreter, dice, own_gil):
        code = LIFE.format(seed=dice.randrange(1 << 30), rounds=dice.choice((10, 2000, 12000)), large=dice.random() < 0.2,
                           frozen=dice.random() < 0.2)
        problem = interpreters.run_string(interpreter, code)
        if problem is not None:
            raise AssertionError(f"own_gil={own_gil}: {problem.formatted}")

    def interpreters_come_and_go(self, dice):
        while not self.is_over():
            own_gil = dice.random() < 0.8
            # CPython itself is not safe where two threads make or end interpreters at once (3.12).
            with self.lock:
                interpreter = create(own_gil)
                self.made += 1
            for _ in range(dice.randrange(1, 4)):
                self.live(interpreter, dice, own_gil)
            with self.lock:
                interpreters.destroy(interpreter)

    def pools(self, dice):
        from concurrent.futures import InterpreterPoolExecutor
        while not self.is_over():
            with InterpreterPoolExecutor(2) as pool:
                lists = [list(range(dice.randrange(500), 0, -1)) for _ in range(40)]
                for part, result in zip(lists, pool.map(sorted, lists)):
                    assert result == part[::-1]

    def main_one_is_busy(self, dice):
        kept = []
        n = 0
        while not self.is_over():
            n += 1
            kept.append([{n: n}, (n, kept), bytes(n % 3000), n, [n] * (n % 50)])
            if len(kept) > 5000:
                for d, (i, k), b, j, l in kept:
                    assert d == {i: j} and k is kept and len(b) == i % 3000 and l == [i] * (i % 50)
                del kept[:dice.randrange(500, 4900)]
                if dice.random() < 0.02:
                    gc.collect()
                if zgc is not None and zgc.status()["active"] and dice.random() < 0.02:
                    zgc.verify()

    def run(self):
        works = [self.main_one_is_busy] + [self.interpreters_come_and_go] * self.options.threads
        if sys.version_info >= (3, 14):
            works.append(self.pools)
        threads = [threading.Thread(target=self.guarded, args=(work, self.options.seed * 1000 + i))
                   for i, work in enumerate(works)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        gc.collect()
        if zgc is not None and zgc.status()["active"]:
            zgc.verify()
        for error in self.errors:
            print(error, file=sys.stderr)
        print(f"{self.made} interpreters, {len(self.errors)} errors")
        return 1 if self.errors or self.made == 0 else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=3, help="that make interpreters")
    return Stress(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
