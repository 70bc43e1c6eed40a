"""A comparison as terminal table, JSON and HTML page."""

import json
import math
import os
import platform
import time

from . import comparison, units
from .chart import Axis, Chart
from .page import Markup, Page
from .ratiobar import Scale
from .texttable import Table

WORDS = {comparison.BETTER: 'better', comparison.WORSE: 'worse'}


def ratio_text(ratio):
    if ratio is None:
        return '-'
    if math.isinf(ratio):
        return 'inf'
    return ('%.3f' if 0.1 <= ratio < 10 else '%.4f' if ratio < 0.1 else '%.1f') % ratio


def interval_text(paired):
    if paired.ratio is None or len(paired.pairs) < 2:
        return '-'
    return '%s - %s' % (ratio_text(paired.low), ratio_text(paired.high))


def side_names(compared):
    """'A (stock)', 'B (preload)': for legends, so without long settings."""
    return ['%s (%s)' % (side.key.upper(), side.label if len(side.label) <= 32
                         else side.label[:30] + '..') for side in compared.sides]


def pairs_text(compared):
    return '%d pair%s of runs' % (compared.pairs, '' if compared.pairs == 1 else 's')


def terminal(compared, heading):
    table = Table('metric', '>A', '>B', '>B/A',
                  '>%d %% interval' % round(compared.confidence * 100), 'B is')
    for row in compared.rows():
        table.row(row.metric.label, row.metric.show(row.paired.a_median),
                  row.metric.show(row.paired.b_median), ratio_text(row.paired.ratio),
                  interval_text(row.paired), row.verdict)
    lines = [heading] + ['%s: %s' % (side.key.upper(), side.label) for side in compared.sides]
    lines += ['', str(table), '', '%s; A and B are medians, B/A the median of the paired ratios '
                                  'with its bootstrap interval.' % pairs_text(compared)]
    lines += ['warning: ' + warning for warning in compared.warnings()]
    return '\n'.join(lines)


def as_json(compared, heading, command):
    rows = [{'metric': row.metric.key, 'label': row.metric.label, 'a': row.a, 'b': row.b,
             'a_median': row.paired.a_median, 'b_median': row.paired.b_median,
             'ratio': finite(row.paired.ratio), 'low': finite(row.paired.low),
             'high': finite(row.paired.high), 'verdict': row.verdict} for row in compared.rows()]
    whole = {
        'what': heading, 'command': command, 'pairs': compared.pairs,
        'confidence': compared.confidence, 'order': compared.order, 'machine': machine(),
        'sides': {side.key: {'label': side.label, 'preloaded': side.preloaded}
                  for side in compared.sides},
        'rows': rows, 'warnings': compared.warnings(),
        'runs': {key: [run.values for run in runs] for key, runs in compared.runs.items()},
    }
    return json.dumps(whole, indent=1) + '\n'


def finite(number):
    """JSON has no infinity."""
    return None if number is None or math.isinf(number) else number


def machine():
    return {'system': platform.platform(), 'cpus': os.cpu_count(),
            'time': time.strftime('%Y-%m-%d %H:%M:%S %z')}


def html(compared, heading, command):
    about = machine()
    page = Page(heading, '%s · %s · %d CPUs' % (about['time'], about['system'], about['cpus']))
    page.code('Command:', command)
    for side in compared.sides:
        page.code(side.key.upper() + ':', side.label)
    for warning in compared.warnings():
        page.warning(warning)
    rows = compared.rows()
    page.notes(summary(rows))
    scale = Scale(rows)
    page.table(
        ['metric', '>A', '>B', '>B/A', '>interval', 'less than A | more than A', 'B is'],
        [[row.metric.label, row.metric.show(row.paired.a_median),
          row.metric.show(row.paired.b_median), ratio_text(row.paired.ratio),
          interval_text(row.paired), Markup(scale.draw(row)),
          (row.verdict, WORDS.get(row.verdict, 'none'))] for row in rows])
    page.paragraph('%s, the sides taking turns. A and B are medians; B/A is the median of the '
                   'paired ratios with its %d %% bootstrap interval. "No difference shown": '
                   'the interval holds 1, or chance alone gives such runs more than once in a '
                   'hundred comparisons.'
                   % (pairs_text(compared), round(compared.confidence * 100)))
    names = side_names(compared)
    latency = latency_chart(rows, names)
    if latency:
        page.heading('Latency')
        page.chart(latency)
    pauses = pause_chart(compared)
    if pauses:
        page.heading('Pauses')
        page.chart(pauses)
    page.heading('Run by run')
    page.charts([run_chart(row, names) for row in rows if any(row.a) or any(row.b)])
    page.heading('How each number was taken')
    page.table(['metric', '~source'], [[row.metric.label, row.metric.why] for row in rows])
    return str(page)


