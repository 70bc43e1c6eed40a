"""How long an interpreter takes to end with a live heap of `--objects` objects in a module.

A child builds the heap, takes the time and ends; this process takes the time when it is gone.
"""

import statistics
import subprocess
import sys
import time

from _measure import Workload, main

RUNS = 3
CHILD = """
import sys, time
class Node:
    def __init__(self, i):
        self.key, self.pair, self.children = i, (i, str(i)), []
heap = [Node(i) for i in range(int(sys.argv[1]) // 3)]
for i, node in enumerate(heap):
    node.children.append(heap[i * 7 % len(heap)])
print(time.monotonic(), flush=True)
"""


class Exit(Workload):
    seconds = None

    def measure(self):
        times = []
        for _ in range(RUNS):
            child = subprocess.Popen([sys.executable, "-c", CHILD, str(self.args.objects)],
                                     stdout=subprocess.PIPE, text=True)
            left = float(child.stdout.readline())
            if child.wait() != 0:
                raise SystemExit(f"the child ended with status {child.returncode}")
            times.append((time.monotonic() - left) * 1e3)
        self.meter.metrics.update(exit_ms=statistics.median(times))


if __name__ == "__main__":
    main(Exit, __doc__)
