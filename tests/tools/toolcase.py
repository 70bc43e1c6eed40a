"""Shared by the tests of the tools: run one as a user would, from somewhere else.

ZGC_LIB names the library; default: build/libzgcpreload.so of this repository. Tests that need it
are skipped without it. ZGC_PYTHON names the interpreter that runs the tools and the measured
programs, default: the one that runs the tests.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SCRIPTS = os.path.join(ROOT, 'scripts')
sys.path.insert(0, SCRIPTS)

PYTHON = os.environ.get('ZGC_PYTHON', sys.executable)


def find_library():
    path = os.environ.get('ZGC_LIB') or os.path.join(ROOT, 'build', 'libzgcpreload.so')
    return path if os.path.isfile(path) else None


def inert_library():
    """Something to preload that changes nothing: the C library itself."""
    with open('/proc/self/maps') as maps:
        found = re.search(r'(/\S*libc[.-]\S*)', maps.read())
    return found.group(1)


def is_active(library):
    """Whether the library works in PYTHON; the reason otherwise."""
    said = subprocess.run([PYTHON, '-c', 'import zgc; s = zgc.status(); '
                                         'print(s["active"], s["reason"])'],
                          env=dict(os.environ, LD_PRELOAD=library), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True).stdout
    return said.startswith('True')


LIB = find_library()
ACTIVE = LIB is not None and is_active(LIB)
requires_lib = unittest.skipUnless(ACTIVE, 'needs the active library (ZGC_LIB)')


def requires(*programs):
    absent = [program for program in programs if shutil.which(program) is None]
    return unittest.skipIf(absent, 'not installed: ' + ', '.join(absent))


class ToolCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='zgc-tools-')
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, content):
        """A file in the test's own directory."""
        with open(self.path(name), 'wb' if isinstance(content, bytes) else 'w') as out:
            out.write(content)
        return self.path(name)

    def run_tool(self, name, *arguments, env=None, timeout=120, scripts=SCRIPTS):
        """Runs a tool from the test's directory, not from the repository."""
        environment = {key: value for key, value in os.environ.items()
                       if key not in ('LD_PRELOAD', 'PYTHONPATH')}
        environment.update(env or {})
        return subprocess.run([PYTHON, os.path.join(scripts, name)] + list(map(str, arguments)),
                              cwd=self.dir, env=environment, timeout=timeout, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)

    def succeed(self, name, *arguments, **how):
        done = self.run_tool(name, *arguments, **how)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def refuse(self, name, *arguments, code=2, **how):
        """The tool ends with this code and one clear message; the message is returned."""
        done = self.run_tool(name, *arguments, **how)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn('Traceback', done.stderr)
        return done.stderr

    def assertNear(self, value, expected, share, floor=0.0):
        """Within a share of the expected value, or within `floor` of it."""
        self.assertLessEqual(abs(value - expected), max(abs(expected) * share, floor),
                             '%r is not within %g %% of %r' % (value, share * 100, expected))

    def assertSelfContained(self, html):
        """A page that needs nothing from elsewhere."""
        references = re.findall(r'(?:src|href)\s*=\s*["\']([^"\']*)|url\(([^)]*)\)|@import (\S+)',
                                html)
        self.assertEqual(references, [])
        self.assertEqual(re.findall(r'https?://\S+', html.replace('http://127.0.0.1', '')), [])
