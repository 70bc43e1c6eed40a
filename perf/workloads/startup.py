"""What an empty program costs: wall time and peak RSS of `python -c pass`.

The children inherit the preload of this process, if it has one.
"""

import statistics
import subprocess
import sys
import time

from _measure import Workload, main

RUNS = 40
READ_PEAK = "print(next(x for x in open('/proc/self/status') if x.startswith('VmHWM')).split()[1])"


class Startup(Workload):
    objects = None
    seconds = None

    def measure(self):
        times, peaks = [], []
        for _ in range(RUNS):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            times.append((time.perf_counter() - started) * 1e3)
        for _ in range(RUNS // 4):
            output = subprocess.check_output([sys.executable, "-c", READ_PEAK])
            peaks.append(int(output) / 1024.0)
        self.meter.metrics.update(
            startup_ms=statistics.median(times),
            startup_rss_mb=statistics.median(peaks))


if __name__ == "__main__":
    main(Startup, __doc__)
