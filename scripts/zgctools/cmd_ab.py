"""zgc-ab: the command."""

import functools
import os
import shlex
import sys
import time

from . import abreport, comparison, library, measure, metric, server, side, tool, units, wrk
from .tool import ToolError

EXAMPLES = [
    'zgc-ab -n 10 -- python3 app.py                          stock against preload',
    "zgc-ab --a 'ZGC_TRIGGER=25' --b 'ZGC_TRIGGER=50' -- python3 app.py",
    'zgc-ab -n 10 --html report.html --json report.json -- python3 app.py',
    "zgc-ab -n 5 --serve 'gunicorn -w 2 app:app' --ready http://127.0.0.1:8000/ \\",
    "       --load 'wrk -t1 -c8 -d10 http://127.0.0.1:8000/' --html report.html",
]
USAGE = ['[options] -- command [argument ...]', '[options] --serve CMD --ready URL --load CMD']
SUMMARY = ('Run a command many times with and without the preload, in pairs, and say what '
           'differs.\nSide A is the stock process, side B the same under libzgcpreload.so; --a and '
           '--b change that.')


def arguments(argv):
    own, command = tool.split_command(argv)
    parser = tool.parser('zgc-ab', USAGE, SUMMARY, EXAMPLES)
    parser.add_argument('-n', '--pairs', type=int, default=10, help='pairs of runs (10)')
    parser.add_argument('--a', default='stock', metavar='SETTINGS',
                        help="'stock', or NAME=VALUE settings that go with the preload (stock)")
    parser.add_argument('--b', default='', metavar='SETTINGS', help='the same for side B (preload)')
    parser.add_argument('--lib', metavar='PATH',
                        help='the library; default: $ZGC_LIB, or the one beside these tools')
    parser.add_argument('--warmup', type=int, default=1, metavar='N',
                        help='uncounted runs of side A at first, to fill caches (1)')
    parser.add_argument('--timeout', type=float, metavar='SECONDS', help='limit for one run')
    parser.add_argument('--no-pauses', action='store_true',
                        help='do not time collections (nothing is added to the program)')
    parser.add_argument('--allow-failure', action='store_true',
                        help='count runs whose exit status is not 0')
    parser.add_argument('--confidence', type=float, default=95, metavar='PERCENT',
                        help='of the interval (95)')
    parser.add_argument('--seed', type=int, default=0, help='decides which side begins')
    parser.add_argument('--json', metavar='FILE', help="'-' for standard output")
    parser.add_argument('--html', metavar='FILE', help='one self-contained page with plots')
    parser.add_argument('--png', metavar='FILE', help='the main plots (needs matplotlib)')
    serving = parser.add_argument_group('servers')
    serving.add_argument('--serve', metavar='CMD', help='the server; ended with SIGTERM')
    serving.add_argument('--ready', metavar='URL', help='http://... or tcp://host:port, polled')
    serving.add_argument('--load', metavar='CMD', help='a wrk command')
    serving.add_argument('--load-warmup', metavar='CMD', help='uncounted load before it')
    serving.add_argument('--ready-timeout', type=float, default=60, metavar='SECONDS')
    serving.add_argument('--stop-timeout', type=float, default=30, metavar='SECONDS')
    chosen = parser.parse_args(own)
    check(parser, chosen, command)
    if chosen.png:
        from . import pngplot
        pngplot.load()              # before the runs, not after them
    tool.check_outputs(chosen.json, chosen.html, chosen.png)
    return chosen, command


def check(parser, chosen, command):
    if chosen.serve:
        if command:
            parser.error('either --serve or a command after --, not both')
        if not chosen.ready or not chosen.load:
            parser.error('--serve needs --ready URL and --load CMD')
    elif chosen.ready or chosen.load or chosen.load_warmup:
        parser.error('--ready and --load go with --serve')
    elif not command:
        parser.error('no command; put it after --')
    if chosen.pairs < 1:
        parser.error('-n must be at least 1')
    if chosen.warmup < 0:
        parser.error('--warmup must not be negative')
    if not 50 <= chosen.confidence < 100:
        parser.error('--confidence is a percentage from 50 to below 100')


