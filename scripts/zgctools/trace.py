"""A GC log as a trace for Perfetto (ui.perfetto.dev) or chrome://tracing.

The format is Chrome's Trace Event Format, as JSON: complete events (ph X), counters (C), instants (i) and names (M),
times in microseconds since the start of the process.

The log gives each pause and phase its length to the microsecond, and the time of its end to the millisecond. So a
length in the trace is exact, and a place is exact to a millisecond: an event that would overlap the one before on its
track begins at the end of that one.
"""

import json

from . import gclog

PROGRAM, COLLECTOR, COLLECTIONS, MANAGED = 1, 2, 3, 4
TRACKS = {PROGRAM: "program's threads: pauses", COLLECTOR: 'collector thread: phases',
          COLLECTIONS: 'collections, start to end', MANAGED: "program's threads: managed pauses"}


def microseconds(seconds):
    return round(seconds * 1e6, 3)


class Track:
    """Events of one thread, none of which overlaps the one before."""

    def __init__(self, pid, tid):
        self.pid, self.tid = pid, tid
        self.free = 0.0             # microseconds: the end of the event before

    def place(self, name, ended, seconds, extra):
        length = microseconds(seconds)
        start = max(microseconds(ended) - length, self.free)
        self.free = round(start + length, 3)
        return {'name': name, 'ph': 'X', 'ts': round(start, 3), 'dur': length, 'pid': self.pid,
                'tid': self.tid, 'args': extra}


def named(pid, tid, what, name):
    return {'name': what, 'ph': 'M', 'pid': pid, 'tid': tid, 'args': {'name': name}}


def pauses(process):
    """(name, end, seconds, {extra}) of everything that stopped the program."""
    found = [('Pause Young', at, seconds, {}) for at, seconds in process.young_times]
    for one in process.ordered():
        listed = [phase for phase in one.phases if phase[0].startswith('Pause')]
        found += [(name, at, seconds, dict(extra, collection=one.number))
                  for name, seconds, extra, at in listed]
        if one.kind == gclog.STOPPED and not listed and one.ended is not None and one.pause_max:
            found.append(('Pause Full', one.ended, one.pause_max, {'collection': one.number}))
    return found


def phases(process):
    return [(name, at, seconds, dict(extra, collection=one.number))
            for one in process.ordered() for name, seconds, extra, at in one.phases
            if not name.startswith('Pause')]


def collections(process):
    return [('GC(%d) %s' % (one.number, one.cause or '?'), one.ended, one.ended - one.started,
             {key: value for key, value in (
                 ('old', one.old), ('found', one.found), ('reclaimed', one.reclaimed),
                 ('abandoned', one.abandoned)) if value is not None})
            for one in process.ordered() if None not in (one.started, one.ended)]


def managed(process):
    return [(name, at, seconds, {}) for at, name, seconds in process.managed_pauses]


SOURCES = {PROGRAM: pauses, COLLECTOR: phases, COLLECTIONS: collections, MANAGED: managed}


def instants(pid, process):
    for category, lines in (('director', process.decisions), ('fault', process.faults)):
        for at, text in lines:
            yield {'name': category, 'ph': 'i', 's': 'p', 'ts': microseconds(at), 'pid': pid,
                   'tid': COLLECTOR, 'args': {'text': text}}


def counters(pid, process):
    for at, heap, rss in process.memory():
        sizes = {name: size for name, size in (('heap', heap), ('RSS', rss)) if size is not None}
        yield {'name': 'memory, bytes', 'ph': 'C', 'ts': microseconds(at), 'pid': pid,
               'args': sizes}


def events_of(process, pid):
    title = 'python %s under zgcpreload %s' % (process.python or '?', process.version or '?')
    yield named(pid, 0, 'process_name', title)
    for tid, source in SOURCES.items():
        track = Track(pid, tid)
        found = sorted(source(process), key=lambda event: event[1])
        if found:
            yield named(pid, tid, 'thread_name', TRACKS[tid])
        for event in found:
            yield track.place(*event)
    yield from instants(pid, process)
    yield from counters(pid, process)


def as_json(log):
    """The text of the file. Processes without a known pid get one that no other has."""
    events, taken = [], set()
    for process in log.processes:
        pid = int(process.pid or 1)
        while pid in taken:
            pid += 1
        taken.add(pid)
        events += events_of(process, pid)
    return json.dumps({'displayTimeUnit': 'ms', 'traceEvents': events}) + '\n'
