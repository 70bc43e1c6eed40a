"""The statistics page that the library keeps for each process, read from outside.

A file of the owner's, <pid> in $XDG_RUNTIME_DIR/zgcpreload or /dev/shm/zgcpreload-<uid>, little
endian:

    0   char[8]  "zgcstat1"
    8   u32      header size: where the counters begin
    12  u32      number of counters
    16  u64      pid
    24  u64      start time of the process, clock ticks (field 22 of /proc/PID/stat)
    32  u64      sequence, odd while the counters are being written
    40  u64      inode of the pid namespace (for the library, which sweeps up after dead processes)
    header size: {char name[40]; u64 value} for each counter
"""

import os
import stat
import struct
import time

from . import proctree
from .tool import ToolError

MAGIC = b'zgcstat1'
HEAD = struct.Struct('<8sIIQQQ')
ENTRY = struct.Struct('<40sQ')
MOST_COUNTERS = 4096
RETRIES = 50
NAME = 'zgcpreload'


class NoPage(ToolError):
    pass


def settings_of(pid):
    """The environment the process was started with, as far as it is ours to read."""
    pairs = (item.partition(b'=') for item in proctree.read('/proc/%d/environ' % pid).split(b'\0'))
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def directories(pid, uid, environ=os.environ):
    """Where a process of this user may keep its page: in its own XDG_RUNTIME_DIR, in what is
    probably the same as ours, in the usual place, in shared memory."""
    found = []
    for runtime in (settings_of(pid).get('XDG_RUNTIME_DIR'), environ.get('XDG_RUNTIME_DIR')):
        if runtime and os.path.isabs(runtime):
            found.append(os.path.join(runtime, NAME))
    found.append('/run/user/%d/%s' % (uid, NAME))
    found.append('/dev/shm/%s-%d' % (NAME, uid))
    return list(dict.fromkeys(found))


def owner_of(pid):
    """Effective uid of the process; NoPage when there is none. (The owner of /proc/PID is root
    where a process has changed its user.)"""
    for line in proctree.read('/proc/%d/status' % pid).splitlines():
        if line.startswith(b'Uid:'):
            return int(line.split()[2])
    raise NoPage('no process %d' % pid)


def check_safe(path, uid):
    """The page of another user's process could have been put there by anyone."""
    directory = os.path.dirname(path)
    for place, forbidden in ((directory, 0o077), (path, 0o077)):
        status = os.stat(place, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode) or status.st_uid != uid or status.st_mode & forbidden:
            raise NoPage('%s is not private to the owner of the process (uid %d); not trusted'
                         % (place, uid))


def find(pid, environ=os.environ):
    """Path of the page of a process; NoPage with the reason otherwise. What stands in the way at
    one place does not keep the process from using the next one."""
    uid = owner_of(pid)
    complaint = None
    for directory in directories(pid, uid, environ):
        path = os.path.join(directory, str(pid))
        try:
            check_safe(path, uid)
            return path
        except PermissionError:
            complaint = complaint or NoPage('process %d belongs to uid %d; its page is readable by '
                                            'that user and root only' % (pid, uid))
        except NoPage as error:
            complaint = complaint or error
        except OSError:         # not there
            continue
    raise complaint or NoPage(why_none(pid))


def why_none(pid):
    """No page: which of the reasons is it?"""
    maps = proctree.read('/proc/%d/maps' % pid)
    if not maps:
        return ('process %d has no statistics page, and its maps cannot be read (not permitted, or '
                'a kernel thread)' % pid)
    if b'libzgcpreload.so' not in maps:
        return 'process %d does not run under the preload' % pid
    settings = settings_of(pid)
    if settings.get('ZGC_ENABLE') == '0':
        return 'process %d has the library switched off (ZGC_ENABLE=0)' % pid
    if settings.get('ZGC_STATPAGE') == '0':
        return 'process %d keeps no statistics page (ZGC_STATPAGE=0)' % pid
    return ('process %d has the library loaded but no statistics page yet: nothing has been '
            'collected there by the library (a small or an idle program, or no Python), or '
            'the library is passive, or the page could not be made; ZGC_LOG names the reason' % pid)


def is_mapped(pid, inode):
    """Whether the process has this file in its memory; None when that cannot be seen."""
    maps = proctree.read('/proc/%d/maps' % pid)
    if not maps:
        return None
    return any(fields[4] == b'%d' % inode and fields[-1].endswith(b'/%d' % pid)
               for fields in map(bytes.split, maps.splitlines()) if len(fields) > 5)


class Page:
    """Reads the counters of one process again and again."""

    def __init__(self, pid, environ=os.environ):
        self.pid = pid
        self.path = find(pid, environ)
        try:
            self.source = open(self.path, 'rb', buffering=0)
        except OSError as error:
            raise NoPage('cannot read %s: %s' % (self.path, error.strerror))
        self.check_identity()

    def check_identity(self):
        """The page of a dead process whose pid lives again is not ours, nor one of the program
        that this process was before it called exec."""
        head = self.head(os.pread(self.source.fileno(), HEAD.size, 0))
        started = proctree.start_time(self.pid)
        if head[3] != self.pid or head[4] != started:
            raise NoPage('%s was left by an earlier process with the pid %d'
                         % (self.path, self.pid))
        if is_mapped(self.pid, os.fstat(self.source.fileno()).st_ino) is False:
            raise NoPage('%s was left by the program that process %d ran before it called exec'
                         % (self.path, self.pid))

    def head(self, data):
        if len(data) < HEAD.size or data[:8] != MAGIC:
            raise NoPage('%s is no statistics page (or of another version of the library)'
                         % self.path)
        head = HEAD.unpack_from(data)
        if head[1] < HEAD.size or head[2] > MOST_COUNTERS:
            raise NoPage('%s is damaged' % self.path)
        return head

    def alive(self):
        return proctree.start_time(self.pid) is not None and os.path.exists(self.path)

    def read(self):
        """{name: value}, all of one moment unless the writer never rests."""
        counters = {}
        for _ in range(RETRIES):
            before = self.sequence()
            data = self.bytes()
            _, size, number = self.head(data)[:3]
            if len(data) < size + number * ENTRY.size:
                raise NoPage('%s is damaged: shorter than its header says' % self.path)
            counters = {}
            for place in range(number):
                name, value = ENTRY.unpack_from(data, size + place * ENTRY.size)
                counters[name.partition(b'\0')[0].decode('ascii', 'replace')] = value
            if self.sequence() == before and not before & 1:
                break
            time.sleep(0.001)
        return counters

    def sequence(self):
        """A read of its own: one copy of the whole page may fetch its lines in any order."""
        return self.head(os.pread(self.source.fileno(), HEAD.size, 0))[5]

    def bytes(self):
        return os.pread(self.source.fileno(), HEAD.size + 4096 + MOST_COUNTERS * ENTRY.size, 0)


def living(environ=os.environ):
    """Pids of the processes with a page that belongs to them, of this user; of all for root."""
    pids = []
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                Page(int(name), environ).source.close()
                pids.append(int(name))
            except (NoPage, OSError):
                pass
    return sorted(pids)
