"""A GC log as a model: processes, their collections, and what could not be read.

Made for logs as they are found: the beginning rotated away, the end cut off in mid-line, a hole of
zero bytes where copytruncate ran, other programs' output in between, several processes in a file.
What a collection lacks is None; `complete` says that its last line was seen.
"""

import array
import gzip
import re
import zlib

from . import logline
from .histogram import Histogram
from .tool import ToolError

PROGRAM_ENDED = 'the program ends'      # a reason to abandon that is no fault
FULL, STOPPED = 'Full Collection', 'Pause Full'


class Collection:
    def __init__(self, number):
        self.number = number
        self.kind = self.cause = None
        self.started = self.ended = None            # uptime in seconds
        self.old = self.candidates = None
        self.heap_before = self.heap_after = None
        self.rss_before = self.rss_after = None
        self.found = self.reclaimed = None
        self.concurrent = None                      # seconds
        self.pauses = self.pause_max = self.pause_total = None
        self.phases = []                            # (name, seconds, {extra}, uptime of its end)
        self.types = []                             # (name, objects)
        self.complete = False
        self.abandoned = None                       # the reason, instead of an end


class Young:
    """A summary line about the young collections since the one before."""

    def __init__(self, uptime, count, longest, total, reclaimed):
        self.uptime, self.count = uptime, count
        self.longest, self.total, self.reclaimed = longest, total, reclaimed


class Process:
    """What one process logged. `pid` is None where the beginning is missing."""

    def __init__(self):
        self.pid = self.version = self.python = self.binding = None
        self.options = {}
        self.collections = {}
        self.young = []
        self.young_pauses = Histogram()             # only with ZGC_LOG_LEVEL=debug
        self.young_ends = array.array('d')          # uptimes of their ends, and their seconds:
        self.young_seconds = array.array('d')       # as many as the histogram counts
        self.decisions = []                         # director lines: (uptime, text)
        self.faults = []                            # (uptime, text)
        self.managed = []                           # (uptime, generation, cause) of finished ones
        self.managed_pauses = []                    # (uptime, name, seconds), only at debug level
        self.exit = None                            # {key: value} of the summary at exit
        self.first = self.last = None               # uptimes
        self.headless = False                       # began without the opening line

    def collection(self, number):
        return self.collections.setdefault(number, Collection(number))

    def ordered(self):
        return [self.collections[number] for number in sorted(self.collections)]

    @property
    def young_times(self):
        """(uptime of the end, seconds) of each young pause that the log lists."""
        return zip(self.young_ends, self.young_seconds)

    def memory(self):
        """(uptime, heap, rss) wherever the log names them, in order."""
        points = []
        for one in self.ordered():
            if one.started is not None and one.heap_before is not None:
                points.append((one.started, one.heap_before, one.rss_before))
            if one.complete and one.heap_after is not None:
                points.append((one.ended, one.heap_after, one.rss_after))
        return sorted(points, key=lambda point: point[0])


class Log:
    def __init__(self):
        self.processes = []
        self.lines = 0
        self.strange = 0            # lines that are not ours, or damaged
        self.examples = []          # the first few of them
        self.cut = False            # the last line has no end

    @property
    def collections(self):
        return [one for process in self.processes for one in process.ordered()]

    @property
    def incomplete(self):
        return [one for one in self.collections if not one.complete and one.abandoned is None]

    @property
    def abandoned(self):
        return [one for one in self.collections if one.abandoned is not None]


class Reader:
    """Feeds lines into a Log; keeps the place, so that a growing file can be read on."""

    def __init__(self):
        self.log = Log()
        self.process = None
        self.between_files = True

    def new_file(self, of_child=False):
        """The next line may belong to another process, and does in the file of a forked child."""
        self.between_files = True
        if of_child:
            self.process = None

    def feed(self, text):
        """One line; returns the Collection it completed, if it did."""
        line = logline.parse(text)
        if line is None:
            if text.strip('\0\r\n \t'):
                self.log.strange += 1
                if len(self.log.examples) < 3:
                    self.log.examples.append(logline.printable(text.strip()[:100]))
            return None
        self.log.lines += 1
        self.place(line)
        process = self.process
        if process.first is None:
            process.first = line.uptime
        process.last = max(process.last or 0.0, line.uptime)
        take = TAKE.get(line.tags.partition(',')[2])
        return take(process, line) if take else None

    def place(self, line):
        """Decides which process the line belongs to."""
        opening = logline.VERSION.match(line.body) if line.tags == 'gc,init' else None
        if opening:
            self.begin()
            self.process.version, pid, self.process.python, self.process.binding = opening.groups()
            self.process.pid = int(pid) if pid else None
        elif self.process is None or (self.between_files
                                      and line.uptime < (self.process.last or 0)):
            # A rotated file without its predecessor, or one of some other process.
            self.begin()
            self.process.headless = True
        self.between_files = False

    def begin(self):
        self.process = Process()
        self.log.processes.append(self.process)


def take_init(process, line):
    option = logline.OPTION.match(line.body)
    if option:
        process.options[option.group(1)] = option.group(2)


def take_start(process, line):
    named = logline.title(line.body)
    if named is None or line.number is None:
        return
    one = process.collection(line.number)
    one.kind, one.cause, rest = named
    values = logline.pairs(rest)
    one.started = line.uptime
    one.old = logline.whole(values.get('old'))
    one.candidates = logline.whole(values.get('candidates'))
    one.heap_before = logline.size(values.get('heap'))
    one.rss_before = logline.size(values.get('rss'))


