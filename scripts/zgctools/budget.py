"""Limits that a log is held to on the command line, one row each."""

from . import units


class Budget:
    def __init__(self, flag, kind, get, what, show):
        self.flag = flag        # command line option
        self.kind = kind        # text -> number
        self.get = get          # Stats -> number or None
        self.what = what
        self.show = show

    @property
    def dest(self):
        return self.flag.lstrip('-').replace('-', '_')


def whole(text):
    return int(text)


def share(text):
    """'0.5%' or '0.005'."""
    return float(text[:-1]) / 100 if text.endswith('%') else float(text)


def pause_share(stats):
    return stats.pause_total / stats.seconds if stats.pause_total and stats.seconds else 0.0


TABLE = [
    Budget('--max-pause', units.parse_duration, lambda s: s.pause_max,
           'longest pause of any kind', units.duration),
    Budget('--max-young-pause', units.parse_duration, lambda s: s.young_pause_max,
           'longest young collection', units.duration),
    Budget('--max-pause-share', share, pause_share, 'share of the time spent in pauses',
           units.percent),
    Budget('--max-rss', units.parse_size, lambda s: s.rss_max, 'largest RSS', units.size),
    Budget('--max-heap', units.parse_size, lambda s: s.heap_max, 'largest heap', units.size),
    Budget('--max-collections', whole, lambda s: len(s.finished), 'collections', units.count),
    Budget('--max-stopped', whole, lambda s: len(s.stopped),
           'collections with the world stopped', units.count),
    Budget('--max-escalations', whole, lambda s: s.count_of('Escalation'), 'escalations',
           units.count),
    Budget('--max-faults', whole, lambda s: s.faults, 'faults', units.count),
]


class Verdict:
    """`value` None: the log does not say, which counts as kept (and is shown)."""

    def __init__(self, budget, limit, value):
        self.budget, self.limit, self.value = budget, limit, value
        self.missed = value is not None and value > limit

    def __str__(self):
        show = self.budget.show
        if self.value is None:
            return '%s: not in this log, limit %s' % (self.budget.what, show(self.limit))
        return '%s: %s, limit %s: %s' % (self.budget.what, show(self.value), show(self.limit),
                                         'MISSED' if self.missed else 'kept')


def check(stats, limits):
    """limits: {dest: number}."""
    return [Verdict(budget, limits[budget.dest], budget.get(stats)) for budget in TABLE
            if limits.get(budget.dest) is not None]
