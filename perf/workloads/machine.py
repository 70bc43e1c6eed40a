"""What the machine itself does to a program: gaps in the time of a process that only reads the clock,
while another one keeps the second processor busy. No pause can be told from these.
"""

import multiprocessing
import time

from _measure import Workload, main


def spin():
    while True:
        pass


class Machine(Workload):
    objects = None

    def measure(self):
        other = multiprocessing.Process(target=spin, daemon=True)
        other.start()
        clock = time.perf_counter_ns
        gaps = []
        before = clock()
        end = before + int(self.args.seconds * 1e9)
        while before < end:
            now = clock()
            if now - before > 100_000:
                gaps.append(now - before)
            before = now
        other.kill()
        self.meter.metrics.update(gap_max_ms=max(gaps, default=0) / 1e6, gaps_over_100_us=len(gaps),
                                  gaps_over_1_ms=sum(gap > 1_000_000 for gap in gaps))


if __name__ == "__main__":
    main(Machine, __doc__)
