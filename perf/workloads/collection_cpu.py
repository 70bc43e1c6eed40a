"""What one full collection of a live heap without garbage costs: CPU of all threads, and time.

Stock: gc.collect(). Preloaded: zgc.collect(), which runs beside the program, and besides that
gc.collect(), which stops it.
"""

import gc
import statistics
import time

from _heaps import LiveHeap
from _measure import Workload, main, zgc

COLLECTIONS = 5


def cost_of(collect):
    """Median CPU (ms, all threads) and wall time (ms) of several calls."""
    cpu, wall = [], []
    for _ in range(COLLECTIONS):
        cpu_before, wall_before = time.process_time(), time.perf_counter()
        collect()
        cpu.append((time.process_time() - cpu_before) * 1e3)
        wall.append((time.perf_counter() - wall_before) * 1e3)
    return statistics.median(cpu), statistics.median(wall)


class CollectionCpu(Workload):
    seconds = None

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--links", choices=("random", "near"), default="random",
                            help="where references point (default: %(default)s)")

    def build(self):
        self.heap = LiveHeap(self.args.objects, self.args.links == "random")
        gc.collect()

    def measure(self):
        explicit_cpu, explicit_wall = cost_of(gc.collect)
        full_cpu, full_wall = cost_of(zgc.collect) if zgc else (explicit_cpu, explicit_wall)
        self.meter.metrics.update(
            full_cpu_ms=full_cpu, full_wall_ms=full_wall,
            explicit_cpu_ms=explicit_cpu, explicit_wall_ms=explicit_wall)


if __name__ == "__main__":
    main(CollectionCpu, __doc__)
