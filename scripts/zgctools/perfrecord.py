"""Runs a program under perf with the settings that fit the machine and the interpreter.

A recording is a directory: perf.data, and for 3.13+ perf.jit.data with the symbols of Python
functions put in.
"""

import glob
import os
import shutil
import subprocess

from .tool import ToolError, note

DATA, WITH_JIT = 'perf.data', 'perf.jit.data'
STACK_BYTES = 16384         # of each stack that DWARF unwinding gets to see
PARANOID = '/proc/sys/kernel/perf_event_paranoid'


def require_perf():
    if shutil.which('perf') is None:
        raise ToolError('perf not found (Debian: apt install linux-perf; '
                        'Ubuntu: linux-tools-$(uname -r))')


def works(event):
    """Whether perf can sample this event here; (bool, what perf said)."""
    done = subprocess.run(
        ['perf', 'record', '-q', '-N', '-e', event, '-o', os.devnull, '--', 'true'],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode == 0, done.stdout.decode('utf-8', 'replace')


def choose_event():
    """Cycles where the machine counts them (not in most virtual machines), else the clock."""
    # perf falls back from cycles to cpu-clock by itself, but not in every version.
    counted = subprocess.run(['perf', 'stat', '-x,', '-e', 'cycles', '--', 'true'],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE).stderr
    if b'not supported' not in counted and b'not counted' not in counted:
        if works('cycles')[0]:
            return 'cycles'
    fine, said = works('cpu-clock')
    if fine:
        return 'cpu-clock'
    raise ToolError(not_permitted(said))


def not_permitted(said):
    try:
        with open(PARANOID) as source:
            level = int(source.read())
    except (OSError, ValueError):
        level = None
    if level is not None and level > 2 or 'ermission' in said or 'ermitted' in said:
        return ('perf is not permitted here (kernel.perf_event_paranoid = %s): run as root, '
                'or sysctl kernel.perf_event_paranoid=2; in a container it needs CAP_PERFMON'
                % level)
    lines = [line for line in said.splitlines() if line.strip()]
    return 'perf cannot sample here: %s' % (lines[0] if lines else 'no reason given')


class Method:
    """How stacks are walked, and whether Python functions show up in them."""

    def __init__(self, call_graph, settings, jit, about):
        self.call_graph = call_graph        # for perf record
        self.settings = settings            # for the program's environment
        self.jit = jit                      # symbols need perf inject
        self.about = about


def choose_method(python, wanted='auto'):
    """`python` is an Interpreter or None, `wanted` auto, fp or dwarf."""
    dwarf = 'dwarf,%d' % STACK_BYTES
    if python is None:
        return Method('fp' if wanted == 'fp' else dwarf, ['PYTHONPERFSUPPORT=1'], False,
                      'interpreter unknown: Python functions may be missing')
    name = 'Python %d.%d' % python.version
    if wanted == 'fp' or wanted == 'auto' and python.frame_pointers:
        about = name + ', frame pointers'
        if not python.frame_pointers:
            about += ' (this Python was built without them: stacks will be short)'
        if python.version < (3, 12):
            return Method('fp', [], False, about + '; Python functions show from 3.12 on')
        return Method('fp', ['PYTHONPERFSUPPORT=1'], False, about + ', Python functions')
    if python.version >= (3, 13):
        return Method(dwarf, ['PYTHON_PERF_JIT_SUPPORT=1'], True,
                      name + ', DWARF, Python functions')
    if python.version >= (3, 12):
        return Method(dwarf, ['PYTHONPERFSUPPORT=1'], False,
                      name + ', DWARF: stacks end at the innermost Python function (3.13, or a '
                             '3.12 built with frame pointers, shows all)')
    return Method(dwarf, [], False, name + ', DWARF: C functions only, Python functions show from '
                                           '3.12 on')


class Recording:
    def __init__(self, directory):
        self.directory = directory

    @property
    def data(self):
        """The file for perf script."""
        for name in (WITH_JIT, DATA):
            path = os.path.join(self.directory, name)
            if os.path.isfile(path):
                return path
        raise ToolError('no recording in %s' % self.directory)

    def record(self, command, environment, event, method, frequency):
        """Runs the command; its exit status (negative: signal) is returned."""
        data = os.path.join(self.directory, DATA)
        clock = ['-k', 'mono'] if method.jit else []
        perf = ['perf', 'record', '-q', '-N', '-F', str(frequency), '-e', event, '--call-graph',
                method.call_graph] + clock + ['-o', data]
        # env(1) in between, so that perf itself does not run under the preload.
        done = subprocess.run(perf + ['--', 'env'] + settings_for_env(environment) + command)
        self.check(data)
        if method.jit:
            self.inject(data)
        return done.returncode

    def attach(self, pid, seconds, event, frequency):
        data = os.path.join(self.directory, DATA)
        done = subprocess.run(['perf', 'record', '-q', '-N', '-F', str(frequency), '-e', event,
                               '--call-graph', 'dwarf,%d' % STACK_BYTES, '-o', data, '-p',
                               str(pid), '--', 'sleep', '%g' % seconds],
                              stderr=subprocess.PIPE)
        said = done.stderr.decode('utf-8', 'replace')
        if done.returncode:
            raise ToolError(not_permitted(said) if 'ermi' in said else
                            'perf record failed: ' + said.strip())
        self.check(data)

    @staticmethod
    def check(data):
        if not os.path.isfile(data) or not os.path.getsize(data):
            raise ToolError('perf left no recording')

    def inject(self, data):
        """Turns the jit dumps of the program into symbols; without them the recording stays
        usable, with unnamed Python functions."""
        whole = os.path.join(self.directory, WITH_JIT)
        done = subprocess.run(['perf', 'inject', '--jit', '-i', data, '-o', whole],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            note('zgc-perf: perf inject failed, Python functions stay unnamed: '
                 + done.stdout.decode('utf-8', 'replace').strip())
            if os.path.exists(whole):
                os.unlink(whole)


def settings_for_env(settings):
    """NAME=VALUE as they are, NAME as an unset, in the words of env(1)."""
    unset = [word for setting in settings if '=' not in setting for word in ('-u', setting)]
    return unset + [setting for setting in settings if '=' in setting]


def clean_up(pids):
    """Removes what the interpreters and perf inject left in /tmp for these processes."""
    for pid in pids:
        for pattern in ('/tmp/perf-%d.map', '/tmp/jit-%d.dump', '/tmp/jitted-%d-*.so'):
            for path in glob.glob(pattern % pid):
                try:
                    os.unlink(path)
                except OSError:
                    pass
