"""zgc-perf: the command."""

import os
import shlex
import signal
import subprocess
import tempfile
import time

from . import (collapsed, flamegraph, flamesvg, gclog, interpreter, library, logstats, pauseview, perfrecord,
               perfscript, probes, side, stacktree, tool, units)
from .texttable import Table
from .tool import ToolError, note

EXAMPLES = [
    'zgc-perf flame -o flame.html -- python3 app.py       run, record, draw',
    'zgc-perf record -o app.perf -- python3 app.py        only record',
    'zgc-perf flame app.perf -o flame.html                draw a recording',
    'zgc-perf flame --pid 4242 --seconds 10               a running process',
    'zgc-perf flame heap.pb.gz.live.collapsed             an allocation profile (ZGC_PROFILE)',
    'zgc-perf pauses -- python3 app.py                    every pause, by probes or from the log',
]
USAGE = ['record|flame|pauses [options] -- command [argument ...]',
         'record|flame|pauses [options] --pid PID', 'flame [options] RECORDING']
SUMMARY = ('See where a program under the preload spends its time (perf) and how long it stands '
           'still (USDT probes).\nCollector threads are kept apart from program threads.')


def arguments(argv):
    own, command = tool.split_command(argv)
    parser = tool.parser('zgc-perf', USAGE, SUMMARY, EXAMPLES)
    parser.add_argument('action', choices=['record', 'flame', 'pauses'])
    parser.add_argument('recording', nargs='?', help='flame: a directory made by record, or stacks of an allocation '
                             'profile (*.collapsed)')
    parser.add_argument('-o', '--output', metavar='PATH',
                        help='record: directory (zgc-perf-<time>); flame: an HTML file, or a still '
                             'picture where the name ends in .svg (flame.html)')
    parser.add_argument('--folded', metavar='FILE', help='flame: the stacks as lines of text')
    parser.add_argument('--short', action='store_true',
                        help='flame: without the functions of C and of the kernel')
    parser.add_argument('--freq', type=int, default=499, help='samples per second (499)')
    parser.add_argument('--call-graph', choices=['auto', 'fp', 'dwarf'], default='auto',
                        help='how stacks are walked; auto asks the interpreter')
    parser.add_argument('--pid', type=int, help='watch a running process instead of a command')
    parser.add_argument('--seconds', type=float, default=10, help='with --pid: how long (10)')
    parser.add_argument('--source', choices=['auto', 'probes', 'log'], default='auto',
                        help='pauses: where they come from')
    parser.add_argument('--json', metavar='FILE', help="pauses: '-' for standard output")
    parser.add_argument('--html', metavar='FILE', help='pauses: a page with a plot')
    parser.add_argument('--set', action='append', default=[], metavar='ZGC_X=VALUE',
                        help='an option of the library; may be repeated')
    parser.add_argument('--stock', action='store_true', help='run without the preload')
    parser.add_argument('--lib', metavar='PATH', help='the library')
    chosen = parser.parse_intermixed_args(own)
    check(parser, chosen, command)
    return chosen, command


def check(parser, chosen, command):
    given = [thing for thing in (command, chosen.pid, chosen.recording) if thing]
    if len(given) != 1:
        parser.error('exactly one of: a command after --, --pid PID%s'
                     % (', a recording' if chosen.action == 'flame' else ''))
    if chosen.recording and chosen.action != 'flame':
        parser.error('a recording is for flame; put the command after --')
    if not 1 <= chosen.freq <= 20000:
        parser.error('--freq must be from 1 to 20000')
    if chosen.pid is not None and not os.path.exists('/proc/%d' % chosen.pid):
        raise ToolError('no process %d' % chosen.pid)
    if chosen.action != 'record':   # whose output is a directory that it makes
        tool.check_outputs(chosen.output, chosen.folded, chosen.json, chosen.html)


def settings_of(chosen):
    if chosen.stock:
        return side.make('a', 'stock', None).settings
    wanted = ' '.join(shlex.quote(setting) for setting in chosen.set)
    return side.make('set', wanted, lambda: library.find(chosen.lib)).settings


def exit_code(status):
    """The program's own status, as a shell would give it."""
    if status:
        note('zgc-perf: the program ended with %s' % (
            'signal ' + signal.Signals(-status).name if status < 0 else 'status %d' % status))
    return 128 - status if status < 0 else status


def make_recording(chosen, command, directory):
    """(Recording, status of the program, how it was made)."""
    perfrecord.require_perf()
    event = perfrecord.choose_event()
    recording = perfrecord.Recording(directory)
    if chosen.pid is not None:
        recording.attach(chosen.pid, chosen.seconds, event, chosen.freq)
        return recording, 0, 'pid %d for %g s, %s, DWARF' % (chosen.pid, chosen.seconds, event)
    method = perfrecord.choose_method(interpreter.behind(command), chosen.call_graph)
    status = recording.record(command, settings_of(chosen) + method.settings, event, method,
                              chosen.freq)
    return recording, status, '%s, %d Hz, %s' % (event, chosen.freq, method.about)


def record(chosen, command):
    directory = chosen.output or time.strftime('zgc-perf-%Y%m%d-%H%M%S')
    try:
        os.makedirs(directory)
    except FileExistsError:
        raise ToolError('%s exists already; name another with -o' % directory)
    except OSError as error:
        raise ToolError('cannot make %s: %s' % (directory, error.strerror))
    try:
        recording, status, how = make_recording(chosen, command, directory)
    except ToolError:
        if not os.listdir(directory):
            os.rmdir(directory)
        raise
    print('recorded: %s\n%s\nnext: zgc-perf flame %s -o flame.html\n      perf report -i %s'
          % (how, directory, directory, recording.data))
    return exit_code(status)


