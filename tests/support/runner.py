#!/usr/bin/env python3
"""Run test files on every interpreter that is present, each in a fresh process under the preload.

    runner.py                                   every tests/integration/test_*.py
    runner.py --python /usr/bin/python3.11 test_fork.py
    runner.py --stock                           without the library: the oracle
    runner.py --each test_collects.py           one process per test method
    ZGC_STRESS=1 runner.py test_collects.py     options pass through

ZGC_LIB names the library (default: build/libzgcpreload.so of this repository). ZGC_PYTHONS, a
colon-separated list, replaces the interpreters found. Exit status: 0 all passed, 1 a test failed,
2 nothing to run.
"""

import argparse
import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
INTEGRATION = os.path.join(ROOT, "tests", "integration")
MINORS = (11, 12, 13, 14, 15)
MEMORY_LIMIT = 6 << 30      # of one test: a leak must not take the machine with it

PROBE = """
import json, os, sys, sysconfig
print(json.dumps([os.path.realpath(sys.executable), list(sys.version_info[:3]),
                  "debug" if hasattr(sys, "gettotalrefcount") else
                  "shared" if "/libpython" in open("/proc/self/maps").read() else "static",
                  bool(sysconfig.get_config_var("Py_GIL_DISABLED"))]))
"""


class Interpreter(NamedTuple):
    path: str
    version: tuple
    build: str              # static, shared, debug

    @property
    def name(self):
        return "python{}.{}.{}-{}".format(*self.version, self.build)


