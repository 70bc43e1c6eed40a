"""Running units, several at a time."""

import concurrent.futures
import glob
import os
import shutil

from zgctools import tool

from . import outcome, preparation
from .process import Processes
from .suites import APPS, SUITES


class Execution:
    def __init__(self, state, lib, timeout, options):
        self.state = state
        self.lib = lib
        self.timeout = timeout
        self.options = options          # {"ZGC_...": value}, for the preloaded side
        self.processes = Processes()

    def environment(self, unit, scratch):
        python = unit.python
        env = {k: v for k, v in python.environment().items() if not k.startswith('ZGC_')}
        env['TMPDIR'] = python.inside(scratch)
        if unit.is_preload:
            env.update(self.options)
            env['LD_PRELOAD'] = python.library(self.lib, scratch)
            # Collections are counted in the log. Tests of CPython's notice an open file.
            if unit.suite != 'cpython' or self.options:
                logs = os.path.join(scratch, 'log')
                os.mkdir(logs)
                env['ZGC_LOG'] = python.inside(os.path.join(logs, '%p.log'))
        return env

    def command(self, unit, scratch):
        """(interpreter, arguments, seconds to wait, folder to run in)."""
        xml = unit.python.inside(os.path.join(scratch, 'cases.xml'))
        if unit.suite == 'cpython':
            # VSOCK: test_socket waits for ever in most virtual machines.
            return unit.python, ['-m', 'test', '--junit-xml', xml, '--timeout', str(self.timeout),
                                 '-i', '*VSOCK*', unit.test], self.timeout + 60, scratch
        suite = SUITES[unit.suite]
        prepared = preparation.Preparation(unit.suite, suite, unit.python, self.state.folder)
        python = prepared.interpreter()
        values = {'xml': xml, 'apps': APPS, 'source': prepared.source()}
        if any('{site}' in a for a in suite.arguments):
            first = suite.modules.split()[0]
            values['site'] = os.path.dirname(os.path.dirname(
                python.ask('-c', f'import {first}; print({first}.__file__)')))
        arguments = []
        for a in suite.arguments:
            if a == '{part}':
                arguments += paths_of(suite.parts[unit.test], prepared.source())
            else:
                arguments.append(a.format(**values) if '{' in a and '\n' not in a else a)
        slower = 10 if self.options else 3      # than on a quiet machine
        return python, arguments, suite.minutes * 60 * slower, values['source'] or scratch

    def run(self, unit):
        scratch = unit.python.scratch()
        try:
            python, arguments, timeout, folder = self.command(unit, scratch)
            start = python.start(arguments, self.environment(unit, scratch), folder)
            log_path = self.state.path(unit, 'log')
            with open(log_path, 'wb') as log:
                status, seconds = self.processes.run(start, timeout, log)
            with open(log_path, errors='replace') as f:
                output = f.read()
            xml = os.path.join(scratch, 'cases.xml')
            cases = outcome.junit_cases(xml, xml + '.2.xml') or outcome.unittest_cases(output)
            collections, reclaimed = outcome.collections(os.path.join(scratch, 'log'))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        result = {'outcome': outcome.of_process(status, output), 'status': status,
                  'seconds': round(seconds, 1), 'collections': collections,
                  'reclaimed': reclaimed, 'cases': cases}
        self.state.store(unit, result)
        return result

    def run_all(self, units, jobs):
        """A line each as they end; an interruption keeps what is done."""
        done = 0
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            futures = {pool.submit(self.run, unit): unit for unit in units}
            try:
                for future in concurrent.futures.as_completed(futures):
                    done += 1
                    print(f'[{done}/{len(units)}] {futures[future]}: {describe(future.result())}',
                          flush=True)
            except BaseException:
                for future in futures:
                    future.cancel()
                self.processes.end()
                raise


def paths_of(patterns, folder):
    """What a part of a suite consists of, relative to the folder of its sources."""
    return [os.path.relpath(path, folder) for pattern in patterns.split()
            for path in sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))]


def describe(result):
    failed = sum(c == 'failed' for c in result['cases'].values())
    parts = [result['outcome']]
    if failed:
        parts.append(f'{failed} failed')
    if result['collections']:
        parts.append(f'{result["collections"]} collections')
    return f'{", ".join(parts)} {result["seconds"]}s'


def why_not_active(python, lib):
    """None when the library works there; a comparison of stock with stock would prove nothing."""
    answer = python.ask('-c', 'import zgc; s = zgc.status(); '
                        'print("active" if s["active"] else s["reason"])', preload=lib)
    return None if answer == 'active' else answer or 'import zgc fails'


def note(text):
    tool.note(f'zgc-compat: {text}')
