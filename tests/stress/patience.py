"""Waiting for a child that may hang: what counts is the time in which this process ran too, so that a
machine that stood still meanwhile (a frozen container, a stopped virtual machine) is not taken for a hang.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time

STEP_S = 0.02
NO_END = "no end"


def stacks(pid):
    """C stacks of all threads, "" where there is no gdb."""
    if not shutil.which("gdb"):
        return ""
    done = subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all backtrace 30"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return "".join(line[:160] + "\n" for line in done.stdout.splitlines()
                   if line.startswith(("#", "Thread")))


def wait(child, seconds):
    """(status or NO_END, resource usage or None, stacks). A child without end is told to dump its Python
    stacks (faulthandler), then killed."""
    for _ in range(int(seconds / STEP_S)):
        pid, status, used = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode, used, ""
        time.sleep(STEP_S)
    where = stacks(child.pid)
    child.send_signal(signal.SIGABRT)
    time.sleep(1)
    child.kill()
    child.wait()
    return NO_END, None, where


def run(command, seconds, **how):
    """(status or NO_END, standard output, standard error and stacks)"""
    with tempfile.TemporaryFile("w+", errors="replace") as out, \
            tempfile.TemporaryFile("w+", errors="replace") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err, **how)
        status, _, where = wait(child, seconds)
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read() + where
