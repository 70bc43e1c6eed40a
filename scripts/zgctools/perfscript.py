"""Samples of a recording, from what `perf script` prints."""

import re
import subprocess

from .tool import ToolError

FIELDS = 'comm,pid,tid,time,period,event,ip,sym,dso'
HEAD = re.compile(r'^(.+?)\s+(\d+)/(\d+)\s+([\d.]+):\s+(\d+)\s+(\S+?):*\s*$')
FRAME = re.compile(r'^\s+([0-9a-f]+)\s+(.*) \((.*)\)$')


class Sample:
    __slots__ = ('comm', 'pid', 'tid', 'time', 'weight', 'event', 'frames')

    def __init__(self, comm, pid, tid, time, weight, event):
        self.comm, self.pid, self.tid, self.time = comm, pid, tid, time
        self.weight, self.event = weight, event
        self.frames = []            # (function, object file), outermost first once complete


def parse(lines):
    """Yields Samples; lines that are neither head nor frame end the sample."""
    sample, last = None, None
    for line in lines:
        frame = FRAME.match(line) if sample is not None and line[:1] in ' \t' else None
        if frame:
            address, function, place = frame.groups()
            # An inlined function has the address of the one around it and no file of its own.
            if (address, function) != last:
                sample.frames.append((function, place))
            last = (address, function)
            continue
        if sample is not None:
            sample.frames.reverse()
            yield sample
            sample, last = None, None
        head = HEAD.match(line.rstrip())
        if head:
            comm, pid, tid, time, weight, event = head.groups()
            sample = Sample(comm.strip(), int(pid), int(tid), float(time), int(weight), event)
    if sample is not None:
        sample.frames.reverse()
        yield sample


def read(data):
    """Samples of a perf.data file."""
    with subprocess.Popen(['perf', 'script', '-i', data, '-F', FIELDS], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          encoding='utf-8', errors='replace') as script:
        # Few lines at most arrive on stderr, so it may wait until the end.
        samples = list(parse(script.stdout))
        said = script.stderr.read()
    if script.returncode and not samples:
        raise ToolError('perf script failed: ' + (said.strip().splitlines() or ['?'])[-1])
    return samples