def clean_environment(python):
    """What a test may inherit: no PYTHON* settings, this interpreter's tools first in PATH."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("PYTHON") and k not in ("LD_PRELOAD", "ZGC_LIB")}
    # A pyenv shim ahead of the system's python would change what the tests' children run.
    env["PATH"] = os.pathsep.join(
        dict.fromkeys([os.path.dirname(python), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]))
    return env


def probe(path):
    """(Interpreter, None) or (None, why not)."""
    try:
        done = subprocess.run([path, "-c", PROBE], capture_output=True, text=True, timeout=30,
                              env=clean_environment(os.path.realpath(path)))
        real, version, build, free_threaded = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None, "does not run"
    if free_threaded:
        return None, "free-threaded build"
    if tuple(version) < (3, MINORS[0]):
        return None, f"older than 3.{MINORS[0]}"
    return Interpreter(real, tuple(version), build), None


def find_interpreters(names=None):
    """Returns the interpreters to use, and the list of those left out with the reason."""
    if names:
        candidates = [shutil.which(n) or n for n in names]
    elif os.environ.get("ZGC_PYTHONS"):
        candidates = [n for n in os.environ["ZGC_PYTHONS"].split(os.pathsep) if n]
    else:
        candidates = [f"/usr/bin/python3.{m}" for m in MINORS]
        for m in MINORS:
            candidates += sorted(glob.glob(
                os.path.expanduser(f"~/.pyenv/versions/*/bin/python3.{m}")))
        candidates += filter(None, (shutil.which(f"python3.{m}") for m in MINORS))
        candidates = [c for c in candidates if "/shims/" not in c]
    found, skipped = {}, []
    for path in dict.fromkeys(candidates):
        if not os.path.exists(path):
            skipped.append(f"{path} (not present)")
            continue
        interpreter, why = probe(path)
        if interpreter is None:
            skipped.append(f"{path} ({why})")
        else:
            found.setdefault(interpreter.path, interpreter)
    return list(found.values()), skipped


def list_tests(python, path, env):
    """Names of the test methods in a file, as unittest's command line takes them."""
    code = ("import sys, unittest, importlib.util as u\n"
            "s = u.spec_from_file_location('t', sys.argv[1]); m = u.module_from_spec(s)\n"
            "sys.modules['t'] = m; s.loader.exec_module(m)\n"
            "def names(x):\n"
            "    for t in x:\n"
            "        if isinstance(t, unittest.TestSuite): yield from names(t)\n"
            "        else: yield t.id().split('.', 1)[1]\n"
            "print('\\n'.join(names(unittest.defaultTestLoader.loadTestsFromModule(m))))")
    done = subprocess.run([python, "-c", code, path], env=env, text=True, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.split()


def resident(pid):
    """Resident bytes of a process, 0 when it is gone."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def run_file(interpreter, path, lib, timeout, tests=()):
    """One fresh interpreter. Returns (passed, seconds, output)."""
    env = clean_environment(interpreter.path)
    env["PYTHONPATH"] = HERE
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    if lib:
        env.update(LD_PRELOAD=lib, ZGC_LIB=lib, ZGCTEST_EXPECT="active")
    start = time.monotonic()
    process = subprocess.Popen(
        [interpreter.path, "-X", "faulthandler", path, "-v", *tests], env=env,
        text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True)
    note = ""
    while True:
        try:
            output, _ = process.communicate(timeout=1)
            break
        except subprocess.TimeoutExpired:
            if note:
                os.killpg(process.pid, signal.SIGKILL)
            elif time.monotonic() - start > timeout:
                note = f"no end after {timeout:.0f} s"
            elif resident(process.pid) > MEMORY_LIMIT:
                note = f"more than {MEMORY_LIMIT >> 30} GB resident"
            else:
                continue
            # faulthandler then prints every thread's stack; the next round kills.
            process.send_signal(signal.SIGABRT)
            time.sleep(2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)      # what a test left behind
    if note:
        output += f"\nrunner: {note}"
    if process.returncode < 0:
        output += f"\nrunner: killed by {signal.Signals(-process.returncode).name}"
    return process.returncode == 0, time.monotonic() - start, output


def interesting(output):
    """The failures unittest lists at the end; the last lines where it did not get there."""
    at = output.find("\n======")
    return output[at:] if at >= 0 else "\n".join(output.splitlines()[-80:])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="this interpreter (may be repeated)")
    parser.add_argument("--stock", action="store_true", help="run without the library")
    parser.add_argument("--each", action="store_true", help="one process per test method")
    parser.add_argument("--timeout", type=float, default=300, help="seconds per process (300)")
    parser.add_argument("--list-pythons", action="store_true", help="print them and exit")
    parser.add_argument("-v", "--verbose", action="store_true", help="show passes too")
    parser.add_argument("files", nargs="*", help="test files; a bare name is in tests/integration")
    args = parser.parse_args()

    # An ignored SIGINT (a background job of a shell script) would be inherited by the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

    interpreters, skipped = find_interpreters(args.python)
    for name in skipped:
        print(f"SKIP  {name}")
    if args.list_pythons:
        for interpreter in interpreters:
            print(interpreter.path, interpreter.name)
        return 0
    if not interpreters or (args.python and skipped):
        return 2
    lib = os.path.abspath(os.environ.get("ZGC_LIB") or
                          os.path.join(ROOT, "build", "libzgcpreload.so"))
    if args.stock:
        lib = None
    elif not os.path.exists(lib):
        print(f"runner: {lib} is missing: build it, set ZGC_LIB, or use --stock")
        return 2
    files = [f if os.path.exists(f) else os.path.join(INTEGRATION, f) for f in args.files]
    files = files or sorted(glob.glob(os.path.join(INTEGRATION, "test_*.py")))

    failures = []
    for interpreter in interpreters:
        for path in files:
            groups = [()]
            if args.each:
                env = dict(clean_environment(interpreter.path), PYTHONPATH=HERE)
                groups = [(t,) for t in list_tests(interpreter.path, path, env)]
            for tests in groups:
                name = " ".join([interpreter.name, os.path.basename(path), *tests])
                passed, seconds, output = run_file(interpreter, path, lib, args.timeout, tests)
                print(f"{'ok   ' if passed else 'FAIL '} {name} {seconds:.1f}s", flush=True)
                if args.verbose or not passed:
                    shown = output if args.verbose else interesting(output)
                    print("    " + shown.strip().replace("\n", "\n    "), flush=True)
                if not passed:
                    failures.append(name)
    if failures:
        print(f"{len(failures)} failed:", *failures, sep="\n  ")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
