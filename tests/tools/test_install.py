"""Every tool: help, any directory, installed by `cmake --install` under a prefix that then moves."""

import glob
import gzip
import json
import os
import re
import shutil
import subprocess
import unittest

from toolcase import LIB, PYTHON, ROOT, SCRIPTS, ToolCase, requires_lib

TOOLS = ['zgc-ab', 'zgc-log', 'zgc-perf', 'zgc-run', 'zgc-stat']
OURS = ['zgc-chroots', 'zgc-compat', 'zgc-interpreters']        # for the source tree only


class Help(ToolCase):
    def test_help_has_an_example(self):
        there = sorted(name for name in os.listdir(SCRIPTS) if name.startswith('zgc-'))
        self.assertEqual(there, sorted(TOOLS + OURS))
        for tool in TOOLS + ['zgc-compat']:
            with self.subTest(tool):
                said = self.succeed(tool, '--help')
                self.assertRegex(said, r'examples:\n  (\S+=\S+ )*' + tool)

    def test_nonsense_is_refused_in_a_line(self):
        for tool in TOOLS:
            with self.subTest(tool):
                # Past what the tool needs at least.
                words = {'zgc-perf': ['flame'], 'zgc-log': ['f']}.get(tool, [])
                said = self.refuse(tool, '--no-such-option', *words)
                self.assertIn('--no-such-option', said.splitlines()[-1])


def cached(variable):
    """A variable of the build that made LIB; None without one."""
    try:
        with open(os.path.join(os.path.dirname(LIB), 'CMakeCache.txt'), encoding='utf-8') as cache:
            found = re.search(r'^%s:\w+=(.*)$' % variable, cache.read(), re.MULTILINE)
    except (OSError, TypeError):
        return None
    return found and found.group(1)


CMAKE = cached('CMAKE_COMMAND')


