"""An interpreter to compare on, and how a process of it is started: by path, or by a command such
as `chroot DIR /usr/bin/python3.14`."""

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from typing import NamedTuple

from runner import MINORS, PROBE, clean_environment, find_interpreters

# Mounts that only the process sees and that go with it. $0: the root.
ENTER = '''mount --rbind /proc "$0/proc"
mount --rbind /dev "$0/dev"
exec chroot "$0" env -i -C "$@"'''


class Interpreter(NamedTuple):
    name: str               # of the folder that holds its results
    path: str               # inside the root
    version: tuple
    root: str               # of the chroot, '' without one
    settings: tuple = ()    # ((variable, value), ...) for both sides

    @property
    def is_debian(self):
        return not self.root and self.path.startswith('/usr/bin/')

    def environment(self):
        """What its tests may inherit."""
        return {**clean_environment(self.path), **dict(self.settings)}

    def scratch(self):
        """A new folder that its processes can see. Short names: tests bind sockets there, whose
        paths have 107 characters."""
        return tempfile.mkdtemp(prefix='zc-', dir=os.path.join(self.root, 'tmp') if self.root
                                else None)

    def inside(self, path):
        """A path below the root as a process inside sees it."""
        return path[len(self.root):] if self.root else path

    def library(self, lib, scratch):
        """Path of the library for a process inside."""
        return self.inside(shutil.copy(lib, scratch)) if self.root else lib

    def start(self, arguments, environment, folder):
        """Keywords for Popen. The environment is given inside the root: a library to preload is not
        to be found outside."""
        if not self.root:
            return {'args': [self.path, *arguments], 'env': environment, 'cwd': folder}
        settings = [f'{name}={value}' for name, value in environment.items()]
        return {'args': ['unshare', '--mount', '--propagation', 'private', 'sh', '-euc', ENTER,
                         self.root, self.inside(folder), *settings, self.path, *arguments],
                'env': {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}, 'cwd': '/'}

    def ask(self, *arguments, preload=None):
        """Output of the interpreter, or None when it fails."""
        scratch = self.scratch()
        try:
            environment = dict(self.environment(), TMPDIR=self.inside(scratch))
            if preload:
                environment['LD_PRELOAD'] = self.library(preload, scratch)
            done = subprocess.run(**self.start(arguments, environment, scratch),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired):
            return None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return done.stdout.strip() if done.returncode == 0 else None


def of_chroot(command):
    """(Interpreter, None) or (None, why not) for `chroot DIR PYTHON`."""
    words = shlex.split(command)
    if len(words) != 3 or os.path.basename(words[0]) != 'chroot':
        return None, 'neither a path nor "chroot DIR PYTHON"'
    root = os.path.realpath(words[1])
    answer = Interpreter('', words[2], (), root).ask('-c', PROBE) if os.path.isdir(root) else None
    if answer is None:
        return None, 'does not run'
    path, version, build, free_threaded = json.loads(answer)
    if free_threaded or tuple(version) < (3, MINORS[0]):
        return None, f'free-threaded, or older than 3.{MINORS[0]}'
    name = 'python{}.{}.{}-{}-{}'.format(*version, build, os.path.basename(root))
    return Interpreter(name, path, tuple(version), root), None


def with_settings(python, settings):
    """The same one, its tests run with these variables: its results are its own."""
    return python._replace(name='-'.join([python.name, *(f'{n}={v}' for n, v in settings)]),
                           settings=tuple(settings))


def find(names, settings=()):
    """The interpreters to use (all that are found, without names), and a line for each left out."""
    commands = [name for name in names or [] if ' ' in name]
    paths = [name for name in names or [] if ' ' not in name]
    found, skipped = [], []
    if paths or not commands:
        plain, skipped = find_interpreters(paths)
        found = [Interpreter(x.name, x.path, x.version, '') for x in plain]
    for command in commands:
        interpreter, why = of_chroot(command)
        if interpreter is None:
            skipped.append(f'{command} ({why})')
        else:
            found.append(interpreter)
    return [with_settings(x, settings) for x in found], skipped
