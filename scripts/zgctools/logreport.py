"""A GC log as terminal text, JSON and HTML page."""

import json

from . import advice, budget, gclog, logplots, units
from .logplots import garbage
from .page import Page
from .texttable import Table

HTML_COLLECTIONS = 200       # more rows than this nobody reads; the longest pauses are kept

CAUSE_HEADS = ['cause', '>collections', '>found', '>reclaimed', '>longest pause', '>all pauses',
               '>concurrent']
PHASE_HEADS = ['phase', '>times', '>median', '>longest', '>total']
COLLECTION_HEADS = ['collection', '>at', 'cause', '>old', '>found', '>reclaimed', '>heap', '>RSS',
                     '>concurrent', '>pauses', '>longest', 'garbage']


def cause_rows(stats):
    return [[row.cause, units.count(row.count), units.count(row.found),
             units.count(row.reclaimed), units.duration(row.pause_max),
             units.duration(row.pause_total), units.duration(row.concurrent)]
            for row in stats.causes]


def phase_rows(stats):
    return [[row.name, units.count(row.count), units.duration(row.median),
             units.duration(row.longest), units.duration(row.total)] for row in stats.phases]


def before_after(before, after):
    return '-' if before is None and after is None else '%s -> %s' % (units.size(before),
                                                                     units.size(after))


def collection_row(one):
    return ['GC(%d)' % one.number,
            '-' if one.started is None and one.ended is None
            else '%.3f s' % (one.ended if one.started is None else one.started),
            (one.cause or '?') + ('' if one.complete else ' (not finished)' if one.abandoned is None
                                   else ' (abandoned)'),
            units.count(one.old), units.count(one.found), units.count(one.reclaimed),
            before_after(one.heap_before, one.heap_after),
            before_after(one.rss_before, one.rss_after),
            units.duration(one.concurrent), units.count(one.pauses),
            units.duration(one.pause_max), garbage(one.types)]


def process_line(process):
    who = ('pid %s' % process.pid if process.pid else 'process without opening line'
           if process.headless else 'process')
    parts = [who]
    if process.version:
        parts.append('zgcpreload %s, Python %s' % (process.version, process.python))
    if process.options:
        parts.append(' '.join('%s=%s' % item for item in sorted(process.options.items())))
    if process.first is not None:
        parts.append('from %s to %s after its start' % (units.duration(process.first),
                                                        units.duration(process.last)))
    return ', '.join(parts)


def damage(log):
    """What could not be read, in sentences."""
    if log.cut:
        yield 'the last line is cut off (the log was being written, or its writer was killed)'
    if log.strange:
        yield ('%d line%s not of this log or damaged, the first: %s'
               % (log.strange, ' is' if log.strange == 1 else 's are', log.examples[0]))
    headless = sum(1 for process in log.processes if process.headless)
    if headless:
        yield ('%d process%s no opening line: the beginning was rotated away'
               % (headless, ' has' if headless == 1 else 'es have'))
    for reason, number in count(one.abandoned for one in log.abandoned
                                if one.abandoned != gclog.PROGRAM_ENDED):
        yield '%d collection%s abandoned: %s' % (
            number, ' was' if number == 1 else 's were', reason)
    if log.incomplete:
        yield ('%d collection%s no end: %s' % (
            len(log.incomplete), ' has' if len(log.incomplete) == 1 else 's have',
            ', '.join('GC(%d)' % one.number for one in log.incomplete[:5])))


def count(things):
    """[(thing, how often)] in order of their first appearance."""
    found = {}
    for thing in things:
        found[thing] = found.get(thing, 0) + 1
    return list(found.items())


def headline(stats):
    """[(name, text)] that sum a log up."""
    pauses = stats.pauses
    lines = [
        ('collections', units.count(len(stats.finished))),
        ('objects reclaimed', units.count(stats.reclaimed or 0)),
        ('longest pause', units.duration(stats.pause_max)),
        ('all pauses', units.duration(stats.pause_total)),
        ('young collections', '%s, longest %s, %s in all' % (
            units.count(stats.young_count), units.duration(stats.young_pause_max),
            units.duration(stats.young_total)) if stats.young_count else '-'),
        ('largest heap', units.size(stats.heap_max)),
        ('largest RSS', units.size(stats.rss_max)),
    ]
    if stats.managed:
        lines.insert(1, ('managed collections', units.count(stats.managed)))
    if pauses.count:
        lines.insert(4 + bool(stats.managed), ('pauses listed', '%s, p50 %s, p99 %s, p99.9 %s' % (
            (units.count(pauses.count),)
            + tuple(units.duration(pauses.percentile(p) / 1e9) for p in (0.5, 0.99, 0.999)))))
    return lines


def text_histogram(histogram, width=40):
    bars = histogram.bars((1, 2, 5))
    most = max((number for _, _, number in bars), default=1)
    lines = []
    for low, high, number in bars:
        # At least one mark: one long pause among thousands is the one that is looked for.
        mark = '#' * max(round(width * number / most), 1 if number else 0)
        lines.append('%9s - %-9s %9s  %s' % (units.duration(low / 1e9), units.duration(high / 1e9),
                                             units.count(number), mark))
    return '\n'.join(line.rstrip() for line in lines)


def render_table(heads, rows):
    table = Table(*heads)
    for row in rows:
        table.row(*row)
    return str(table)


