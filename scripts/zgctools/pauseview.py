"""Watched pauses as terminal table, JSON and HTML."""

import json

from . import units
from .chart import Axis, Chart
from .logreport import text_histogram
from .page import Page
from .texttable import Table

HEADS = ['pause', '>times', '>p50', '>p99', '>p99.9', '>longest', '>total']


def rows(watched):
    kinds = sorted(watched.kinds.items(), key=lambda item: -item[1].total)
    if len(kinds) > 1:
        kinds.append(('all', watched.whole))
    return [[kind, units.count(h.count)]
            + [units.duration(h.percentile(share) / 1e9) for share in (0.5, 0.99, 0.999)]
            + [units.duration(h.longest / 1e9), units.duration(h.total / 1e9)]
            for kind, h in kinds]


def terminal(watched):
    if not watched.kinds:
        return 'no pauses\nsource: ' + watched.source
    table = Table(*HEADS)
    for row in rows(watched):
        table.row(*row)
    return '%s\n\n%s\n\nsource: %s' % (table, text_histogram(watched.whole), watched.source)


def as_json(watched):
    return json.dumps({
        'source': watched.source, 'said_total_ns': watched.said_total,
        'kinds': {kind: {'count': h.count, 'total_ns': h.total, 'longest_ns': h.longest,
                         'p50_ns': h.percentile(0.5), 'p99_ns': h.percentile(0.99),
                         'p999_ns': h.percentile(0.999)}
                  for kind, h in watched.kinds.items()}}, indent=1) + '\n'


def html(watched, what):
    page = Page('GC pauses', what)
    page.paragraph('Source: ' + watched.source)
    page.table(HEADS, rows(watched))
    if watched.kinds:
        page.chart(histogram(watched))
    return str(page)


def histogram(watched):
    """Kinds stand behind each other, the rarest in front, so that none hides another."""
    chart = Chart('Pauses by length', Axis('pause', lambda ns: units.duration(ns / 1e9), log=True),
                  Axis('pauses', units.count, log=True, low=0.5), height=280,
                  caption='Both scales are logarithmic.')
    for kind, one in sorted(watched.kinds.items(), key=lambda item: -item[1].count):
        chart.bars(kind, [(low, high, number, '%s: %s of %s to %s' % (
            kind, units.count(number), units.duration(low / 1e9), units.duration(high / 1e9)))
            for low, high, number in one.bars()])
    return chart
