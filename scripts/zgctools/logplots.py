"""The pictures of a GC log."""

from . import units
from .chart import COLORS, Axis, Chart

MOST_PROCESSES = 5


def seconds_axis():
    return Axis('seconds since start', lambda s: '%g' % round(s, 6))


def charts(stats, pause_limit=None, rss_limit=None):
    """Those that have something to show."""
    drawn = [memory(stats, rss_limit), pauses_over_time(stats, pause_limit), histogram(stats),
             reclaimed(stats), work(stats)]
    return [chart for chart in drawn if chart.series]


def series_name(stats, process, what):
    if len(stats.log.processes) == 1:
        return what
    return '%s, pid %s' % (what, process.pid or '?')


def memory(stats, limit):
    chart = Chart('Heap and RSS at the start and end of each collection', seconds_axis(),
                  Axis('', units.size, zero=True, binary=True), height=270)
    for process in most_collections(stats):
        points = process.memory()
        for what, place in (('RSS', 2), ('heap', 1)):
            known = [(p[0], p[place]) for p in points if p[place] is not None]
            chart.line(series_name(stats, process, what),
                       [(at, size, '%s %s at %.3f s' % (what, units.size(size), at))
                        for at, size in known])
    if limit is not None and chart.series:
        chart.level(limit, 'limit ' + units.size(limit))
    return chart


def most_collections(stats):
    return sorted(stats.log.processes, key=lambda p: -len(p.collections))[:MOST_PROCESSES]


def pauses_over_time(stats, limit):
    chart = Chart('Pauses', seconds_axis(), Axis('', units.duration, log=True, margin=0.1),
                  height=270, caption='Young collections: the longest since the entry before. '
                                      'Concurrent phases are no pauses and are not here.')
    kinds = {}
    for process, when, name, seconds in stats.pause_list():
        if when is not None and seconds > 0:
            kinds.setdefault(name, []).append((when, seconds, '%s %s at %.3f s' % (
                name, units.duration(seconds), when)))
    young = [(y.uptime, y.longest, 'longest of %d young collections %s at %.3f s' % (
        y.count, units.duration(y.longest), y.uptime))
        for process in stats.log.processes for y in process.young if y.longest]
    for name in sorted(kinds):
        chart.dots(name, kinds[name])
    chart.dots('young', young)
    if limit is not None and chart.series:
        chart.level(limit, 'limit ' + units.duration(limit))
    return chart


def histogram(stats):
    caption = 'Both scales are logarithmic.'
    if not stats.young_listed:
        caption += (' Without the young collections, which are logged one by one only with '
                    'ZGC_LOG_LEVEL=debug.')
    chart = Chart('Pauses by length', Axis('pause', lambda ns: units.duration(ns / 1e9), log=True),
                  Axis('pauses', units.count, log=True, low=0.5), height=250, caption=caption)
    chart.bars('', [(low, high, number, '%s pauses of %s to %s' % (
        units.count(number), units.duration(low / 1e9), units.duration(high / 1e9)))
        for low, high, number in stats.pauses.bars()])
    return chart


def garbage(types, most=3):
    """'Node 900, dict 600, ...'"""
    named = ', '.join('%s %s' % (name, units.count(number)) for name, number in types[:most])
    return named + (', ...' if len(types) > most else '')


def per_collection(stats, title, axis, value, tip, caption=''):
    """Bars over the collections in order, coloured by cause."""
    chart = Chart(title, Axis('collection', '{:.0f}'.format, whole=True), axis, height=230,
                  caption=caption)
    causes = {}
    for place, one in enumerate(stats.finished):
        at = one.number if len(stats.log.processes) == 1 else place
        if value(one) is not None:
            causes.setdefault(one.cause or '?', []).append(
                (at - 0.5, at + 0.5, value(one), 'GC(%d) %s: %s' % (one.number, one.cause,
                                                                   tip(one))))
    # The same colour for a cause in every picture, also where another cause is missing.
    for place, row in enumerate(stats.causes):
        chart.bars(row.cause, causes.get(row.cause, ()), COLORS[place % len(COLORS)])
    return chart


def reclaimed(stats):
    return per_collection(
        stats, 'Objects reclaimed by each collection', Axis('', units.count, zero=True),
        lambda one: one.reclaimed,
        lambda one: '%s objects; %s' % (units.count(one.reclaimed), garbage(one.types, 5)),
        'Point at a bar for the types that made the garbage.')


def work(stats):
    return per_collection(
        stats, 'Concurrent work of each collection', Axis('', units.duration, zero=True),
        lambda one: one.concurrent or None, lambda one: units.duration(one.concurrent))
