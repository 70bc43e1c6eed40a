"""The allocator alone: time per object for malloc and free of 16 to 512 bytes, for lists, dicts
and instances, each freed at once, and in batches freed in order and in random order.
"""

import gc
import statistics
import time
from itertools import repeat
from random import Random

from _measure import Workload, main

BATCH = 20_000
REPEATS = 31

# The size is what CPython asks its allocator for: a bytes object adds 33 to its length.
BLOCKS = {16: "object()", 32: "complex(1.5, x)"}
BLOCKS.update((size, f"bytes({size - 33})") for size in (48, 64, 96, 128, 192, 256, 384, 512))

BUILDS = {
    "tuple": "(x, x, x)",
    "list": "[x, x, x, x]",
    "list_append": "append4([], x)",
    "dict": "{1: x, 2: x, 3: x}",
    "instance": "Point(x, x)",
    "slots": "Slots(x, x)",
    "str": "'%d items' % x",
}


class Point:
    def __init__(self, left, right):
        self.left = left
        self.right = right


class Slots:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.left = left
        self.right = right


def append4(items, x):
    for _ in repeat(None, 4):
        items.append(x)
    return items


def compiled(expression, body):
    """A function of one argument x with `expression` written out in its loop."""
    names = {"Point": Point, "Slots": Slots, "append4": append4, "repeat": repeat}
    exec(body.replace("EXPR", expression), names)
    return names["run"]


AT_ONCE = f"""
def run(x):
    for _ in repeat(None, {BATCH}):
        EXPR
"""

IN_BATCH = f"""
def run(x):
    return [EXPR for _ in repeat(None, {BATCH})]
"""


class AllocMicro(Workload):
    objects = None
    seconds = None

    def build(self):
        gc.collect()
        gc.disable()
        self.order = list(range(BATCH))
        Random(1).shuffle(self.order)

    def time_at_once(self, expression):
        run = compiled(expression, AT_ONCE)
        return self.best_of(lambda: run(7))

    def time_in_batch(self, expression):
        run = compiled(expression, IN_BATCH)

        def build_and_drop():
            batch = run(7)
            del batch

        return self.best_of(build_and_drop)

    def time_random(self, expression):
        """Built in a batch, freed in random order."""
        run = compiled(expression, IN_BATCH)

        def build_and_drop():
            batch = run(7)
            for index in self.order:
                batch[index] = None

        return self.best_of(build_and_drop)

    def best_of(self, run):
        times = []
        for _ in range(REPEATS):
            started = time.perf_counter_ns()
            run()
            times.append((time.perf_counter_ns() - started) / BATCH)
        # The minimum: what disturbs a loop this short only ever adds time.
        return min(times)

    def measure(self):
        blocks, builds = {}, {}
        started = time.process_time()
        for size, expression in BLOCKS.items():
            blocks[f"block_{size}_at_once_ns"] = self.time_at_once(expression)
            blocks[f"block_{size}_batch_ns"] = self.time_in_batch(expression)
            blocks[f"block_{size}_random_ns"] = self.time_random(expression)
        for name, expression in BUILDS.items():
            builds[f"{name}_at_once_ns"] = self.time_at_once(expression)
            builds[f"{name}_batch_ns"] = self.time_in_batch(expression)
        self.meter.metrics.update(
            blocks, **builds,
            all_cpu_s=time.process_time() - started,
            blocks_ns=statistics.geometric_mean(blocks.values()),
            builds_ns=statistics.geometric_mean(builds.values()))


if __name__ == "__main__":
    main(AllocMicro, __doc__)
