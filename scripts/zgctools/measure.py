"""Runs a command once on one side and returns what it used."""

import ast
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from . import pausefile, proctree
from .tool import ToolError

LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'launcher.py')
SAMPLE_SECONDS = 0.1


class Run:
    """`values` are the metrics; None or absent means not measured."""

    def __init__(self):
        self.values = {}
        self.status = None
        self.output = None       # digest of standard output
        self.errors = ''         # tail of standard error
        self.pauses = None


class Workspace:
    """A directory for one run; in memory if possible, so that the meter's mapping is not written
    back to a disk while the program runs."""

    def __enter__(self):
        place = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
        self.path = tempfile.mkdtemp(prefix='zgc-ab-', dir=place)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name):
        return os.path.join(self.path, name)


class Launched:
    """The launcher with the command below it, in a session of its own."""

    def __init__(self, command, side, work, meter):
        settings = list(side.settings)
        if meter:
            settings += pausefile.settings(work.path)
        self.report = work.file('report')
        self.out, self.err = work.file('stdout'), work.file('stderr')
        with open(self.out, 'wb') as out, open(self.err, 'wb') as err:
            self.process = subprocess.Popen(
                [sys.executable, '-I', '-S', LAUNCHER, self.report, str(len(settings))]
                + settings + command,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)

    def pids(self):
        return proctree.members(self.process.pid)[1:]

    def signal_command(self, number):
        """The command itself, not its children: a server stops its workers on its own."""
        for pid in self.pids()[:1]:
            os.kill(pid, number)

    def kill(self):
        for pid in [self.process.pid] + self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def said(self):
        """The launcher's report, after its end."""
        try:
            with open(self.report, encoding='utf-8') as source:
                return ast.literal_eval(source.read())
        except (OSError, SyntaxError, ValueError):
            return {'error': 'the launcher ended without a report'}

    def refused_library(self):
        """What the dynamic linker says of a library that it cannot load; the program runs on
        without it, which must not pass for a measurement."""
        with open(self.err, encoding='utf-8', errors='replace') as source:
            for line in source:
                if 'cannot be preloaded' in line:
                    return line.strip()
        return None

    def tail(self, lines=12):
        with open(self.err, encoding='utf-8', errors='replace') as source:
            return ''.join(source.readlines()[-lines:]).strip()


class TreeSampler(threading.Thread):
    """Peak of the summed RSS of a process tree, if it ever has more than one member."""

    def __init__(self, launched):
        super().__init__(daemon=True)
        self.launched = launched
        self.peak = None
        self.done = threading.Event()

    def run(self):
        while not self.done.wait(SAMPLE_SECONDS):
            pids = self.launched.pids()
            if len(pids) > 1 or self.peak is not None:
                self.peak = max(self.peak or 0, proctree.resident(pids))


def digest(path):
    whole = hashlib.sha256()
    with open(path, 'rb') as source:
        for block in iter(lambda: source.read(1 << 20), b''):
            whole.update(block)
    return whole.hexdigest()


def finish(run, launched, command):
    """Fills in what the launcher and the meter know at the end of the command."""
    said = launched.said()
    if 'error' in said:
        raise ToolError('cannot run %s: %s' % (command[0], said['error']))
    refused = launched.refused_library()
    if refused:
        raise ToolError(refused)
    run.status = said['status']
    run.output = digest(launched.out)
    run.errors = launched.tail()
    run.values['rss'] = said['rss']
    return said


def add_pauses(run, work):
    run.pauses = pauses = pausefile.read(work.path)
    if pauses.processes:
        run.values['pause_max'] = pauses.longest
        p999 = pauses.histogram.percentile(0.999)
        run.values['pause_p999'] = p999 / 1e9 if p999 is not None else 0.0
        run.values['pause_total'] = pauses.histogram.total / 1e9


def once(command, side, meter=True, timeout=None):
    with Workspace() as work:
        launched = Launched(command, side, work, meter)
        sampler = TreeSampler(launched)
        sampler.start()
        try:
            launched.process.wait(timeout)
        except subprocess.TimeoutExpired:
            launched.kill()
            raise ToolError('%s did not end within %g s on side %s'
                            % (command[0], timeout, side.key.upper()))
        except BaseException:
            launched.kill()
            raise
        finally:
            sampler.done.set()
            sampler.join()
        run = Run()
        said = finish(run, launched, command)
        run.values['wall'] = said['wall']
        run.values['cpu'] = said['user'] + said['system']
        for name in ('minor_faults', 'major_faults', 'waits', 'preemptions'):
            run.values[name] = said[name]
        if sampler.peak is not None:
            run.values['tree_rss'] = sampler.peak
        if meter:
            add_pauses(run, work)
        return run


def describe_status(status):
    """'exit status 3', 'signal SIGSEGV'; None when all went well."""
    if os.WIFSIGNALED(status):
        return 'signal ' + signal.Signals(os.WTERMSIG(status)).name
    code = os.WEXITSTATUS(status)
    return None if code == 0 else 'exit status %d' % code
