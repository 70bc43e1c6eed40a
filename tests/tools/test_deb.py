"""The Debian package: built, looked at, installed into a copy of each chroot, used, and removed again."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from test_install import CMAKE, TOOLS
from toolcase import LIB, ROOT, ToolCase, requires_lib

sys.path.insert(0, os.path.join(ROOT, 'tests', 'support'))
import chroots  # noqa: E402

CPACK = CMAKE and os.path.join(os.path.dirname(CMAKE), 'cpack')

# In a copy of a chroot: $1 the package, $2 a program.
LIFE = """
set -eu
export DEBIAN_FRONTEND=noninteractive
files() { find / -xdev -not -name '*.pyc' -not -name __pycache__ -not -path '/var/l*' | sort; }
files >/tmp/before
dpkg --install "$1" >/tmp/log 2>&1 || { cat /tmp/log >&2; exit 1; }
status=0
zgcpreload run "$2" --stats x || status=$?
zgcpreload path
zgcpreload status
dpkg --purge zgcpreload >/tmp/log 2>&1 || { cat /tmp/log >&2; exit 1; }
files | diff /tmp/before - | sed 's/^/left: /' >&2
exit $status
"""

APP = 'import sys, zgc; print(zgc.status()["active"], zgc.__version__, *sys.argv[1:]); sys.exit(7)'


def call(*command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise AssertionError(f'{command[0]}: {done.stdout}')
    return done.stdout


@unittest.skipUnless(CPACK and os.path.exists(CPACK) and shutil.which('dpkg-shlibdeps'),
                     'needs cpack, dpkg-shlibdeps (dpkg-dev) and the build folder of the library')
@requires_lib
class Deb(ToolCase):

    @classmethod
    def setUpClass(cls):
        # In the source tree: it is seen in the chroots.
        os.makedirs(os.path.join(ROOT, 'build'), exist_ok=True)
        cls.folder = tempfile.mkdtemp(prefix='deb-test-', dir=os.path.join(ROOT, 'build'))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        call(CPACK, '-G', 'DEB', '--config', os.path.join(os.path.dirname(LIB), 'CPackConfig.cmake'), '-B', cls.folder)
        cls.package, = (os.path.join(cls.folder, name) for name in os.listdir(cls.folder) if name.endswith('.deb'))

    def test_name_and_fields(self):
        self.assertRegex(os.path.basename(self.package), r'^zgcpreload_[0-9.]+_[a-z0-9]+\.deb$')
        fields = dict(re.findall(r'(?m)^(\S+): (.*)$', call('dpkg-deb', '--field', self.package)))
        self.assertRegex(fields['Depends'], r'^libc6 \(>= [0-9.]+\)$')         # libunwind and Python are optional
        self.assertRegex(call('dpkg-deb', '--info', self.package), r'(?m)^ Package: zgcpreload$')
        self.assertNotIn('conffiles', call('dpkg-deb', '--info', self.package))

    def test_contents(self):
        listed = call('dpkg-deb', '--contents', self.package)
        for path in [f'usr/bin/{tool}' for tool in TOOLS] + [
                'usr/bin/zgcpreload', 'usr/share/doc/zgcpreload/copyright', 'usr/share/doc/zgcpreload/changelog.gz',
                'usr/share/zgcpreload/zgctools/tool.py', 'usr/share/bash-completion/completions/zgcpreload']:
            self.assertRegex(listed, rf'(?m) \./{path}$')
        self.assertRegex(listed, r'(?m) \./usr/lib/\S*libzgcpreload\.so$')
        self.assertRegex(listed, r'(?m) \./usr/lib/\S*zgcpreload\.pc$')
        for line in listed.splitlines():
            self.assertRegex(line, r'^[d-]rw[x-]r-[x-]r-[x-] root/root ')
        self.assertNotIn('__pycache__', listed)
        if shutil.which('help2man'):
            self.assertRegex(listed, r'(?m) \./usr/share/man/man1/zgcpreload\.1\.gz$')

    @unittest.skipUnless(shutil.which('lintian'), 'needs lintian')
    def test_lintian(self):
        done = subprocess.run(['lintian', '--allow-root', '--fail-on', 'error', self.package], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)

    @unittest.skipIf(chroots.why_not(), chroots.why_not())
    def test_life_in_chroots(self):
        with open(os.path.join(self.folder, 'app.py'), 'w') as out:
            out.write(APP)
        inside = [os.path.join('/zgcpreload', os.path.relpath(path, ROOT))
                  for path in (self.package, os.path.join(self.folder, 'app.py'))]
        environment = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': os.environ.get('HOME', '/root')}
        for name in chroots.built():
            with self.subTest(name):
                done = chroots.run_in_copy(name, 'sh', '-c', LIFE, 'sh', *inside, env=environment)
                self.assertEqual((done.returncode, done.stderr), (7, ''), done.stdout)
                self.assertRegex(done.stdout, r'^True [0-9.]+ --stats x\n/usr/lib/\S*libzgcpreload.so\n')
                self.assertRegex(done.stdout, '(?m)^active +yes$')


if __name__ == '__main__':
    unittest.main()
