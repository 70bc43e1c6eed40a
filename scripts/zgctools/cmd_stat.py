"""zgc-stat: the command."""

import json
import time

from . import proctree, statpage, tool, units
from .tool import ToolError

EXAMPLES = [
    'zgc-stat 4242                 one line of the process 4242',
    'zgc-stat 4242 1               one every second until it ends',
    'zgc-stat 4242 500ms 10        ten lines, half a second apart',
    'zgc-stat --delta 4242 1       what happened in each interval',
    'zgc-stat --all 4242           every counter, one per line',
    'zgc-stat --list               processes that keep a page',
]
SUMMARY = 'Show what the collector of a running process does, from its statistics page.'


class Column:
    def __init__(self, head, counter, show, what, sums=False):
        self.head = head
        self.counter = counter
        self.show = show            # value -> text
        self.what = what
        self.sums = sums            # only ever grows: --delta shows the difference


def mega(value):
    return '%.1f' % (value / 1048576)


def milli(value):
    return '%.3f' % (value / 1e6)


def seconds(value):
    return '%.3f' % (value / 1e9)


COLUMNS = [
    Column('HU', 'heap_used', mega, 'heap in use, MB'),
    Column('HC', 'heap_committed', mega, 'heap committed, MB'),
    Column('OLD', 'old_objects', str, 'objects in the old set'),
    Column('GC', 'collections', str, 'full collections', True),
    Column('CGCT', 'concurrent_ns', seconds, 'their concurrent time, s', True),
    Column('PMAX', 'pause_max_ns', milli, 'longest pause, ms'),
    Column('PT', 'pause_total_ns', milli, 'all pauses, ms', True),
    Column('YGC', 'young_collections', str, 'young collections', True),
    Column('YMAX', 'young_max_ns', milli, 'longest of them, ms'),
    Column('YGCT', 'young_total_ns', milli, 'all of them, ms', True),
    Column('FOUND', 'found', str, 'objects found to be garbage', True),
    Column('RECL', 'reclaimed', str, 'objects reclaimed', True),
    Column('PEND', 'pending_garbage', str, 'found, not yet reclaimed'),
    Column('ESC', 'escalations', str, 'escalations', True),
    Column('FLT', 'faults', str, 'faults survived', True),
    Column('RUN', 'running', str, '1 while a collection runs'),
]
HEAD_EVERY = 20


def arguments(argv):
    legend = ['columns:'] + ['  %-6s %s' % (column.head, column.what) for column in COLUMNS]
    parser = tool.parser('zgc-stat', ['[options] PID [INTERVAL [COUNT]]', '--list'], SUMMARY, EXAMPLES)
    parser.epilog = '\n'.join(legend) + '\n\n' + parser.epilog
    parser.add_argument('pid', nargs='?', metavar='PID')
    parser.add_argument('interval', nargs='?', metavar='INTERVAL', help='1, 0.5, 250ms')
    parser.add_argument('count', nargs='?', metavar='COUNT', help='lines to print')
    parser.add_argument('--delta', action='store_true',
                        help='sums as the difference to the line before')
    parser.add_argument('--all', action='store_true', help='every counter by its name')
    parser.add_argument('--json', action='store_true', help='one JSON object per line')
    parser.add_argument('--list', action='store_true', help='pids that keep a page')
    chosen = parser.parse_intermixed_args(argv)
    if not chosen.list:
        check(parser, chosen)
    return chosen


def check(parser, chosen):
    if chosen.pid is None:
        parser.error('no PID (zgc-stat --list names the candidates)')
    if not chosen.pid.isdigit() or int(chosen.pid) == 0:
        parser.error('%r is not a process id' % chosen.pid)
    chosen.pid = int(chosen.pid)
    if chosen.interval is not None:
        try:
            chosen.interval = units.parse_duration(chosen.interval)
        except ValueError as error:
            parser.error('interval: %s' % error)
        if chosen.interval <= 0:
            parser.error('interval: must be above 0')
    if chosen.count is not None:
        if not chosen.count.isdigit() or int(chosen.count) == 0:
            parser.error('count: %r is not a number above 0' % chosen.count)
        chosen.count = int(chosen.count)


class Printer:
    """Right-aligned columns whose width follows the values; a head every twenty lines."""

    def __init__(self, columns, delta):
        self.columns = columns
        self.delta = delta
        self.widths = [max(len(column.head), 6) for column in columns]
        self.printed = 0
        self.before = None

    def line(self, counters):
        cells = []
        for column in self.columns:
            value = counters[column.counter]
            if self.delta and column.sums and self.before is not None:
                # The process forked again or reset a counter: never a negative number.
                value = max(value - self.before[column.counter], 0)
            cells.append(column.show(value))
        self.before = counters
        wider = [max(width, len(cell)) for width, cell in zip(self.widths, cells)]
        if self.printed % HEAD_EVERY == 0 or wider != self.widths:
            self.widths = wider
            print(' '.join(column.head.rjust(width)
                           for column, width in zip(self.columns, self.widths)))
            self.printed = 0
        print(' '.join(cell.rjust(width) for cell, width in zip(cells, self.widths)), flush=True)
        self.printed += 1


def show_all(counters):
    width = max(map(len, counters), default=0)
    for name, value in counters.items():
        print('%s %20d' % (name.ljust(width), value))


def show_list():
    pids = statpage.living()
    for pid in pids:
        command = proctree.read('/proc/%d/cmdline' % pid).replace(b'\0', b' ').decode(
            'utf-8', 'replace').strip()
        print('%7d %s' % (pid, command[:100]))
    if not pids:
        tool.note('no process with a statistics page')
    return tool.OK if pids else tool.MISSED


def watch(page, chosen, show):
    """Lines until the count is reached or the process ends."""
    printed = 0
    due = time.monotonic()
    while True:
        show(page.read())
        printed += 1
        if chosen.interval is None or printed == chosen.count:
            return tool.OK
        due += chosen.interval
        time.sleep(max(due - time.monotonic(), 0))
        if not page.alive():
            tool.note('zgc-stat: process %d has ended' % chosen.pid)
            return tool.OK


def main(argv):
    chosen = arguments(argv)
    if chosen.list:
        return show_list()
    page = statpage.Page(chosen.pid)
    first = page.read()
    columns = [column for column in COLUMNS if column.counter in first]
    if not first:
        raise ToolError('the statistics page of process %d is empty' % chosen.pid)
    if chosen.json:
        return watch(page, chosen, lambda counters: print(
            json.dumps(dict(counters, pid=chosen.pid, time=time.time())), flush=True))
    if chosen.all:
        return watch(page, chosen, show_all)
    printer = Printer(columns, chosen.delta)
    try:
        return watch(page, chosen, printer.line)
    except KeyboardInterrupt:
        return tool.OK
