"""The wheel: built from this source, installed into an empty environment of each interpreter, used, and gone again.

It is built with a Python that has scikit-build-core: ZGC_WHEEL_PYTHON, or the one that scripts/setup keeps for this.
ZGC_WHEEL names a wheel that is there already. No network is used.
"""

import ast
import functools
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from toolcase import LIB, ROOT, ToolCase

sys.path.insert(0, os.path.join(ROOT, 'tests', 'support'))
import chroots  # noqa: E402
import runner  # noqa: E402

CACHE = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
BUILDER = os.environ.get('ZGC_WHEEL_PYTHON') or os.path.join(CACHE, 'zgcpreload', 'packaging', 'bin', 'python')
COMMANDS = ['zgc-ab', 'zgc-log', 'zgc-perf', 'zgc-run', 'zgc-stat', 'zgcpreload']
STUBS = os.path.join(ROOT, 'scripts', 'stubs', 'zgc-stubs', '__init__.pyi')

APP = '''
import gc, sys, zgc
class Node: pass
keep = [Node() for _ in range(30000)]
for node in keep: node.me = node
del keep, node
print(sys.prefix, zgc.status()["active"], zgc.__version__, gc.collect() >= 30000, *sys.argv[1:])
sys.exit(7)
'''

TYPED = '''
import zgc
class Vertex(zgc.Object):
    key: zgc.i64
    score: zgc.f64 = 0.5
vertex = Vertex(key=3)
reveal_type(vertex.key)
reveal_type(zgc.List([vertex])[0])
reveal_type(zgc.allocate(10, zgc.f64)[0])
zgc.census("never")
'''


def has_builder():
    return os.path.exists(BUILDER) and subprocess.run(
        [BUILDER, '-c', 'import scikit_build_core, pip'], stderr=subprocess.DEVNULL).returncode == 0


def requires_chroots(case):
    why = chroots.why_not() or (None if has_builder() else 'needs pip')
    return unittest.skipIf(why, why)(case)


def clean():
    """The environment of a user who has nothing of ours set."""
    return {key: value for key, value in os.environ.items()
            if key not in ('LD_PRELOAD', 'PYTHONPATH', 'VIRTUAL_ENV') and not key.startswith('ZGC_')}


@functools.cache
def the_wheel():
    """ZGC_WHEEL, or one that is built once for all tests here."""
    if os.environ.get('ZGC_WHEEL'):
        return os.environ['ZGC_WHEEL']
    folder = tempfile.TemporaryDirectory(prefix='zgc-wheel-')
    unittest.addModuleCleanup(folder.cleanup)
    return build_wheel(folder.name)