@unittest.skipUnless(CMAKE, 'needs the build folder of the library')
@requires_lib
class Installed(ToolCase):
    """bin/zgc-*, bin/zgcpreload, share/zgcpreload/zgctools, lib/libzgcpreload.so, libexec/zgcpreload/zgc-options."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls('test_every_tool_starts')
        ToolCase.setUp(case)
        cls.addClassCleanup(case.doCleanups)
        first = case.path('first')
        done = subprocess.run([CMAKE, '--install', os.path.dirname(LIB), '--prefix', first],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise AssertionError('cmake --install: ' + done.stdout)
        # A package is built in one place and unpacked in another.
        cls.prefix = case.path('elsewhere')
        os.rename(first, cls.prefix)
        cls.bin = os.path.join(cls.prefix, 'bin')
        cls.links = case.path('links')
        os.mkdir(cls.links)
        for tool in TOOLS + ['zgcpreload']:
            os.symlink(os.path.join(cls.bin, tool), os.path.join(cls.links, tool))

    def setUp(self):
        super().setUp()
        self.alone = {'ZGC_LIB': ''}        # nothing but the prefix tells where the library is

    def test_every_tool_starts(self):
        self.assertEqual(sorted(os.listdir(self.bin)), TOOLS + ['zgcpreload'])
        for place in (self.bin, self.links):
            for tool in TOOLS + ['zgcpreload']:
                with self.subTest(tool):
                    self.assertRegex(self.succeed(tool, '--version', scripts=place, env=self.alone),
                                     rf'^{tool} \d+\.\d+')
                    self.assertIn('examples:', self.succeed(tool, '--help', scripts=place,
                                                            env=self.alone))

    def test_nothing_of_the_build_is_named(self):
        for path in glob.glob(os.path.join(self.prefix, '**'), recursive=True):
            if os.path.isfile(path):
                with open(path, 'rb') as source:
                    text = source.read()
                for folder in os.path.dirname(LIB), ROOT + '/collector':
                    self.assertNotIn(folder.encode(), text, path)

    def test_texts(self):
        documents = os.path.join(self.prefix, 'share', 'doc', 'zgcpreload')
        self.assertLessEqual({'LICENSE', 'NOTICE', 'README.md', 'docs'}, set(os.listdir(documents)))
        if shutil.which('help2man'):
            for tool in TOOLS + ['zgcpreload']:
                page = os.path.join(self.prefix, 'share', 'man', 'man1', tool + '.1.gz')
                with gzip.open(page, 'rt') as source:
                    self.assertIn('examples', source.read(), page)

    def test_completion(self):
        file = os.path.join(self.prefix, 'share', 'bash-completion', 'completions', 'zgcpreload')

        def offered(*words):
            script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _zgc "$1"; echo "${COMPREPLY[@]}"'
            return subprocess.run(['bash', '-c', script, 'bash', file, *words], text=True, check=True, cwd=self.dir,
                                  env={**os.environ, **self.alone}, stdout=subprocess.PIPE).stdout.split()
        command = os.path.join(self.bin, 'zgcpreload')
        self.assertEqual(offered(command, 'st'), ['status', 'stat'])
        self.assertEqual(offered(command, 'run', '--trig'), ['--trigger'])
        self.assertEqual(offered(os.path.join(self.bin, 'zgc-log'), '--fol'), ['--follow'])
        self.write('app.py', '')
        self.assertEqual(offered(command, 'run', 'ap'), ['app.py'])

    def test_pkg_config_finds_the_library(self):
        where = glob.glob(os.path.join(self.prefix, 'lib*', '**', 'pkgconfig'), recursive=True)
        said = subprocess.run(['pkg-config', '--variable=library', 'zgcpreload'], text=True, check=True,
                              env=dict(os.environ, PKG_CONFIG_PATH=where[0]), stdout=subprocess.PIPE).stdout
        self.assertTrue(os.path.samefile(said.strip(), glob.glob(
            os.path.join(self.prefix, 'lib*', '**', 'libzgcpreload.so'), recursive=True)[0]))

    def test_run(self):
        said = self.succeed('zgc-run', '--trigger', 33, '--', PYTHON, '-c',
                            'import zgc; s = zgc.status(); print(s["active"], s["options"])',
                            scripts=self.links, env=self.alone)
        self.assertRegex(said, r"^True .*33")
        shown = self.succeed('zgc-run', '--show', '--', PYTHON, scripts=self.bin, env=self.alone)
        self.assertIn(self.prefix, shown)

    def test_zgcpreload(self):
        program = self.write('app.py', 'import sys, zgc; print(zgc.status()["active"], sys.argv[1:])')
        said = self.succeed('zgcpreload', 'run', '--young', 500, program, '--young', 7, scripts=self.links,
                            env=self.alone)
        self.assertEqual(said, "True ['--young', '7']\n")
        self.assertIn(self.prefix, self.succeed('zgcpreload', 'path', scripts=self.links, env=self.alone))
        self.assertIn('ZGC_YOUNG', self.succeed('zgcpreload', 'options', scripts=self.bin, env=self.alone))
        said = self.succeed('zgcpreload', 'status', '--json', scripts=self.bin, env=self.alone)
        self.assertTrue(json.loads(said)['zgc']['active'])

    def test_ab(self):
        said = self.succeed('zgc-ab', '-n', 1, '--warmup', 0, '--html', 'r.html', '--', PYTHON,
                            '-c', 'import gc; gc.collect()', scripts=self.links, env=self.alone)
        self.assertRegex(said, r'longest GC pause +\S')
        self.assertNotIn('NOT ACTIVE', said)
        with open(self.path('r.html'), encoding='utf-8') as source:
            self.assertSelfContained(source.read())

    def test_log(self):
        self.succeed('zgc-run', '--log', 'gc.log', '--', PYTHON, '-c', 'import gc; gc.collect()',
                     scripts=self.bin, env=self.alone)
        said = self.succeed('zgc-log', '--html', 'l.html', 'gc.log', scripts=self.links)
        self.assertRegex(said, r'System.gc +1 ')

    def test_stat(self):
        self.assertIn('no process', self.refuse('zgc-stat', 4194999, scripts=self.links))
        program = subprocess.Popen(
            [os.path.join(self.bin, 'zgc-run'), '--', PYTHON, '-c',
             'import zgc; zgc.collect(); print("ready", flush=True); input()'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **self.alone})
        with program:
            program.stdout.readline()
            said = self.succeed('zgc-stat', '--list', scripts=self.links)
            program.communicate('\n')
        self.assertRegex(said, rf'(?m)^ *{program.pid}\b')

    def test_perf(self):
        done = self.run_tool('zgc-perf', 'pauses', '--source', 'log', '--', PYTHON, '-c',
                             'import gc; gc.collect()', scripts=self.links, env=self.alone)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r'full +1 ')

    def test_a_prefix_without_the_library(self):
        copy = self.path('copy')
        shutil.copytree(self.prefix, copy)
        for path in glob.glob(os.path.join(copy, 'lib*', '**', 'libzgcpreload.so'), recursive=True):
            os.unlink(path)
        said = self.refuse('zgc-ab', '--', 'true', scripts=os.path.join(copy, 'bin'),
                           env=self.alone)
        self.assertIn('not found; build it', said)
        broken = os.path.join(copy, 'lib', 'libzgcpreload.so')
        os.makedirs(os.path.dirname(broken), exist_ok=True)
        with open(broken, 'wb'):
            pass
        said = self.refuse('zgc-ab', '-n', 1, '--', 'true', scripts=os.path.join(copy, 'bin'),
                           env=self.alone)
        self.assertIn(broken, said)
        self.assertIn('cannot be preloaded', said)


if __name__ == '__main__':
    unittest.main()