class Progress:
    """One line on a terminal, rewritten; one line per pair elsewhere."""

    def __init__(self, runs):
        self.runs = runs
        self.done = 0
        self.began = time.monotonic()
        self.live = sys.stderr.isatty()

    def before(self, what):
        if self.live:
            sys.stderr.write('\r\033[K%s%s' % (what, self.left()))
            sys.stderr.flush()

    def after(self, what):
        self.done += 1
        if not self.live and what:
            tool.note(what + self.left())

    def left(self):
        if not self.done or self.done >= self.runs:
            return ''
        each = (time.monotonic() - self.began) / self.done
        return ', about %s left' % units.duration(each * (self.runs - self.done))

    def close(self):
        if self.live:
            sys.stderr.write('\r\033[K')
            sys.stderr.flush()


def checked(run, where, chosen):
    wrong = measure.describe_status(run.status)
    if wrong and not chosen.allow_failure and not chosen.serve:
        raise ToolError('the command ended with %s on side %s (%s); --allow-failure counts such '
                        'runs\n%s' % (wrong, where.key.upper(), where.label, run.errors))
    if wrong and wrong.startswith('signal') and chosen.serve and 'TERM' not in wrong:
        raise ToolError('the server died of %s on side %s (%s)\n%s'
                        % (wrong, where.key.upper(), where.label, run.errors))
    return run


def compare(chosen, sides, run_once):
    metrics = metric.SERVE if chosen.serve else metric.RUN
    compared = comparison.Comparison(sides, metrics, chosen.confidence / 100)
    progress = Progress(chosen.warmup + 2 * chosen.pairs)
    try:
        for number in range(chosen.warmup):
            progress.before('warm-up %d of %d' % (number + 1, chosen.warmup))
            checked(run_once(sides[0]), sides[0], chosen)
            progress.after('')
        for number, where in comparison.schedule(sides, chosen.pairs, chosen.seed):
            progress.before('pair %d of %d, side %s' % (number + 1, chosen.pairs,
                                                        where.key.upper()))
            compared.add(where, checked(run_once(where), where, chosen))
            second = len(compared.order) % 2 == 0
            progress.after('pair %d of %d' % (number + 1, chosen.pairs) if second else '')
    except KeyboardInterrupt:
        if compared.pairs == 0:
            raise
        tool.note('\nzgc-ab: interrupted; reporting the %d pairs that finished' % compared.pairs)
    finally:
        progress.close()
    return compared


def once_of(chosen, command):
    meter = not chosen.no_pauses
    if not chosen.serve:
        return lambda where: measure.once(command, where, meter, chosen.timeout)
    try:
        serve = shlex.split(chosen.serve)
        warmup = wrk.command(chosen.load_warmup) if chosen.load_warmup else None
    except ValueError as error:
        raise ToolError('--serve %r: %s' % (chosen.serve, error))
    plan = server.Plan(serve, chosen.ready, wrk.command(chosen.load), warmup,
                       chosen.ready_timeout, chosen.stop_timeout)
    return lambda where: server.once(plan, where, meter)


def main(argv):
    chosen, command = arguments(argv)
    sides = [side.make(key, text, functools.partial(library.find, chosen.lib))
             for key, text in (('a', chosen.a), ('b', chosen.b))]
    shown = chosen.serve or ' '.join(shlex.quote(word) for word in command)
    if chosen.serve:
        shown += '   under   ' + chosen.load
    compared = compare(chosen, sides, once_of(chosen, command))
    heading = '%s: %s against %s' % (os.path.basename(shlex.split(shown)[0]), sides[0].label,
                                     sides[1].label)
    if chosen.json:
        tool.write_text(chosen.json, abreport.as_json(compared, heading, shown))
    if chosen.html:
        tool.write_text(chosen.html, abreport.html(compared, heading, shown))
    if chosen.png:
        from . import pngplot       # the only place that wants matplotlib
        pngplot.draw(abreport.main_charts(compared), chosen.png, heading)
    if chosen.json != '-' and chosen.html != '-':
        print(abreport.terminal(compared, 'zgc-ab: ' + shown))
    return tool.OK
