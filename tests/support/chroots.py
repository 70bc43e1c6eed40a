"""The chroots with newer Debians that scripts/zgc-chroots builds, for tests of what is installed."""

import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, 'scripts', 'zgc-chroots')


def built():
    """{name: (path, minor versions)} of what is there."""
    said = subprocess.run([SCRIPT, 'list'], text=True, check=True, stdout=subprocess.PIPE).stdout
    rows = [line.split() for line in said.splitlines() if 'not built' not in line]
    return {name: (path, versions) for name, path, _, *versions in rows}


def path_of(name):
    """Where a chroot is; None where it is not built."""
    return built().get(name, (None,))[0]


def why_not():
    """Why none can be used; None where one can."""
    if os.geteuid() != 0:
        return 'needs root, for chroots'
    return None if built() else 'needs chroots (scripts/zgc-chroots build)'


def interpreters():
    """(name, interpreter in that chroot): Debian's, and the shared ones."""
    for name, (path, versions) in built().items():
        for version in versions:
            for python in f'/usr/bin/python{version}', f'/opt/shared/python{version}', f'/opt/shared/symbolic{version}':
                if os.path.exists(path + python):
                    yield name, python


def run_in_copy(name, *command, env=None):
    return subprocess.run([SCRIPT, 'scratch', name, *command], env=env, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=200)
