"""What a process may have is not used up by addresses that we only might need: limits of address space and of
locked memory, dumps of the process."""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

import zgctest

MB = 1 << 20

STATUS = """
import re
def status(key):
    with open("/proc/self/status") as file:
        return int(re.search(key + r":\\s+(\\d+) kB", file.read())[1]) << 10
"""

LOCKED = STATUS + """
import ctypes, os, resource, sys
libc = ctypes.CDLL(None, use_errno=True)
limit, flags = int(sys.argv[1]), int(sys.argv[2])
keep = [[i] for i in range(100000)]
if limit:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)        # root may lock as much as there is
before = status("VmRSS")
locked = libc.mlockall(flags)
more = [[i] for i in range(100000)]
print(locked, ctypes.get_errno(), (status("VmRSS") - before) >> 20)
"""

# Under a limit of address space: mappings of the program's own, threads, and objects, up to a little below it.
SPACE = STATUS + """
import gc, mmap, resource, sys, threading
limit, at_run_time = int(sys.argv[1]), sys.argv[2] == "late"
if limit and at_run_time:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
maps = [mmap.mmap(-1, 10 << 20) for _ in range(12)]
threads = [threading.Thread(target=sum, args=([1],)) for _ in range(2)]
for t in threads: t.start()
for t in threads: t.join()
keep = [[i, (i,)] for i in range(150000)]
for i in range(20000):
    x = []
    x.append(x)
for m in maps: m[0] = 1
gc.collect()
assert all(k == [i, (i,)] for i, k in enumerate(keep))
print("ran", status("VmPeak"))
"""


class LockedMemory(unittest.TestCase):

    def grown(self, limit, flags):
        status, error, megabytes = map(int, zgctest.run(LOCKED, limit, flags).out.split())
        self.assertEqual((status, error), (0, 0))
        return megabytes

    def test_all_locked_is_what_is_in_use(self):
        for flags in (1, 2, 3, 3 | 4, 1 | 4):       # MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT
            with self.subTest(flags):
                self.assertLess(self.grown(0, flags), 60)

    def test_within_a_limit_that_is_enough_for_stock(self):
        most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        limit = 150 * MB if most == resource.RLIM_INFINITY else min(most, 150 * MB)
        if zgctest.run(LOCKED, limit, 3, preload=False).out[0] != "0":
            self.skipTest("not even stock may lock as much as it needs")
        for flags in (1, 3):
            with self.subTest(flags):
                self.assertLess(self.grown(limit, flags), 100)


class AddressSpace(unittest.TestCase):

    def peak(self, limit, when, **how):
        before = None
        if limit and when == "early":
            before = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
        try:
            result = zgctest.run(SPACE, limit, when, **how)
        finally:
            if before:
                resource.setrlimit(resource.RLIMIT_AS, before)
        self.assertEqual(result.out.split()[0], "ran", result.describe())
        return int(result.out.split()[1])

    def test_little_more_than_stock(self):
        stock = self.peak(0, "", preload=False)
        self.assertLess(self.peak(0, "", preload=zgctest.ACTIVE) - stock, 150 * MB)  # an arena of malloc's: 64 MB

    @unittest.skipIf("asan" in os.environ.get("LD_PRELOAD", ""), "it needs addresses without end")
    def test_limits_that_stock_can_live_with(self):
        stock = self.peak(0, "", preload=False)
        for when in ("early", "late"):
            with self.subTest(when):
                self.peak(stock + 48 * MB, when)

    # malloc sets up an arena for each thread that calls it, and keeps 64 MiB of addresses for it.
    @zgctest.requires_active
    def test_the_collector_thread_needs_no_arena(self):
        kept = zgctest.run("""
            import os, time
            keep = [bytes(1000) for _ in range(40000)]
            del keep                            # idle memory: the collector thread starts, and makes a statistics page
            def rows():
                with open("/proc/self/maps") as file:
                    return [row.split() for row in file]
            end = time.monotonic() + 10
            while not any(f"/{os.getpid()}" in row[-1] for row in rows()) and time.monotonic() < end: time.sleep(0.01)
            print(any(f"/{os.getpid()}" in row[-1] for row in rows()))
            bounds = [row[0].split("-") for row in rows() if row[1] == "---p" and row[4] == "0"]
            print(max((int(to, 16) - int(at, 16) for at, to in bounds), default=0))
            """).out.split()
        has_page, kept = kept
        self.assertEqual(has_page, "True")
        self.assertLess(int(kept), 16 * MB)


@zgctest.requires_active
class Dumps(unittest.TestCase):
    PROGRAM = "import os, sys; keep = [[i] for i in range(10000)]; "

    def test_core_file(self):
        with open("/proc/sys/kernel/core_pattern") as file:
            if not re.fullmatch(r"core(\.%p)?\n", file.read()):
                self.skipTest("core files go elsewhere")
        sizes = []
        for preload in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                limits = "resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)"
                zgctest.run(f"import resource, os; {limits}; os.chdir({folder!r}); {self.PROGRAM} os.abort()",
                            preload=preload, status=-6, flags=())
                cores = os.listdir(folder)
                if not cores:
                    self.skipTest("no core files here")
                sizes.append(os.path.getsize(os.path.join(folder, cores[0])))
        self.assertLess(sizes[1] - sizes[0], 24 * MB)

    def test_gcore(self):
        gcore = shutil.which("gcore")
        if not gcore:
            self.skipTest("gcore is not installed")
        sizes = []
        for preload in (False, True):
            with tempfile.TemporaryDirectory() as folder, subprocess.Popen(
                    [sys.executable, "-c", self.PROGRAM + "print('ready', flush=True); sys.stdin.read()"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=zgctest.environment(preload)) as process:
                process.stdout.readline()
                subprocess.run([gcore, "-o", os.path.join(folder, "core"), str(process.pid)], check=False,
                               capture_output=True, timeout=100, env=zgctest.environment(False))
                process.communicate()
                cores = os.listdir(folder)
                if not cores:
                    self.skipTest("not permitted to trace processes")
                sizes.append(os.path.getsize(os.path.join(folder, cores[0])))
        self.assertLess(sizes[1] - sizes[0], 24 * MB)


if __name__ == "__main__":
    zgctest.main()
