"""Other people's tools on top of the library: tracers, profilers, debuggers, checkers, allocators.

py-spy and memray are not in Debian: they are looked for in ZGC_TOOLS, the bin folder of a virtual
environment (tests/servers/requirements.txt lists some), and else left out. The rest is left out where it is missing.
"""

import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

import zgctest

TOOLS = os.environ.get("ZGC_TOOLS", "")

# Collections without end, and a check of what is held; argv: seconds.
PROGRAM = """
import gc, sys, time
try:
    import zgc
    active = zgc.status()["active"]
except ImportError:
    active = False
class Ring:
    def __init__(self):
        self.me = self
def make_garbage():
    for _ in range(3000):
        Ring()
    return [[] for _ in range(3000)]
kept = [[i, {"k": i}, str(i)] for i in range(60000)]
print("ready", flush=True)
end = time.monotonic() + float(sys.argv[1])
while True:
    make_garbage()
    zgc.collect() if active else gc.collect()
    if time.monotonic() > end:
        break
assert all(k[0] == i and k[1]["k"] == i and k[2] == str(i) for i, k in enumerate(kept))
if active:
    zgc.verify()
print("done", active, flush=True)
"""

TRACEMALLOC = """
import gc, tracemalloc
try:
    import zgc
    collect = zgc.collect
except ImportError:
    collect = gc.collect
class Ring:
    def __init__(self):
        self.me = self
kept = [[i, {"k": i}, str(i)] for i in range(40000)]
for round in range(6):
    tracemalloc.start(1 + round % 3)
    blocks = [bytearray(1000) for _ in range(2000)]
    for _ in range(10000):
        Ring()
    for i in range(round * 100, round * 100 + 500):     # allocated untraced, freed traced
        kept[i] = [i, {"k": i}, str(i)]
    largest = tracemalloc.take_snapshot().statistics("lineno")[0]
    assert 2_000_000 < largest.size < 2_400_000, largest
    collect() if round % 2 else gc.collect()
    if round % 3 == 0:
        tracemalloc.clear_traces()
    tracemalloc.stop()
    del blocks                                          # the other way round
    for _ in range(10000):
        Ring()
    collect()
assert all(k[0] == i and k[1]["k"] == i and k[2] == str(i) for i, k in enumerate(kept))
print("done")
"""

FAULTHANDLER = """
import faulthandler, os, signal, sys, tempfile, threading, time, zgc
file = tempfile.TemporaryFile()
# Not all_threads: CPython reads the frames of a thread that runs meanwhile, which may crash on any build.
faulthandler.register(signal.SIGUSR1, file=file, all_threads=False)
stop = threading.Event()
class Ring:
    def __init__(self):
        self.me = self
def storm():
    while not stop.wait(0.0005):
        os.kill(os.getpid(), signal.SIGUSR1)
thread = threading.Thread(target=storm)
thread.start()
kept = [[i] for i in range(60000)]
end = time.monotonic() + 0.7
while time.monotonic() < end:
    for _ in range(3000):
        Ring()
    zgc.collect()
stop.set()
thread.join()
zgc.verify()
file.seek(0)
print(file.read().decode().count("in <module>"), flush=True)
faulthandler._sigsegv()
"""


def preloaded(*libraries):
    return {"LD_PRELOAD": ":".join(libraries)}


def library(*patterns):
    """The first that exists, or a skipped test."""
    for pattern in patterns:
        for path in sorted(glob.glob(pattern)):
            return path
    raise unittest.SkipTest(f"{patterns[0]} is not installed")


def tool(name):
    path = shutil.which(name, path=os.pathsep.join([TOOLS, os.environ["PATH"]]))
    if not path:
        raise unittest.SkipTest(f"{name} is not installed")
    return path