def flame(chosen, command):
    if chosen.recording and chosen.recording.endswith(collapsed.SUFFIX):
        return draw_profile(chosen)
    if chosen.recording:
        recording = perfrecord.Recording(chosen.recording)
        title, status, how = os.path.basename(chosen.recording.rstrip('/')), 0, chosen.recording
        return draw(chosen, recording, title, how)
    with tempfile.TemporaryDirectory(prefix='zgc-perf-') as directory:
        recording, status, how = make_recording(chosen, command, directory)
        title = ('pid %d' % chosen.pid if not command
                 else ' '.join([os.path.basename(command[0])] + command[1:]))
        code = draw(chosen, recording, title, how)
    return exit_code(status) or code


def draw(chosen, recording, title, how):
    tree = stacktree.StackTree(perfscript.read(recording.data), chosen.short)
    if not tree.samples:
        raise ToolError('no samples: the program used next to no CPU time (%d Hz)' % chosen.freq,
                        tool.MISSED)
    if not chosen.recording:
        perfrecord.clean_up(tree.pids)
    return write(chosen, tree, title, how)


def draw_profile(chosen):
    tree = collapsed.read(chosen.recording, chosen.short)
    if not tree.root.weight:
        raise ToolError('no samples in %s: the program allocated less than the sampling rate'
                        % chosen.recording, tool.MISSED)
    return write(chosen, tree, os.path.basename(chosen.recording), 'allocation profile')


def write(chosen, tree, title, how):
    path = chosen.output or 'flame.html'
    drawn = flamesvg.svg if path.endswith('.svg') else flamegraph.html
    tool.write_text(path, drawn(tree, title, how))
    if chosen.folded:
        tool.write_text(chosen.folded, '\n'.join(tree.folded()) + '\n')
    print(describe(tree, how))
    print('\nopen %s' % path)
    return tool.OK


def describe(tree, how):
    """CPU time per group of threads and the functions at the top of the stacks."""
    parts = ['recorded: ' + how, flamegraph.sentence(tree)]
    for group in tree.self_weights:
        top = tree.top(group, 8)
        if top:
            table = Table(group + ', innermost functions', '>own', '>share')
            for name, weight in top:
                table.row(name[:70], flamegraph.amount(tree, weight),
                          units.percent(weight / tree.root.weight))
            parts.append('\n' + str(table))
    return '\n'.join(parts)


def pauses(chosen, command):
    why = None
    if chosen.stock:
        path = interpreter.program_of(command)
        if not probes.has_probe(os.path.realpath(path), 'python', 'gc__start'):
            raise ToolError("%s has no gc__start probe (Debian's python3 has): --stock cannot be "
                            'watched here; zgc-ab times stock pauses' % path)
        watched, status = by_probes(chosen, command, os.path.realpath(path), probes.STOCK)
        return show_pauses(chosen, command, watched, status)
    if chosen.source != 'log':
        found = library.find(chosen.lib)
        why = probes.missing(found)
        if why is None:
            watched, status = by_probes(chosen, command, found, probes.PROGRAM)
            return show_pauses(chosen, command, watched, status)
        if chosen.source == 'probes':
            raise ToolError(why)
    if chosen.pid is not None:
        raise ToolError('%s; without probes only a command can be watched'
                        % (why or 'the log of a running process is not known here'))
    watched, status = by_log(chosen, command, why)
    return show_pauses(chosen, command, watched, status)


def run_command(chosen, command, more=()):
    try:
        return subprocess.run(['env'] + perfrecord.settings_for_env(
            settings_of(chosen) + list(more)) + command).returncode
    except OSError as error:
        raise ToolError('cannot run %s: %s' % (command[0], error.strerror))


def by_probes(chosen, command, path, script):
    if probes.missing(path) and script is probes.PROGRAM:
        raise ToolError(probes.missing(path))
    watcher = probes.Watcher(path, script)
    try:
        if chosen.pid is not None:
            watcher.only = chosen.pid
            time.sleep(chosen.seconds)
            status = 0
        else:
            status = run_command(chosen, command)
    finally:
        watched = watcher.stop()
    watched.source = 'USDT probes of %s, timed by the kernel%s' % (os.path.basename(path),
                                                                   watched.source)
    return watched, status


def by_log(chosen, command, why):
    with tempfile.TemporaryDirectory(prefix='zgc-perf-') as directory:
        path = os.path.join(directory, 'gc.log')
        status = run_command(chosen, command, ['ZGC_LOG=' + path, 'ZGC_LOG_LEVEL=debug'])
        files = [os.path.join(directory, name) for name in os.listdir(directory)]
        if not files:
            raise ToolError('the program left no GC log: not a Python, or the library is not '
                            'active there')
        stats = logstats.Stats(gclog.read(files))
    watched = probes.Watched()
    for _, _, name, seconds in stats.pause_list():
        watched.add(name.rpartition('Pause ')[2].lower(), round(seconds * 1e9))
    for process in stats.log.processes:
        if process.young_pauses.count:
            watched.kinds.setdefault('young', process.young_pauses.__class__()).merge(
                process.young_pauses)
    watched.source = 'the GC log at debug level' + (' (%s)' % why if why else '')
    return watched, status


def show_pauses(chosen, command, watched, status):
    what = ' '.join(command) if command else 'pid %d' % chosen.pid
    if chosen.json:
        tool.write_text(chosen.json, pauseview.as_json(watched))
    if chosen.html:
        tool.write_text(chosen.html, pauseview.html(watched, what))
    if '-' not in (chosen.json, chosen.html):
        print(pauseview.terminal(watched))
    return exit_code(status)


ACTIONS = {'record': record, 'flame': flame, 'pauses': pauses}


def main(argv):
    chosen, command = arguments(argv)
    return ACTIONS[chosen.action](chosen, command)
