"""A queue of small cycles: jobs wait in line, are done, and are dropped with their cycles.

With a long line each job is old when it is dropped; with a short one it dies young.
"""

from collections import deque

from _heaps import LiveHeap, family
from _measure import Workload, main

JOBS_PER_STEP = 8


class CycleQueue(Workload):

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--length", type=int, default=50_000, metavar="N",
                            help="jobs waiting in the queue (default: %(default)s)")
        parser.add_argument("--job-size", type=int, default=10, metavar="N",
                            help="objects in one job (default: %(default)s)")

    def build(self):
        size = self.args.job_size
        self.garbage_size = self.meter.calibrate(lambda: family(size))
        waiting = self.args.length * size
        self.heap = LiveHeap(max(self.args.objects - waiting, self.args.objects // 4))
        self.queue = deque(family(size) for _ in range(self.args.length))

    def step(self):
        self.heap.churn(2)
        queue = self.queue
        for _ in range(JOBS_PER_STEP):
            queue.append(family(self.args.job_size))
            queue.popleft()
        self.meter.garbage_made += JOBS_PER_STEP * self.garbage_size


if __name__ == "__main__":
    main(CycleQueue, __doc__)
