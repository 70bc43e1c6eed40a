"""Process groups under way, each watched for time and memory, and ended on interruption."""

import contextlib
import os
import signal
import subprocess
import threading
import time

from runner import MEMORY_LIMIT, resident


class Processes:
    def __init__(self):
        self.lock = threading.Lock()
        self.groups = set()
        self.closed = False

    def run(self, start, timeout, log):
        """(exit status or why it was killed, seconds). `start`: keywords for Popen."""
        began = time.monotonic()
        with self.lock:
            if self.closed:
                raise InterruptedError
            process = subprocess.Popen(**start, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=subprocess.STDOUT, start_new_session=True)
            self.groups.add(process.pid)
        status = self.wait(process, began + timeout)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)      # and what the test left behind
        process.wait()
        with self.lock:
            self.groups.discard(process.pid)
            if self.closed:
                raise InterruptedError
        return status, time.monotonic() - began

    @staticmethod
    def wait(process, end):
        """Exit status, or why the process had to be killed."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.05)
            if time.monotonic() > end:
                return 'timed out'
            if resident(process.pid) > MEMORY_LIMIT:
                return f'killed above {MEMORY_LIMIT >> 30} GB'

    def end(self):
        with self.lock:
            self.closed = True
            for group in self.groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
