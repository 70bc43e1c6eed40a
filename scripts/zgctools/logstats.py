"""A log in numbers: per cause, per phase, pauses, budgets. Everything in seconds and bytes."""

from . import gclog, logline, sample
from .histogram import Histogram


class CauseRow:
    def __init__(self, cause, collections):
        self.cause = cause
        self.count = len(collections)
        self.found = total(one.found for one in collections)
        self.reclaimed = total(one.reclaimed for one in collections)
        self.pause_max = largest(one.pause_max for one in collections)
        self.pause_total = total(one.pause_total for one in collections)
        self.concurrent = total(one.concurrent for one in collections)


class PhaseRow:
    def __init__(self, name, seconds):
        self.name = name
        self.pause = name.startswith('Pause')
        self.count = len(seconds)
        self.total = sum(seconds)
        self.median = sample.median(seconds)
        self.longest = max(seconds)


def known(values):
    return [value for value in values if value is not None]


def total(values):
    values = known(values)
    return sum(values) if values else None


def largest(values):
    return max(known(values), default=None)


class Stats:
    def __init__(self, log):
        self.log = log
        self.collections = log.collections
        self.finished = [one for one in self.collections if one.complete]
        self.causes = self.by_cause()
        self.phases = self.by_phase()
        self.young_count = total(y.count for p in log.processes for y in p.young) or 0
        self.young_total = total(y.total for p in log.processes for y in p.young)
        self.young_reclaimed = total(y.reclaimed for p in log.processes for y in p.young)
        self.pauses = self.pause_histogram()
        self.types = self.garbage_types()

    def by_cause(self):
        groups = {}
        for one in self.finished:
            groups.setdefault((one.cause or '?'), []).append(one)
        rows = [CauseRow(cause, group) for cause, group in groups.items()]
        return sorted(rows, key=lambda row: -row.count)

    def by_phase(self):
        groups = {}
        for one in self.collections:
            for name, seconds, *_ in one.phases:
                groups.setdefault(name, []).append(seconds)
        # Passes in their order, pauses behind them.
        names = sorted(groups, key=lambda name: (name.startswith('Pause'), name))
        return [PhaseRow(name, groups[name]) for name in names]

    def pause_list(self):
        """(process, uptime, name, seconds) of every single pause that the log names, young
        collections apart. A collection with the world stopped is one pause, whatever its parts."""
        for process in self.log.processes:
            for one in process.ordered():
                if one.kind == gclog.STOPPED:
                    if one.pause_max is not None:
                        yield process, one.ended, one.kind, one.pause_max
                    continue
                for name, seconds, _, when in one.phases:
                    # A Pause Defer is a part of the young collection around it.
                    twice = name == 'Pause Defer' and process.young_pauses.count
                    if name.startswith('Pause') and not twice:
                        yield process, when, name, seconds
            for when, name, seconds in process.managed_pauses:
                yield process, when, name, seconds

    def pause_histogram(self):
        """Young collections are in it where they are logged one by one (debug level)."""
        pauses = Histogram()
        for _, _, _, seconds in self.pause_list():
            pauses.add(round(seconds * 1e9))
        for process in self.log.processes:
            pauses.merge(process.young_pauses)
        return pauses

    @property
    def young_listed(self):
        """Whether the young collections, if any, are in the histogram."""
        return not self.young_count or any(p.young_pauses.count for p in self.log.processes)

    def garbage_types(self):
        """[(type, objects)], most first."""
        found = {}
        for one in self.collections:
            for name, number in one.types:
                found[name] = found.get(name, 0) + number
        return sorted(found.items(), key=lambda item: (-item[1], item[0]))

    @property
    def seconds(self):
        """Time that the log covers, all processes together."""
        return total(p.last - p.first for p in self.log.processes if p.first is not None) or 0.0

    @property
    def full_pause_max(self):
        return largest([seconds for _, _, _, seconds in self.pause_list()]
                       + [one.pause_max for one in self.collections])

    @property
    def young_pause_max(self):
        return largest([y.longest for p in self.log.processes for y in p.young]
                       + [p.young_pauses.longest / 1e9 for p in self.log.processes
                          if p.young_pauses.count])

    @property
    def pause_max(self):
        return largest([self.full_pause_max, self.young_pause_max, self.exit_pause_max])

    @property
    def exit_pause_max(self):
        """What the summaries at exit say: it includes safepoints that have no line of their own."""
        said = [process.exit.get('max') for process in self.log.processes if process.exit]
        return largest(map(logline.milliseconds, said))

    @property
    def pause_total(self):
        return total([total(one.pause_total for one in self.finished), self.young_total])

    @property
    def reclaimed(self):
        return total(one.reclaimed for one in self.finished)

    @property
    def rss_max(self):
        return largest(rss for p in self.log.processes for _, _, rss in p.memory())

    @property
    def heap_max(self):
        return largest(heap for p in self.log.processes for _, heap, _ in p.memory())

    @property
    def managed(self):
        """Finished collections of the managed heap."""
        return sum(len(process.managed) for process in self.log.processes)

    @property
    def faults(self):
        return sum(len(process.faults) for process in self.log.processes)

    def count_of(self, cause):
        return sum(row.count for row in self.causes if row.cause == cause)

    @property
    def stopped(self):
        """Collections that ran with the world stopped."""
        return [one for one in self.finished if one.kind == gclog.STOPPED]
