"""zgc-compat: the table of suites, what counts as a difference, and one small run."""

import contextlib
import io
import os
import string
import sys
import tempfile
import unittest

from toolcase import LIB, PYTHON, ROOT, ToolCase, requires_lib

sys.path.insert(0, os.path.join(ROOT, 'tests', 'support'))

from compat import comparison, execution, interpreter, outcome, report  # noqa: E402
from compat.state import State, Unit  # noqa: E402
from compat.suites import APPS, SUITES  # noqa: E402


def result(whole, failed=(), passed=('a', 'b'), runs=None):
    cases = {**dict.fromkeys(passed, 'passed'), **dict.fromkeys(failed, 'failed')}
    return {'outcome': whole, 'seconds': 1, 'cases': cases,
            'runs': runs or [[whole, list(failed)]]}


def kinds(stock, preload, suite='cpython'):
    return {d.name: d.kind for d in comparison.of(suite, 'test_x', stock, preload)}


class Differences(unittest.TestCase):
    def test_none(self):
        self.assertEqual(kinds(result('passed'), result('passed')), {})

    def test_worse_is_what_stock_never_did(self):
        self.assertEqual(kinds(result('passed'), result('failed', ['a'], ['b'])),
                         {comparison.WHOLE: 'worse', 'a': 'worse'})

    def test_a_test_that_is_gone_is_worse(self):
        self.assertEqual(kinds(result('passed'), result('passed', passed=['a'])), {'b': 'worse'})

    def test_what_fails_at_times_is_unsteady(self):
        stock = result('passed', runs=[['failed', ['a']], ['passed', []]])
        self.assertEqual(kinds(stock, result('failed', ['a'], ['b']))['a'], 'unsteady')
        late = result('passed', runs=[['failed', ['a']], ['passed', []]])
        self.assertEqual(kinds(result('passed'), late)['a'], 'unsteady')

    def test_failures_on_both_sides_are_no_difference(self):
        both = result('failed', ['a'], ['b'])
        self.assertEqual(kinds(both, both), {})

    def test_explained_ones_do_not_count_as_worse(self):
        name = 'CmdLineTest.test_pythonmalloc'
        stock, preload = result('passed', passed=[name]), result('failed', [name], [])
        self.assertEqual(set(kinds(stock, preload).values()), {'explained'})
        self.assertEqual(kinds(stock, preload, 'django')[name], 'worse')

    def test_stock_is_spared_where_the_whole_and_each_part_passed(self):
        self.assertTrue(comparison.passed(result('passed')))
        for other in (None, result('skipped'), result('failed'), result('passed', ['a'], ['b'])):
            self.assertFalse(comparison.passed(other))

    def test_cases_of_junit_and_of_unittest(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            path = os.path.join(folder, 'x.xml')
            with open(path, 'w') as f:
                f.write('<t><testcase classname="C" name="a"/><testcase name="b"><failure/>'
                        '</testcase><testcase name="c"><skipped/></testcase></t>')
            self.assertEqual(outcome.junit_cases(path, path + '.none'),
                             {'C.a': 'passed', 'b': 'failed', 'c': 'skipped'})
            with open(os.path.join(folder, '7.log'), 'w') as f:
                f.write('[1s][info ][gc] GC(1) Full Collection (Growth) found 9 reclaimed 7 heap\n'
                        '[1s][info ][gc] GC(2) Full Collection (Growth) old 9 heap 1M\n'
                        '[1s][info ][gc] GC(2) Pause Full (System.gc) found 4 reclaimed 4 old 3\n')
            self.assertEqual(outcome.collections(folder), (2, 11))
        self.assertEqual(outcome.unittest_cases('test_a (m.C.test_a) ... ok\n'
                                                'test_b (m.C)\nText. ... FAIL\n'),
                         {'test_a (m.C.test_a)': 'passed', 'test_b (m.C)': 'failed'})


class Table(unittest.TestCase):
    def test_each_suite_can_be_installed_and_its_files_are_there(self):
        for name, suite in SUITES.items():
            self.assertTrue(suite.debian or suite.pypi, name)
            for argument in suite.arguments:
                if '{apps}' in argument:
                    self.assertTrue(os.path.exists(argument.format(apps=APPS)), argument)
            if suite.source:
                self.assertIn('==', suite.source)

    def test_a_suite_has_parts_where_it_asks_for_one(self):
        for name, suite in SUITES.items():
            self.assertEqual('{part}' in suite.arguments, bool(suite.parts), name)
            self.assertTrue(suite.source or not suite.parts, name)

    def test_no_test_of_sqlalchemys_is_in_two_parts_or_in_none(self):
        names = [f'test/orm/test_{letter}x.py' for letter in string.ascii_lowercase]
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(os.path.join(folder, 'test/orm'))
            for name in names:
                open(os.path.join(folder, name), 'w').close()
            found = [path for patterns in SUITES['sqlalchemy'].parts.values()
                     for path in execution.paths_of(patterns, folder)]
        self.assertEqual(sorted(found), names)

    def test_a_chroot_gets_its_paths_from_inside(self):
        python = interpreter.Interpreter('x', '/usr/bin/python3.14', (3, 14, 0), '/srv/forky')
        start = python.start(['-V'], {'LD_PRELOAD': '/tmp/a.so'}, '/srv/forky/tmp/zc-1')
        self.assertEqual(start['args'][-5:], ['/srv/forky', '/tmp/zc-1', 'LD_PRELOAD=/tmp/a.so',
                                              '/usr/bin/python3.14', '-V'])
        self.assertNotIn('LD_PRELOAD', start['env'])

    def test_settings_reach_both_sides_and_have_results_of_their_own(self):
        plain = interpreter.Interpreter('x', '/usr/bin/python3', (3, 14, 0), '')
        python = interpreter.with_settings(plain, [('PYTHON_JIT', '1')])
        self.assertEqual(python.environment()['PYTHON_JIT'], '1')
        self.assertEqual(python.name, 'x-PYTHON_JIT=1')
        self.assertEqual(interpreter.with_settings(plain, []), plain)

    def test_neither_path_nor_chroot(self):
        self.assertIsNone(interpreter.of_chroot('nice python3')[0])
        self.assertIsNone(interpreter.of_chroot('chroot /nonexistent /usr/bin/python3')[0])


class Command(ToolCase):
    def test_list_names_every_suite(self):
        out = self.succeed('zgc-compat', 'list')
        for name in SUITES:
            self.assertIn(f'\n{name}: ', out)

    def test_unknown_suite(self):
        self.assertIn('no suite nonsense', self.refuse('zgc-compat', 'run', 'nonsense'))

    @requires_lib
    def test_report_of_stored_results(self):
        state = State(self.path('state'), LIB)
        python = interpreter.Interpreter('p', '/p', (3, 11, 2), '')
        pair = [Unit(python, 'django', 'all', side) for side in ('stock', 'preload')]
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            self.assertFalse(report.show(state, [pair]))
            state.store(pair[0], {**result('passed'), 'collections': 0, 'reclaimed': 0})
            state.store(pair[1], {**result('failed', ['a'], ['b']), 'collections': 3,
                                  'reclaimed': 5})
            self.assertTrue(report.show(state, [pair]))
        self.assertIn('worse: a: passed -> failed', shown.getvalue())
        state.store(pair[1], {**result('passed'), 'collections': 3, 'reclaimed': 5})
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertFalse(report.show(state, [pair]))        # it passed when run again

    def test_a_setting_has_a_value(self):
        self.assertIn('NAME=VALUE', self.refuse('zgc-compat', 'run', '--set', 'PYTHON_JIT'))

    @requires_lib
    def test_report_without_stock_counts_what_passed(self):
        state = State(self.path('state'), LIB)
        python = interpreter.Interpreter('p', '/p', (3, 11, 2), '')
        pair = [Unit(python, 'django', 'all', side) for side in ('stock', 'preload')]
        state.store(pair[1], {**result('passed'), 'collections': 3, 'reclaimed': 5})
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            self.assertFalse(report.show(state, [pair]))
        self.assertEqual(shown.getvalue().splitlines()[2].split()[3:5], ['2', '0'])
        self.assertNotIn('without both', shown.getvalue())
        state.store(pair[1], {**result('failed', ['a'], ['b']), 'collections': 3, 'reclaimed': 5})
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            report.show(state, [pair])
        self.assertIn('1 units without both results', shown.getvalue())

    @requires_lib
    def test_a_program_runs_both_ways_and_is_remembered(self):
        """A test of CPython's where the interpreter has them; a note otherwise."""
        arguments = ('run', 'test_weakset', '--python', PYTHON, '--state', self.path('state'),
                     '--lib', LIB)
        done = self.run_tool('zgc-compat', *arguments)
        if 'no regression tests' in done.stderr:
            self.skipTest('no regression tests here')
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn('2 to run, 0 not needed', done.stdout)
        self.assertIn('0 to run, 2 not needed', self.succeed('zgc-compat', *arguments))
        sparing = self.succeed('zgc-compat', *arguments, '--fresh', '--sparing')
        self.assertIn('1 to run, then stock where', sparing)
        self.assertIn('0 to run, 2 not needed', sparing)


if __name__ == '__main__':
    unittest.main()
