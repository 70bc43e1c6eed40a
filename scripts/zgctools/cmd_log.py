"""zgc-log: the command."""

import argparse
import os
import sys

from . import budget, follow, gclog, logplots, logreport, logstats, pngplot, tool, trace, units
from .tool import ToolError

EXAMPLES = [
    'zgc-log gc.log                                   summary, tables, histogram, advice',
    'zgc-log gc.log gc.log.1 --html report.html       a rotated log, one self-contained page',
    'zgc-log --max-pause 1ms --max-rss 2G gc.log      status 1 when a limit was missed, for CI',
    'zgc-log --trace gc.json gc.log                   for ui.perfetto.dev: pauses and phases in time',
    'zgc-log --follow gc.log                          one line per collection as they happen',
]
SUMMARY = ('Read a GC log written with ZGC_LOG=path (plain or gzip, whole, rotated, cut off or '
           'growing).')


def kind_of(row):
    """argparse shows the name of the function in its message; ours say more."""
    def convert(text):
        try:
            return row.kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(error)
    return convert


def arguments(argv):
    parser = tool.parser('zgc-log', ['[options] FILE [FILE ...]'], SUMMARY, EXAMPLES)
    parser.add_argument('files', nargs='+', metavar='FILE',
                        help="log files of one program, '-' for standard input")
    parser.add_argument('--each', action='store_true', help='a line for each collection, too')
    parser.add_argument('--follow', action='store_true',
                        help='wait for more, print each collection; summary at Ctrl-C')
    parser.add_argument('--for', dest='seconds', type=float, metavar='SECONDS',
                        help='with --follow: stop after so many seconds without a new line')
    parser.add_argument('--json', metavar='FILE', help="'-' for standard output")
    parser.add_argument('--html', metavar='FILE', help='one self-contained page with plots')
    parser.add_argument('--trace', metavar='FILE',
                        help='pauses and phases as a trace for ui.perfetto.dev or '
                             'chrome://tracing; needs no collection to be finished')
    parser.add_argument('--png', metavar='FILE', help='the plots as a picture (needs matplotlib)')
    limits = parser.add_argument_group('budgets (exit status 1 when one is missed)')
    for row in budget.TABLE:
        limits.add_argument(row.flag, type=kind_of(row), metavar='LIMIT', help=row.what)
    return parser.parse_intermixed_args(argv)


def read_input(paths):
    if paths != ['-']:
        return gclog.read(paths)
    reader = gclog.Reader()
    for line in sys.stdin.buffer:
        if line.endswith(b'\n'):
            reader.feed(gclog.decode(line))
        else:
            reader.log.cut = True
    return reader.log


def follow_line(one):
    """A collection in one line."""
    return ('%10.3f s  GC(%d) %s: found %s reclaimed %s, heap %s -> %s, RSS %s, concurrent %s, '
            'longest pause %s%s' % (
                one.ended, one.number, one.cause, units.count(one.found),
                units.count(one.reclaimed), units.size(one.heap_before),
                units.size(one.heap_after), units.size(one.rss_after),
                units.duration(one.concurrent), units.duration(one.pause_max),
                ', ' + logplots.garbage(one.types) if one.types else ''))


def follow_files(chosen):
    reader = gclog.Reader()
    quiet = [0]

    def feed(line):
        quiet[0] = 0
        one = reader.feed(gclog.decode(line))
        if one is not None:
            print(follow_line(one), flush=True)

    def idle():
        quiet[0] += 1
        return (chosen.seconds is not None
                and quiet[0] * follow.POLL_SECONDS >= chosen.seconds)

    reader.new_file()
    follow.follow(chosen.files, feed, idle)
    print(flush=True)
    return reader.log


def main(argv):
    chosen = arguments(argv)
    if chosen.follow and '-' in chosen.files:
        raise ToolError('--follow needs files, not standard input')
    if chosen.png:
        pngplot.load()              # before a log is read or followed
    tool.check_outputs(chosen.json, chosen.html, chosen.png, chosen.trace)
    log = follow_files(chosen) if chosen.follow else read_input(chosen.files)
    names = [os.path.basename(path) for path in chosen.files]
    if not log.lines:
        raise ToolError('%s: %s' % (', '.join(chosen.files), nothing(log)))
    stats = logstats.Stats(log)
    verdicts = budget.check(stats, logreport.limits_given(chosen))
    if chosen.json:
        tool.write_text(chosen.json, logreport.as_json(stats, verdicts))
    if chosen.html:
        tool.write_text(chosen.html, logreport.html(stats, verdicts, names))
    if chosen.trace:
        tool.write_text(chosen.trace, trace.as_json(log))
    if chosen.png:
        write_png(chosen.png, stats, verdicts, names)
    if '-' not in (chosen.json, chosen.html, chosen.trace):
        print(logreport.terminal(stats, verdicts, chosen.each))
    return tool.MISSED if any(verdict.missed for verdict in verdicts) else tool.OK


def write_png(path, stats, verdicts, names):
    drawn = logplots.charts(stats, logreport.limit_of(verdicts, '--max-pause'),
                            logreport.limit_of(verdicts, '--max-rss'))
    if not drawn:
        raise ToolError('nothing to plot: the log has no finished collection')
    pngplot.draw(drawn, path, 'GC log: ' + ', '.join(names))


def nothing(log):
    if log.strange:
        return ('no line of a zgcpreload log among %d lines, the first: %s'
                % (log.strange, log.examples[0]))
    if log.cut:
        return 'no line of a zgcpreload log, only a part of one line or binary data'
    return 'the log is empty (was the library active, and ZGC_LOG set?)'
