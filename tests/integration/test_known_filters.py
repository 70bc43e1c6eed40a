"""Programs under the filters of system calls that services and containers get: systemd's @system-service, which kills,
and Docker's default profile, which refuses. A profile in Docker's format is looked for where Podman has it, or where
ZGCTEST_SECCOMP_PROFILE says."""

import functools
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import unittest

from zgctest import main, requires_active, run

NUMBERS = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
PROFILE = os.environ.get("ZGCTEST_SECCOMP_PROFILE", "/usr/share/containers/seccomp.json")
ALLOW, KILL, REFUSE = 0x7fff0000, 0x80000000, 0x00050000     # the last with an errno added

START = """
    import ctypes, os, sys
    def restrict(text):
        class Program(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
        buffer = ctypes.create_string_buffer(text)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(38, 1, 0, 0, 0)                                      # no new privileges
        if libc.prctl(22, 2, ctypes.byref(Program(len(text) // 8, ctypes.addressof(buffer))), 0, 0) != 0:
            print("not permitted", ctypes.get_errno())
            sys.exit()
"""
THEN_ANOTHER = """
    restrict(bytes.fromhex(sys.argv[1]))
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[2]])
"""
# Everything that makes calls of the table: tables, large blocks, the statistics page, the profile, memory that goes back.
WORK = """
import gc, os, threading, time, zgc
def work(count):
    kept = []
    for i in range(count):
        a = [i]
        a.append({"a": a})
        kept.append(a)
def rounds():
    for _ in range(2):
        work(25000)
        gc.collect()
        blocks = [bytearray(300000) for _ in range(30)]
        for b in blocks: b.extend(bytes(500000))
thread = threading.Thread(target=rounds)
thread.start()
rounds()
thread.join()
zgc.collect()
stats = zgc.stats()
assert stats["collections"] > 0 and stats["old_objects"] > 0, stats
if os.fork() == 0:
    rounds()
    os._exit(0)
assert os.wait()[1] == 0
"""
SERVED = """
assert os.path.exists(zgc.status()["statpage"])
"""
DONE = """
print("done")
"""


@functools.lru_cache(None)
def numbers():
    with open(NUMBERS) as f:
        return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+)\s+(\d+)", f.read())}


def instruction(code, k, true=0, false=0):
    return struct.pack("HBBI", code, true, false, k)


def returns(action):
    return instruction(0x06, action)


LOAD_NUMBER = instruction(0x20, 0)
LOAD_ARGUMENT = instruction(0x20, 16)       # the lower half of the first


def if_number(name, *then):
    return instruction(0x15, numbers()[name], 0, len(then)) + b"".join(then)


def allowed(names):
    return b"".join(if_number(name, returns(ALLOW)) for name in sorted(names) if name in numbers())


@functools.lru_cache(None)
def systemd_set(name):
    text = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    members = [line.strip() for line in text.splitlines()[1:] if line.strip() and "#" not in line]
    return frozenset().union(*(systemd_set(m) if m.startswith("@") else {m} for m in members))


def holds(condition, capability):
    """Of a rule of a profile, for a process without capabilities."""
    return "amd64" in condition.get("arches", ["amd64"]) and ("caps" not in condition) == capability


def profile_filter(path):
    with open(path) as f:
        profile = json.load(f)
    text = LOAD_NUMBER
    for rule in profile["syscalls"]:
        if not holds(rule.get("includes") or {}, True) or "arches" in (rule.get("excludes") or {}) and \
                "amd64" in rule["excludes"]["arches"]:
            continue
        names = [name for name in rule["names"] if name in numbers()]
        if rule["action"] == "SCMP_ACT_ERRNO":
            text += b"".join(if_number(name, returns(REFUSE + rule.get("errnoRet", 1))) for name in names)
        elif not rule.get("args"):
            text += allowed(names)
        elif "clone" in names:                  # without new namespaces
            mask = rule["args"][0]["value"]
            text += if_number("clone", LOAD_ARGUMENT, instruction(0x54, mask), instruction(0x15, 0, 0, 1),
                              returns(ALLOW), returns(REFUSE + 1))
        elif "socket" in names:
            text += allowed(names)
    return text + returns(REFUSE + 1)


@requires_active
@unittest.skipUnless(platform.machine() == "x86_64" and os.path.exists(NUMBERS), "needs x86-64's table of numbers")
class KnownFilters(unittest.TestCase):

    def check(self, code, *argv, **options):
        done = run(START + code, *argv, flags=(), status=None, options={"STRESS": 0, "VERIFY": 0, **options})
        if "not permitted" in done.out:
            self.skipTest("no seccomp filter can be installed here")
        self.assertEqual((done.status, done.out), (0, "done\n"), done.describe())
        return done

    def check_both(self, text):
        """A filter that was there before the program, with a profile, and one that it puts over itself."""
        done = self.check(THEN_ANOTHER, text.hex(), WORK + SERVED + DONE, PROFILE="/dev/null")
        self.check(WORK.replace("\n", "\n    ") + "restrict(bytes.fromhex(sys.argv[1]))\n    rounds()" +
                   DONE.replace("\n", "\n    "), text.hex())
        return done

    @unittest.skipUnless(shutil.which("systemd-analyze"), "needs systemd-analyze")
    def test_systemd_service(self):
        names = systemd_set("@system-service")
        self.assertGreater(len(names), 200)
        done = self.check_both(LOAD_NUMBER + allowed(names) + returns(KILL))
        self.assertEqual("kills for mincore" in done.err + done.log, "mincore" not in names, done.describe())

    @unittest.skipUnless(os.path.exists(PROFILE), "needs a seccomp profile in Docker's format")
    def test_container(self):
        self.check_both(profile_filter(PROFILE))


if __name__ == "__main__":
    main()
