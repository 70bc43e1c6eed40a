"""Shared by the Python tests: is the library here, run a snippet, read the GC log.

Everything works without the library too: stock CPython is the oracle. Only what carries
@requires_active looks at things that stock does not have.
"""

import contextlib
import gc
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from typing import NamedTuple

try:
    import zgc
except ImportError:
    zgc = None

SUPPORT = os.path.dirname(os.path.abspath(__file__))
STATUS = zgc.status() if zgc else {"active": False, "reason": "the library is not preloaded"}
ACTIVE = STATUS["active"]
LIB = os.environ.get("ZGC_LIB") or next(
    (p for p in re.split("[: ]", os.environ.get("LD_PRELOAD", "")) if "zgcpreload" in p), "")


def helper(name):
    """Path of a C helper of the tests (tests/CMakeLists.txt), "" where none was built."""
    root = os.path.dirname(os.path.dirname(SUPPORT))
    for build in os.path.dirname(os.path.abspath(LIB)) if LIB else "", os.path.join(root, "build"):
        path = os.path.join(build, "tests", f"lib{name}.so")
        if os.path.exists(path):
            return path
    return ""


requires_active = unittest.skipUnless(ACTIVE, "needs the active library")
requires_lib = unittest.skipUnless(LIB, "needs the library (ZGC_LIB)")


def main():
    """unittest.main() which also fails when the heap does not verify at the end, or when the
    library should be active and is not: a test that skips everything proves nothing."""
    if os.environ.get("ZGCTEST_EXPECT") == "active" and not ACTIVE:
        sys.exit(f"zgctest: the library is not active: {STATUS['reason']}")
    program = unittest.main(exit=False)
    if ACTIVE:
        print(f"zgc.verify(): {zgc.verify()} objects checked", file=sys.stderr)
    sys.exit(not program.result.wasSuccessful())


# ---- driving the collector ---------------------------------------------------------------------

def collect():
    """One full collection by the collector under test: concurrent when active, else stock."""
    return zgc.collect() if ACTIVE else gc.collect()


def age():
    """Let everything allocated so far grow old: allocate until young collections have run."""
    rounds = 4
    before = zgc.stats()["young_collections"] if ACTIVE else 0
    keep = []
    for i in range(200):
        keep.append([[] for _ in range(5000)])
        if i >= rounds and (not ACTIVE or zgc.status()["collector"] != "zgc" or
                            zgc.stats()["young_collections"] >= before + rounds):
            return
    raise AssertionError("a million new lists and not four young collections")


@contextlib.contextmanager
def automatic_gc_off():
    """No automatic collection inside, so that counts are exact."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def wait_for(condition, seconds=30, step=0.02):
    """Poll until condition() is true. False when it never was: the caller asserts."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


def rss():
    """Resident bytes of this process."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- running programs --------------------------------------------------------------------------

class Result(NamedTuple):
    status: int
    out: str
    err: str
    log: str            # text of the GC log, "" when there is none

    def lines(self):
        return parse_log(self.log)

    def describe(self):
        return (f"status {self.status}\n--- stdout\n{self.out[-4000:]}\n"
                f"--- stderr\n{self.err[-6000:]}\n--- GC log\n{self.log[-3000:]}")


def environment(preload, options=None, env=None):
    """The environment for a child; options are ZGC_ variables without their prefix."""
    base = {k: v for k, v in os.environ.items() if not k.startswith("ZGC")}
    base["PYTHONPATH"] = SUPPORT
    # The preload list of this process is kept as it is: a sanitizer may stand first in it.
    base.pop("LD_PRELOAD", None)
    if preload:
        mine = os.environ.get("LD_PRELOAD", "")
        base["LD_PRELOAD"] = mine if LIB in mine else LIB
        # Options of the whole run (ZGC_STRESS=1 ...) reach the children too.
        base.update((k, v) for k, v in os.environ.items() if k.startswith("ZGC_"))
        base.update(("ZGC_" + k, str(v)) for k, v in (options or {}).items())
    base.update(env or {})
    return {k: v for k, v in base.items() if v is not None}


def last_words(process):
    """End a process that did not end by itself; what it printed."""
    for number in (signal.SIGABRT, signal.SIGKILL):     # the first for faulthandler's sake
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=5)
    return "", "its children still hold its output"     # the runner ends them with our group


def run_command(argv, preload=None, options=None, env=None, timeout=120, status=0, stdin=None):
    """Run argv; status is the expected exit status, None when any will do."""
    preload = ACTIVE if preload is None else preload
    if preload and not LIB:
        raise unittest.SkipTest("needs the library (ZGC_LIB)")
    with tempfile.TemporaryDirectory(prefix="zgctest-") as folder:
        log = os.path.join(folder, "gc.log")
        full = environment(preload, options, env)
        if preload and "ZGC_LOG" not in (env or {}):
            full.setdefault("ZGC_LOG", log)
        process = subprocess.Popen(
            argv, env=full, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace")
        try:
            out, err = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            out, err = last_words(process)
            raise AssertionError(
                f"no end after {timeout} s\n{out[-4000:]}\n{err[-6000:]}") from None
        text = ""
        if os.path.exists(log):
            with open(log, errors="replace") as f:
                text = f.read()
    result = Result(process.returncode, out, err, text)
    if status is not None and result.status != status:
        raise AssertionError(f"expected status {status}\n{result.describe()}")
    return result


def run(code, *argv, flags=("-X", "faulthandler"), python=sys.executable, **how):
    """Run a Python snippet in a fresh interpreter; see run_command for the rest."""
    return run_command([python, *flags, "-c", textwrap.dedent(code), *map(str, argv)], **how)


# ---- the GC log --------------------------------------------------------------------------------

class LogLine(NamedTuple):
    uptime: float
    level: str
    tag: str
    text: str


LOG_LINE = re.compile(r"\[(\d+\.\d{3})s\]\[(info|warn|debug|trace|error) *\]\[([a-z,]+) *\] (.*)")


def parse_log(text):
    """Every line of a GC log; a line that is not one is an error."""
    lines = []
    for line in text.splitlines():
        match = LOG_LINE.fullmatch(line)
        if not match:
            raise AssertionError(f"not a log line: {line!r}")
        lines.append(LogLine(float(match[1]), *match.groups()[1:]))
    return lines