def build_wheel(folder):
    """Objects are kept beside the library under test, so that the next run compiles what has changed."""
    kept = os.path.join(os.path.dirname(LIB) if LIB else folder, 'wheel')
    done = subprocess.run(
        [BUILDER, '-m', 'pip', 'wheel', '--quiet', '--no-index', '--no-deps', '--no-build-isolation', '--wheel-dir',
         folder, ROOT],
        env={**clean(), 'CMAKE_BUILD_PARALLEL_LEVEL': str(os.cpu_count()), 'SKBUILD_BUILD_DIR': kept},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError('pip wheel: ' + done.stdout)
    return glob.glob(os.path.join(folder, '*.whl'))[0]


def files_below(folder):
    return sorted(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)


@unittest.skipUnless(os.environ.get('ZGC_WHEEL') or has_builder(),
                     'needs a Python with pip and scikit-build-core (scripts/setup makes %s)' % BUILDER)
class Wheel(ToolCase):

    @classmethod
    def setUpClass(cls):
        cls.wheel = the_wheel()
        cls.pythons = [python.path for python in runner.find_interpreters()[0]]
        if not cls.pythons:
            raise unittest.SkipTest('no CPython 3.11 or newer')

    def pip(self, *words):
        done = subprocess.run([BUILDER, '-m', 'pip', '--quiet', *words], env=clean(), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)

    def environment_of(self, python, name='venv'):
        venv = self.path(name)
        subprocess.run([python, '-m', 'venv', '--without-pip', '--clear', venv], check=True, env=clean())
        return venv

    def install(self, venv):
        self.pip('--python', venv + '/bin/python', 'install', '--no-index', '--no-deps', self.wheel)

    def call(self, *command, status=0, **extra):
        done = subprocess.run(command, env={**clean(), **extra}, cwd=self.dir, text=True, timeout=120,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def test_name(self):
        self.assertRegex(os.path.basename(self.wheel), r'^zgcpreload-[0-9.]+-py3-none-(many)?linux\w+\.whl$')

    def test_life_in_every_interpreter(self):
        self.write('app.py', APP)
        version = re.search(r'-([0-9.]+)-', os.path.basename(self.wheel)).group(1)
        for python in self.pythons:
            with self.subTest(python):
                venv = self.environment_of(python)
                empty = files_below(venv)
                self.install(venv)
                said = f'{venv} True {version} True --stats x\n'
                for run in ([venv + '/bin/zgcpreload', 'run'], [venv + '/bin/python', '-m', 'zgcpreload', 'run'],
                            [venv + '/bin/zgc-run', '--', venv + '/bin/python']):
                    self.assertEqual(self.call(*run, 'app.py', '--stats', 'x', status=7), said)
                self.assertRegex(self.call(venv + '/bin/zgcpreload', 'status'), '(?m)^active +yes$')
                self.pip('--python', venv + '/bin/python', 'uninstall', '--yes', 'zgcpreload')
                self.assertEqual(files_below(venv), empty)

    def test_commands(self):
        venv = self.environment_of(self.pythons[0])
        self.install(venv)
        there = set(os.listdir(venv + '/bin'))
        self.assertTrue(there.issuperset(COMMANDS), there)
        for command in COMMANDS:
            self.assertRegex(self.call(venv + '/bin/' + command, '--version'), rf'^{command} [0-9.]+\n$')
            self.assertIn('examples:', self.call(venv + '/bin/' + command, '--help'))
        self.assertIn('ZGC_TRIGGER', self.call(venv + '/bin/zgcpreload', 'options'))
        self.assertTrue(glob.glob(venv + '/lib/python*/site-packages/zgcpreload/py.typed'))
        library = self.call(venv + '/bin/zgcpreload', 'path').strip()
        self.assertTrue(library.startswith(venv) and os.path.isfile(library), library)
        self.assertEqual(self.call(venv + '/bin/python', '-c', 'import zgc; print(zgc.status()["active"])',
                                   LD_PRELOAD=library), 'True\n')
        shown = self.call(venv + '/bin/zgcpreload', 'run', '--trigger', '33', '--show', '-m', 'this', '-v')
        self.assertEqual(shown, f'LD_PRELOAD={library} ZGC_TRIGGER=33 {venv}/bin/python -m this -v\n')
        self.assertEqual(self.call(venv + '/bin/zgcpreload', 'run', '--show', 'python3', '-V')[-11:], 'python3 -V\n')

    def test_signals_reach_the_program(self):
        venv = self.environment_of(self.pythons[0])
        self.install(venv)
        program = subprocess.Popen(
            [venv + '/bin/zgcpreload', 'run', '-c', 'import os; print(os.getpid(), flush=True); input()'],
            env=clean(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with program:
            self.assertEqual(int(program.stdout.readline()), program.pid)       # it has become the program
            program.send_signal(signal.SIGTERM)
            self.assertEqual(program.wait(30), -signal.SIGTERM)

    def test_active_environment_goes_first(self):
        """As where zgcpreload has an environment of its own (pipx, uv tool)."""
        tools, venv = self.environment_of(self.pythons[0], 'tools'), self.environment_of(self.pythons[0])
        self.install(tools)
        ask = ['run', '-c', 'import sys, zgc; print(sys.prefix)']
        self.assertEqual(self.call(tools + '/bin/zgcpreload', *ask, VIRTUAL_ENV=venv), venv + '\n')
        self.assertEqual(self.call(tools + '/bin/zgcpreload', *ask), tools + '\n')
        self.assertEqual(self.call(tools + '/bin/python', '-m', 'zgcpreload', *ask, VIRTUAL_ENV=venv), tools + '\n')

    def test_status_says_why_not(self):
        venv = self.environment_of(self.pythons[0])
        self.install(venv)
        said = self.call(venv + '/bin/zgcpreload', 'status', status=1, ZGC_ENABLE='0')
        self.assertRegex(said, '(?m)^active +no: ZGC_ENABLE=0$')
        free = os.path.join(CACHE, 'zgcpreload', 'interpreters', 'freethreaded', 'bin', 'python3.13t')
        if os.path.exists(free):
            said = self.call(venv + '/bin/zgcpreload', 'status', '--python', free, status=1)
            self.assertRegex(said, '(?m)^active +no: .*free-threaded')

    def test_a_type_checker_understands_the_stubs(self):
        if subprocess.run([BUILDER, '-c', 'import mypy'], stderr=subprocess.DEVNULL).returncode:
            self.skipTest('needs mypy beside scikit-build-core')
        self.write('typed.py', TYPED)
        venv = self.environment_of(self.pythons[0])
        self.install(venv)
        done = subprocess.run([BUILDER, '-m', 'mypy', '--strict', '--python-executable', venv + '/bin/python',
                               '--cache-dir', self.path('cache'), 'typed.py'], cwd=self.dir, env=clean(), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        notes = re.findall(r'type is "(?:builtins\.)?(.*?)"', done.stdout)
        self.assertEqual(notes, ['int', 'typed.Vertex', 'float'], done.stdout)
        self.assertRegex(done.stdout, r'typed\.py:10: error: .*"census"')
        self.assertIn('Found 1 error', done.stdout)


# In a copy of a chroot: $1 the interpreter, $2 a folder with pip, the wheel and app.py. Compiled modules of Python's own
# library are not ours.
LIFE = """
set -eu
export PIP_QUIET=1 PIP_NO_CACHE_DIR=1 PIP_NO_INDEX=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
pip() { /opt/venv/bin/python -B "$@"; }
files() { find / -xdev -not -name '*.pyc' -not -name __pycache__ | sort; }
$1 -m venv --without-pip /opt/venv
files >/tmp/before
pip $2/pip install $2/*.whl
status=0
/opt/venv/bin/zgcpreload run $2/app.py --stats x || status=$?
/opt/venv/bin/zgcpreload status
pip $2/pip uninstall --yes zgcpreload
files | diff /tmp/before - | sed 's/^/left: /' >&2
exit $status
"""


@requires_chroots
class WheelInChroots(ToolCase):
    """Built on this machine, used with the interpreters of newer Debians."""

    @classmethod
    def setUpClass(cls):
        os.makedirs(os.path.join(ROOT, 'build'), exist_ok=True)     # seen in the chroots, where /tmp is not
        cls.folder = tempfile.mkdtemp(prefix='wheel-test-', dir=os.path.join(ROOT, 'build'))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        shutil.copy(the_wheel(), cls.folder)
        pip = subprocess.run([BUILDER, '-c', 'import pip; print(pip.__path__[0])'], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.strip()
        shutil.copytree(pip, os.path.join(cls.folder, 'pip'))
        with open(os.path.join(cls.folder, 'app.py'), 'w') as out:
            out.write(APP)

    def test_life(self):
        inside = os.path.join('/zgcpreload', os.path.relpath(self.folder, ROOT))
        for name, python in chroots.interpreters():
            with self.subTest(name + ' ' + python):
                done = chroots.run_in_copy(name, 'sh', '-c', LIFE, 'sh', python, inside, env=clean())
                self.assertEqual((done.returncode, done.stderr), (7, ''), done.stdout)
                self.assertRegex(done.stdout, r'^/opt/venv True [0-9.]+ True --stats x\n')
                self.assertRegex(done.stdout, '(?m)^active +yes$')
                binding = 'symbols' if 'shared/python' in python else 'table'
                self.assertRegex(done.stdout, f'(?m)^binding +{binding}')


class Stubs(ToolCase):

    def test_names_are_the_modules(self):
        from toolcase import ACTIVE, PYTHON
        if not ACTIVE:
            self.skipTest('needs the active library (ZGC_LIB)')
        said = subprocess.run([PYTHON, '-c', 'import zgc; zgc.allocate(1); print(dir(zgc))'], text=True,
                              env={**clean(), 'LD_PRELOAD': LIB}, stdout=subprocess.PIPE, check=True).stdout
        at_run_time = {name for name in ast.literal_eval(said) if not name.startswith('_')} | {'__version__'}
        with open(STUBS, encoding='utf-8') as source:
            body = ast.parse(source.read()).body
        declared = {node.name for node in body if hasattr(node, 'name')}
        declared |= {node.target.id for node in body if isinstance(node, ast.AnnAssign)}
        declared = {name for name in declared if not name.startswith('_')} | {'__version__'}
        self.assertLessEqual(at_run_time, declared)
        lazy = subprocess.run([PYTHON, '-c', 'import zgc; print([n for n in %r if not hasattr(zgc, n)])'
                               % sorted(declared)], text=True, env={**clean(), 'LD_PRELOAD': LIB},
                              stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(lazy, '[]\n')


if __name__ == '__main__':
    unittest.main()
