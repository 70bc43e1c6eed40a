"""A process and its descendants, from /proc."""

import ctypes
import os

TICK = os.sysconf('SC_CLK_TCK')
OS_PAGE = os.sysconf('SC_PAGE_SIZE')


def read(path):
    try:
        with open(path, 'rb') as source:
            return source.read()
    except OSError:        # gone between the listing and now, or not ours to read
        return b''


def stat_fields(pid):
    """Fields of /proc/PID/stat from the third (state) on; the second may hold any character."""
    return read('/proc/%d/stat' % pid).rpartition(b')')[2].split()


def start_time(pid):
    """Clock ticks since boot (field 22); None when there is no such process."""
    fields = stat_fields(pid)
    return int(fields[19]) if len(fields) > 19 else None


def ancestors(pid):
    """Pids above a process, the nearest first; empty when it is gone."""
    found = []
    while pid > 1:
        fields = stat_fields(pid)
        if len(fields) < 2:
            break
        pid = int(fields[1])
        found.append(pid)
    return found


def adopt_orphans():
    """From now on what is started below and outlives its parent becomes our child, not init's."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)     # PR_SET_CHILD_SUBREAPER


def members(root):
    """Pids of root and everything below it, root first."""
    children = {}
    for name in os.listdir('/proc'):
        if name.isdigit():
            fields = stat_fields(int(name))
            if len(fields) > 1 and fields[0] != b'Z':
                children.setdefault(int(fields[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def resident(pids):
    """Sum of resident bytes; memory shared between the processes counts once for each."""
    total = 0
    for pid in pids:
        fields = read('/proc/%d/statm' % pid).split()
        if len(fields) > 1:
            total += int(fields[1]) * OS_PAGE
    return total


def proportional(pids):
    """Sum of PSS in bytes: shared memory counted once. Walks page tables, so not while a
    measurement runs. None where the kernel or permissions do not give it."""
    total = 0
    for pid in pids:
        for line in read('/proc/%d/smaps_rollup' % pid).splitlines():
            if line.startswith(b'Pss:'):
                total += int(line.split()[1]) * 1024
    return total or None


def cpu_seconds(pids):
    """User and system time of the processes and the children they have waited for."""
    total = 0
    for pid in pids:
        fields = stat_fields(pid)
        if len(fields) > 14:
            total += sum(int(field) for field in fields[11:15])
    return total / TICK


def counters(pids):
    """Page faults and context switches of the processes so far, summed."""
    total = {'minor_faults': 0, 'major_faults': 0, 'waits': 0, 'preemptions': 0}
    for pid in pids:
        fields = stat_fields(pid)
        if len(fields) > 10:
            total['minor_faults'] += int(fields[7])
            total['major_faults'] += int(fields[9])
        for task in threads(pid):
            for line in read('/proc/%d/task/%d/status' % (pid, task)).splitlines():
                if line.startswith(b'voluntary_ctxt_switches'):
                    total['waits'] += int(line.split()[1])
                elif line.startswith(b'nonvoluntary_ctxt_switches'):
                    total['preemptions'] += int(line.split()[1])
    return total


def threads(pid):
    try:
        return [int(name) for name in os.listdir('/proc/%d/task' % pid)]
    except OSError:
        return []