class Background:
    """The program under the preload, to be looked at from outside."""

    def __init__(self, seconds, python=sys.executable):
        self.process = subprocess.Popen(
            [python, "-c", PROGRAM, str(seconds)], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.STDOUT, env=zgctest.environment(True))

    def __enter__(self):
        if self.process.stdout.readline() != "ready\n":
            raise AssertionError(self.process.communicate()[0])
        return self.process

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def look(*argv, timeout=150):
    """Output of a tool that may not be permitted to look at another process."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout,
                          env=zgctest.environment(False))
    text = done.stdout + done.stderr
    if re.search(r"ptrace: Operation not permitted|Permission Denied", text):
        raise unittest.SkipTest("not permitted to trace processes")
    return text


@zgctest.requires_active
class Inside(unittest.TestCase):

    def test_tracemalloc_started_and_stopped_again_and_again(self):
        zgctest.run(TRACEMALLOC)

    def test_tracemalloc_from_the_start(self):
        self.assertIn("done True", zgctest.run(PROGRAM, 0.2, flags=("-X", "tracemalloc=3")).out)

    def test_faulthandler_by_signals_during_collections_and_at_the_end(self):
        result = zgctest.run(FAULTHANDLER, status=-11)
        self.assertGreater(int(result.out), 20)
        self.assertIn("Fatal Python error: Segmentation fault", result.err)
        self.assertRegex(result.err, r'File "<string>", line \d+ in <module>')


@zgctest.requires_active
class FromOutside(unittest.TestCase):

    def test_gdb_shows_all_threads_and_the_program_goes_on(self):
        gdb = tool("gdb")
        with Background(2) as process:
            text = look(gdb, "-nx", "-batch", "-p", str(process.pid), "-ex", "info threads",
                        "-ex", "thread apply all bt 8")
            self.assertIn("zgc-collector", text)
            self.assertRegex(text, r"#1 ")
            self.assertEqual(process.communicate(timeout=60)[0], "done True\n", text)

    def test_gdb_shows_the_python_stack(self):
        """With the helper that comes with the interpreter, where it does."""
        name = f"python3.{sys.version_info[1]}-gdb.py"
        helper = library(os.path.join(os.path.dirname(os.path.realpath(sys.executable)), name),
                         f"/usr/share/gdb/auto-load/usr/bin/{name}")
        with Background(2) as process:
            text = look(tool("gdb"), "-nx", "-batch", "-p", str(process.pid),
                        "-ex", f"source {helper}", "-ex", "py-bt")
            self.assertRegex(text, r'File "<string>", line \d+, in (<module>|make_garbage)')
            self.assertEqual(process.communicate(timeout=60)[0], "done True\n", text)

    def test_py_spy_dumps_during_collections(self):
        with Background(3) as process:
            for _ in range(3):
                text = look(tool("py-spy"), "dump", "--pid", str(process.pid))
                self.assertIn("<module> (<string>:", text)
            self.assertEqual(process.communicate(timeout=60)[0], "done True\n")

    def test_py_spy_records(self):
        with Background(4) as process, tempfile.NamedTemporaryFile("r") as file:
            look(tool("py-spy"), "record", "-d", "1", "-r", "100", "-f", "raw", "-o", file.name,
                 "--pid", str(process.pid))
            self.assertIn("<module> (<string>:", file.read())
            self.assertEqual(process.communicate(timeout=60)[0], "done True\n")


@zgctest.requires_active
class Memray(unittest.TestCase):
    """Its own interpreter, that of ZGC_TOOLS."""

    def run_with(self, *options):
        memray = tool("memray")
        with tempfile.TemporaryDirectory() as folder:
            program, capture = (os.path.join(folder, name) for name in ("program.py", "capture"))
            with open(program, "w") as file:
                file.write(PROGRAM)
            result = zgctest.run_command([memray, "run", *options, "-o", capture, program, "0.3"])
            self.assertIn("done True", result.out)
            if "--aggregate" not in options:
                stats = look(memray, "stats", capture)
                self.assertIn("Total memory allocated", stats)
                return stats
        return ""

    def test_run(self):
        self.run_with()

    def test_native(self):
        self.run_with("--native")

    def test_follow_fork(self):
        self.run_with("--follow-fork")

    def test_aggregate(self):
        self.run_with("--aggregate")

    def test_python_allocators_show_objects(self):
        self.assertIn("make_garbage", self.run_with("--trace-python-allocators"))

    def test_attach_and_detach_during_collections(self):
        memray, gdb = tool("memray"), tool("gdb")
        python = os.path.join(os.path.dirname(memray), "python3")
        with Background(8, python) as process, tempfile.TemporaryDirectory() as folder:
            capture, pid = os.path.join(folder, "capture"), str(process.pid)
            look(memray, "attach", "--method", os.path.basename(gdb), "-o", capture, pid)
            look(memray, "detach", "--method", os.path.basename(gdb), pid)
            output = process.communicate(timeout=60)[0]
            self.assertTrue(output.startswith("done True\n"), output)
            self.assertIn("Total memory allocated", look(memray, "stats", capture))

    def test_live_remote(self):
        memray = tool("memray")
        with tempfile.NamedTemporaryFile("w", suffix=".py") as program:
            program.write(PROGRAM)
            program.flush()
            # Waits for a reader, which gets a stream of records while the program runs.
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            process = subprocess.Popen(
                [memray, "run", "--live-remote", "-p", str(port), program.name, "0.3"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                env=zgctest.environment(True))
            with process:
                self.assertIn(f"memray live {port}", process.stdout.readline())
                self.assertTrue(zgctest.wait_for(lambda: self.drain(port)))
                self.assertIn("done True", process.communicate(timeout=60)[0])

    @staticmethod
    def drain(port):
        """Read what the program sends until it ends; False while nobody listens."""
        try:
            reader = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            return False
        with reader:
            size = 0
            while data := reader.recv(1 << 16):
                size += len(data)
        return size > 100


@zgctest.requires_active
class Allocators(unittest.TestCase):

    def check(self, *libraries, **env):
        result = zgctest.run(PROGRAM, 0.2, env={**preloaded(*libraries), **env})
        self.assertIn("done True", result.out)

    def both_orders(self, other):
        self.check(other, zgctest.LIB)
        self.check(zgctest.LIB, other)

    def test_jemalloc_beside_us(self):
        self.both_orders(library("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"))

    def test_mimalloc_beside_us(self):
        self.both_orders(library("/usr/lib/x86_64-linux-gnu/libmimalloc.so.*"))

    def test_asan_first(self):
        self.check(library("/usr/lib/gcc/x86_64-linux-gnu/*/libasan.so"), zgctest.LIB,
                   ASAN_OPTIONS="detect_leaks=0")

    def test_asan_second_is_refused_in_so_many_words(self):
        asan = library("/usr/lib/gcc/x86_64-linux-gnu/*/libasan.so")
        result = zgctest.run(PROGRAM, 0.2, status=None, env=preloaded(zgctest.LIB, asan))
        self.assertNotEqual(result.status, 0)
        self.assertIn("does not come first", result.err)


@zgctest.requires_active
class Valgrind(unittest.TestCase):

    def test_memcheck_finds_nothing(self):
        valgrind = tool("valgrind")
        result = zgctest.run_command(
            [valgrind, "-q", "--error-exitcode=9", sys.executable, "-c", PROGRAM.replace("60000", "6000"), "0.1"], timeout=250)
        self.assertIn("done True", result.out)
        self.assertNotIn("==ERROR", result.err)


if __name__ == "__main__":
    zgctest.main()