def take_phase(process, line):
    found = logline.phase(line.body)
    if found and line.number is not None:
        process.collection(line.number).phases.append(found + (line.uptime,))


def take_types(process, line):
    found = logline.types(line.body)
    if found and line.number is not None:
        process.collection(line.number).types += found


def take_young(process, line):
    pause = logline.phase(line.body)
    if pause:
        process.young_pauses.add(round(pause[1] * 1e9))
        process.young_ends.append(line.uptime)
        process.young_seconds.append(pause[1])
        return
    values = logline.pairs(line.body)
    count = logline.whole(values.get('young'))
    if count is not None:
        process.young.append(Young(
            line.uptime, count, logline.milliseconds(values.get('max')),
            logline.milliseconds(values.get('total')), logline.whole(values.get('reclaimed'))))


def take_end(process, line):
    """The last line of a collection; one with the world stopped may have no other."""
    if take_abandoned(process, line):
        return None
    named = logline.title(line.body)
    if named is None or line.number is None:
        return None
    one = process.collection(line.number)
    one.kind, one.cause, rest = named
    values = logline.pairs(rest)
    one.ended = line.uptime
    one.found = logline.whole(values.get('found'))
    one.reclaimed = logline.whole(values.get('reclaimed'))
    before, one.heap_after = logline.sizes(values.get('heap'))
    one.heap_before = one.heap_before if before is None else before
    before, one.rss_after = logline.sizes(values.get('rss'))
    one.rss_before = one.rss_before if before is None else before
    one.concurrent = logline.milliseconds(values.get('concurrent'))
    one.pauses = logline.whole(values.get('pauses'))
    one.pause_max = logline.milliseconds(values.get('max'))
    one.pause_total = logline.milliseconds(values.get('total'))
    if one.kind == STOPPED and one.pause_max is None:
        one.pauses, one.pause_max = 1, logline.last_milliseconds(rest)
        one.pause_total = one.pause_max
    one.old = logline.whole(values.get('old')) if one.old is None else one.old
    one.complete = True
    return one


def take_abandoned(process, line):
    found = logline.ABANDONED.match(line.body)
    if found is None or line.number is None:
        return False
    one = process.collection(line.number)
    one.cause = found.group(1) or one.cause
    one.abandoned = found.group(2)
    one.ended = line.uptime
    return True


def take_managed(process, line):
    pause = logline.MANAGED_PAUSE.match(line.body)
    if pause:
        process.managed_pauses.append((line.uptime, 'Managed Pause ' + pause.group(2),
                                       float(pause.group(3)) / 1e3))
        return
    ended = logline.MANAGED_END.match(line.body)
    if ended:
        process.managed.append((line.uptime, ended.group(2), ended.group(3)))


def take_fault(process, line):
    take_abandoned(process, line)
    process.faults.append((line.uptime, line.body))


def take_decision(process, line):
    process.decisions.append((line.uptime, line.body))


def take_exit(process, line):
    process.exit = process.exit or {}
    process.exit.update(re.findall(r'([a-z_]+)[= ](\S+)', line.body))


TAKE = {'init': take_init, 'start': take_start, 'phases': take_phase, 'types': take_types,
        'young': take_young, '': take_end, 'fault': take_fault, 'director': take_decision,
        'exit': take_exit, 'managed': take_managed}


def open_log(path):
    try:
        with open(path, 'rb') as source:
            packed = source.read(2) == b'\x1f\x8b'
        return gzip.open(path, 'rb') if packed else open(path, 'rb')
    except OSError as error:
        raise ToolError('cannot read %s: %s' % (path, error.strerror))


def decode(data):
    return data.decode('utf-8', 'replace')


# Log rotation keeps few files; a larger number behind a name is the pid of a forked child.
MOST_ROTATED = 99


def suffix(path):
    """(name without it, number) of gc.log.2 or gc.log.2.gz; number None without one."""
    plain = re.sub(r'\.gz$', '', path)
    found = re.fullmatch(r'(.*)\.([0-9]{1,10})', plain, re.DOTALL)
    return (found.group(1), int(found.group(2))) if found else (plain, None)


def rotation_order(paths):
    """gc.log.2, gc.log.1, gc.log: the oldest part first, other names where they stood."""
    names = [suffix(path)[0] for path in paths]

    def place(path):
        name, number = suffix(path)
        rotated = number is not None and number <= MOST_ROTATED
        child = number is not None and not rotated
        return names.index(name), child, -number if rotated else number or 0
    return sorted(paths, key=place)


def read(paths):
    """Reads files (plain or gzip) to the end. A last line without an end is dropped: half a
    number is a number too."""
    reader = Reader()
    for path in rotation_order(paths):
        reader.new_file((suffix(path)[1] or 0) > MOST_ROTATED)
        with open_log(path) as source:
            try:
                for line in source:
                    if line.endswith(b'\n'):
                        reader.feed(decode(line))
                    else:
                        reader.log.cut = True
            except (OSError, EOFError, zlib.error) as error:     # a gzip file cut off or damaged
                reader.log.cut = True
                reader.log.examples.append('%s: %s' % (path, error))
    return reader.log