def terminal(stats, verdicts, each=False):
    log = stats.log
    parts = ['\n'.join(process_line(process) for process in log.processes)]
    width = max(len(name) for name, _ in headline(stats))
    parts.append('\n'.join('%s  %s' % (name.ljust(width), text) for name, text in headline(stats)))
    if stats.causes:
        parts.append(render_table(CAUSE_HEADS, cause_rows(stats)))
    if stats.phases:
        parts.append(render_table(PHASE_HEADS, phase_rows(stats)))
    if stats.pauses.count:
        parts.append('pauses%s\n%s' % (
            '' if stats.young_listed else ' (young collections are listed at debug level only)',
            text_histogram(stats.pauses)))
    if stats.types:
        parts.append('garbage by type (the types the log names)\n' + render_table(
            ['type', '>objects'], [[n, units.count(c)] for n, c in stats.types[:10]]))
    if each and stats.collections:
        parts.append(render_table(COLLECTION_HEADS, map(collection_row, stats.collections)))
    said = ['advice: ' + sentence for sentence in advice.of(stats)]
    said += ['note: ' + sentence for sentence in damage(log)]
    said += ['budget: %s' % verdict for verdict in verdicts]
    if said:
        parts.append('\n'.join(said))
    return '\n\n'.join(parts)


def as_json(stats, verdicts):
    log = stats.log
    return json.dumps({
        'processes': [{'pid': p.pid, 'version': p.version, 'python': p.python,
                       'binding': p.binding, 'options': p.options, 'first': p.first,
                       'last': p.last, 'headless': p.headless, 'exit': p.exit,
                       'faults': p.faults, 'collections': [as_dict(one) for one in p.ordered()],
                       'memory': [{'at': at, 'heap': heap, 'rss': rss}
                                  for at, heap, rss in p.memory()]}
                      for p in log.processes],
        'collections': len(stats.finished),
        'reclaimed': stats.reclaimed or 0,
        'pause_max': stats.pause_max, 'pause_total': stats.pause_total,
        'full_pause_max': stats.full_pause_max, 'young_pause_max': stats.young_pause_max,
        'young_collections': stats.young_count, 'young_total': stats.young_total,
        'young_reclaimed': stats.young_reclaimed,
        'managed_collections': stats.managed, 'abandoned': len(log.abandoned),
        'heap_max': stats.heap_max, 'rss_max': stats.rss_max, 'seconds': stats.seconds,
        'causes': [vars(row) for row in stats.causes],
        'phases': [vars(row) for row in stats.phases],
        'pause_histogram': [{'from_ns': low, 'to_ns': high, 'count': number}
                            for low, high, number in stats.pauses.bars()],
        'types': dict(stats.types),
        'advice': advice.of(stats),
        'damage': list(damage(log)),
        'lines': log.lines, 'strange_lines': log.strange, 'cut': log.cut,
        'budgets': [{'what': v.budget.what, 'limit': v.limit, 'value': v.value,
                     'missed': v.missed} for v in verdicts],
    }, indent=1) + '\n'


def as_dict(one):
    said = dict(vars(one))
    said['phases'] = [dict(extra, name=name, seconds=seconds, at=at)
                      for name, seconds, extra, at in one.phases]
    said['types'] = dict(one.types)
    return said


def html(stats, verdicts, names):
    log = stats.log
    page = Page('GC log: ' + ', '.join(names), '%s of log' % units.duration(stats.seconds))
    for process in log.processes[:20]:
        page.paragraph(process_line(process))
    for sentence in damage(log):
        page.warning(sentence[0].upper() + sentence[1:] + '.')
    page.table(['', ''], headline(stats))
    if verdicts:
        page.heading('Budgets')
        page.table(['what', '>value', '>limit', ''], [
            [v.budget.what, '-' if v.value is None else v.budget.show(v.value),
             v.budget.show(v.limit), ('missed', 'worse') if v.missed else ('kept', 'better')]
            for v in verdicts])
    sentences = advice.of(stats)
    if sentences:
        page.heading('Advice')
        page.notes(sentences)
    for chart in logplots.charts(stats, limit_of(verdicts, '--max-pause'),
                                 limit_of(verdicts, '--max-rss')):
        page.chart(chart)
    if stats.causes:
        page.heading('By cause')
        page.table(CAUSE_HEADS, cause_rows(stats))
    if stats.phases:
        page.heading('By phase')
        page.table(PHASE_HEADS, phase_rows(stats))
    if stats.types:
        page.heading('Garbage by type')
        page.paragraph('The most frequent types of each collection, as far as the log names them.')
        page.table(['type', '>objects'], [[n, units.count(c)] for n, c in stats.types[:25]])
    if stats.collections:
        shown = stats.collections
        page.heading('Collections')
        if len(shown) > HTML_COLLECTIONS:
            page.paragraph('The %d with the longest pauses, of %d.'
                           % (HTML_COLLECTIONS, len(shown)))
            shown = sorted(shown, key=lambda one: -(one.pause_max or 0))[:HTML_COLLECTIONS]
        page.table(COLLECTION_HEADS, map(collection_row, shown))
    return str(page)


def limit_of(verdicts, flag):
    return next((v.limit for v in verdicts if v.budget.flag == flag), None)


def limits_given(chosen):
    return {row.dest: getattr(chosen, row.dest) for row in budget.TABLE}
