"""Pauses as the library's USDT probes tell them, watched with bpftrace from outside."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time

from . import proctree
from .histogram import Histogram
from .tool import ToolError

# The clock is the kernel's, so that the library's own figure can be held against it.
PROGRAM = """
BEGIN {{ printf("ready\\n"); }}
usdt:{library}:zgc:pause__start {{ @began[tid] = nsecs; }}
usdt:{library}:zgc:pause__done /@began[tid]/ {{
  printf("pause %d %lu %lu %s\\n", pid, nsecs - @began[tid], arg1, str(arg0));
  delete(@began[tid]);
}}
END {{ clear(@began); }}
"""
# The stock collector, where the interpreter was built with dtrace support (Debian's is).
STOCK = """
BEGIN {{ printf("ready\\n"); }}
usdt:{library}:python:gc__start {{ @began[tid] = nsecs; @generation[tid] = arg0; }}
usdt:{library}:python:gc__done /@began[tid]/ {{
  printf("pause %d %lu 0 generation %d\\n", pid, nsecs - @began[tid], @generation[tid]);
  delete(@began[tid]);
}}
END {{ clear(@began); clear(@generation); }}
"""
LINE = re.compile(r'^pause (\d+) (\d+) (\d+) ?(.*)$')
READY_SECONDS = 30.0


def has_probe(path, provider, name):
    """Whether the ELF file carries this USDT probe (a note with both names)."""
    try:
        with open(path, 'rb') as source:
            return b'%s\0%s\0' % (provider.encode(), name.encode()) in source.read()
    except OSError:
        return False


def missing(library):
    """Why the probes cannot be watched here; None when they can."""
    if shutil.which('bpftrace') is None:
        return 'bpftrace is not installed'
    if os.geteuid() != 0:
        return 'bpftrace needs root'
    if not has_probe(library, 'zgc', 'pause__start'):
        return '%s has no USDT probes (built without sys/sdt.h)' % library
    return None


def interrupt(process, tries=8):
    """Ends bpftrace. It overlooks a signal that arrives while it handles an event, and a second one
    while it is ending would kill it, so it is given time in between."""
    for _ in range(tries):
        process.send_signal(signal.SIGINT)
        try:
            process.wait(3)
            return
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    process.wait()


class Watched:
    """What was seen: a Histogram for each kind of pause, and the library's own figures."""

    def __init__(self):
        self.kinds = {}
        self.said_total = 0
        self.source = ''

    def add(self, kind, ns, said=0):
        self.kinds.setdefault(kind or '?', Histogram()).add(ns)
        self.said_total += said

    @property
    def whole(self):
        every = Histogram()
        for histogram in self.kinds.values():
            every.merge(histogram)
        return every


class Watcher:
    """bpftrace, from before the program starts until it has ended."""

    def __init__(self, library, script=PROGRAM):
        self.ours = {int(name): False for name in os.listdir('/proc') if name.isdigit()}
        self.watched = Watched()
        proctree.adopt_orphans()
        self.process = subprocess.Popen(
            ['bpftrace', '-e', script.format(library=library)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
            env=dict(os.environ, BPFTRACE_PERF_RB_PAGES='1024'))
        self.said = []
        self.only = None            # with a pid: this process alone
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready.wait(0.05):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise ToolError('bpftrace did not start: ' + ' '.join(self.said).strip())

    def read(self):
        for line in self.process.stdout:
            found = LINE.match(line)
            if found:
                pid, ns, said = (int(found.group(i)) for i in (1, 2, 3))
                if pid == self.only or self.only is None and self.is_ours(pid):
                    self.watched.add(found.group(4).strip(), ns, said)
            elif line.strip() == 'ready':
                self.ready.set()
            elif line.strip() and not line.startswith('Attaching'):
                self.said.append(line.strip())

    def is_ours(self, pid):
        """Whether the program that was started is behind it: probes fire in every process that has
        the library. One that has ended before its first pause is heard of counts as ours."""
        if pid not in self.ours:
            above = proctree.ancestors(pid)
            self.ours[pid] = not above or os.getpid() in above
        return self.ours[pid]

    def stop(self):
        time.sleep(0.3)             # bpftrace hands events over in batches
        interrupt(self.process)
        self.reader.join(5)
        lost = [line for line in self.said if 'ost ' in line]
        if lost:
            self.watched.source += ' (events were lost: %s)' % lost[0]
        return self.watched