def summary(rows):
    """What changed, in sentences, and what did not."""
    for verdict in (comparison.BETTER, comparison.WORSE):
        found = ['%s (%s to %s)' % (row.metric.label, row.metric.show(row.paired.a_median),
                                    row.metric.show(row.paired.b_median))
                 for row in rows if row.verdict == verdict]
        if found:
            yield 'B is %s: %s.' % (verdict, ', '.join(found))
    same = [row.metric.label for row in rows if row.verdict == comparison.NO_DIFFERENCE]
    if same:
        yield 'No difference shown: %s.' % ', '.join(same)


def run_chart(row, names):
    metric = row.metric
    pairs = len(row.a)
    drawn = Chart(metric.label, Axis('pair', '{:.0f}'.format, whole=True),
                  Axis('', metric.show, zero=True, binary=metric.show is units.size),
                  height=180, width=330)
    for name, values in zip(names, (row.a, row.b)):
        drawn.line(name, [(i + 1, value, '%s, pair %d: %s' % (name, i + 1, metric.show(value)))
                          for i, value in enumerate(values)])
    # One tick for each pair as long as they fit.
    drawn.x.margin = 0.04 if pairs > 1 else 0.5
    return drawn


MAIN = ('requests_per_second', 'wall', 'rss', 'pause_max')


def main_charts(compared):
    """For one picture: latency and pauses where they were measured, and a few metrics by run."""
    rows, names = compared.rows(), side_names(compared)
    whole = [latency_chart(rows, names), pause_chart(compared)]
    return [chart for chart in whole if chart] + [
        run_chart(row, names) for row in rows if row.metric.key in MAIN]


def latency_chart(rows, names):
    shares = {'latency_p50': 2, 'latency_p75': 4, 'latency_p90': 10, 'latency_p99': 100,
              'latency_p999': 1000, 'latency_p9999': 10000}
    found = [(shares[row.metric.key], row) for row in rows if row.metric.key in shares]
    if not found:
        return None
    drawn = Chart('Latency by percentile, medians of the runs',
                  Axis('slowest of ... requests', lambda n: '1 in %d' % round(n), log=True),
                  Axis('latency', units.duration, log=True, margin=0.1), height=300)
    for name, key in zip(names, 'ab'):
        points = [(share, getattr(row.paired, key + '_median'), row) for share, row in found]
        drawn.line(name, [(x, y, '%s %s: %s' % (name, row.metric.label, units.duration(y)))
                          for x, y, row in points if y])
    return drawn


def pause_chart(compared):
    """How many pauses of which length, all runs of a side together."""
    drawn = Chart('GC pauses by length, all runs together',
                  Axis('pause', lambda ns: units.duration(ns / 1e9), log=True),
                  Axis('pauses', units.count, log=True, low=0.5), height=280,
                  caption='Both scales are logarithmic: one long pause among a million short ones '
                          'stays visible.')
    for number, (side, name) in enumerate(zip(compared.sides, side_names(compared))):
        measured = [run.pauses.histogram for run in compared.runs[side.key]
                    if run.pauses is not None and run.pauses.processes]
        if not measured:
            continue
        whole = measured[0].__class__()
        for histogram in measured:
            whole.merge(histogram)
        bars = []
        for low, high, count in whole.bars():
            # Two sides in one picture: each bar takes its half of the bucket.
            middle = math.sqrt(low * high)
            left, right = (low, middle) if number == 0 else (middle, high)
            bars.append((left, right, count, '%s: %s pauses of %s to %s' % (
                name, units.count(count), units.duration(low / 1e9),
                units.duration(high / 1e9))))
        drawn.bars(name, bars)
    return drawn if drawn.series else None
