"""What a suite needs: Debian packages, a virtual environment with packages from PyPI, the tests of
a source distribution."""

import glob
import os
import subprocess
import tarfile
import tempfile

from zgctools import tool

APT = 'apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends'.split()


def run(command, **how):
    tool.note(f'zgc-compat: {" ".join(command)}')
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **how)
    except (OSError, subprocess.CalledProcessError) as error:
        raise tool.ToolError(f'cannot install: {error}')


def install_debian(packages):
    run([*(['sudo'] if os.geteuid() != 0 else []), *APT, *packages.split()])


class Preparation:
    """Of one suite on one interpreter, below a state folder."""

    def __init__(self, name, suite, python, folder):
        self.name, self.suite, self.python = name, suite, python
        self.venv = os.path.join(folder, 'venv', python.name)   # of all its suites
        self.sources = os.path.join(folder, 'source', suite.source)
        self.stamp = os.path.join(self.venv, 'installed-' + name)

    def interpreter(self):
        """The interpreter that has the packages."""
        if self.uses_debian() or self.python.root:
            return self.python
        return self.python._replace(path=os.path.join(self.venv, 'bin', 'python'))

    def uses_debian(self):
        return self.python.is_debian and bool(self.suite.debian)

    def is_possible(self):
        """A suite from PyPI gets its virtual environment; in a chroot there is none."""
        if self.suite.minor not in (0, self.python.version[1]):
            return False
        return self.uses_debian() or bool(self.suite.pypi) and not self.python.root

    def source(self):
        """The unpacked distribution, '' when there is none."""
        found = glob.glob(os.path.join(self.sources, '*', ''))
        return found[0].rstrip('/') if found else ''

    def missing(self):
        """None, or what is not there."""
        if not self.uses_debian() and self.read_stamp() != self.wanted():
            return f'{self.suite.pypi} from PyPI'
        if self.interpreter().ask('-c', f'import {", ".join(self.suite.modules.split())}') is None:
            return f'modules {self.suite.modules} (Debian: {self.suite.debian or "none"})'
        if self.suite.source and not self.source():
            return f'the sources of {self.suite.source}'
        return None

    def wanted(self):
        return self.suite.pypi

    def read_stamp(self):
        try:
            with open(self.stamp) as f:
                return f.read()
        except OSError:
            return None

    def install(self):
        if self.uses_debian():
            install_debian(self.suite.debian)
        elif self.read_stamp() != self.wanted():
            self.install_venv()
        if self.suite.source and not self.source():
            self.unpack()

    def pip(self, *arguments):
        # From the top: pip takes a file of the current folder for a requirement of that name.
        run([os.path.join(self.venv, 'bin', 'python'), '-m', 'pip', '-q',
             '--disable-pip-version-check', *arguments], cwd='/', stderr=subprocess.DEVNULL)

    def install_venv(self):
        if not os.path.exists(os.path.join(self.venv, 'bin', 'python')):
            run([self.python.path, '-m', 'venv', self.venv])
        self.pip('install', *self.suite.pypi.split())
        with open(self.stamp, 'w') as f:
            f.write(self.wanted())

    def unpack(self):
        """Only the folders named: a package beside the tests would be imported in place of the
        installed one."""
        name = self.suite.source.partition('==')[0]
        with tempfile.TemporaryDirectory() as folder:
            self.pip('download', '--no-deps', '--no-binary', name, '-d', folder, self.suite.source)
            with tarfile.open(glob.glob(os.path.join(folder, '*.tar.gz'))[0]) as archive:
                wanted = tuple(self.suite.folders.split())
                members = [m for m in archive.getmembers() if (m.isfile() or m.isdir())
                           and is_below(m.name.partition('/')[2], wanted)
                           and '..' not in m.name.split('/') and not m.name.startswith('/')]
                archive.extractall(self.sources, members)


def is_below(path, folders):
    return any(path == f or path.startswith(f + '/') for f in folders)
