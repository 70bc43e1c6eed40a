#!/usr/bin/env python3
"""Runs CPython's own regression tests of what the collector touches, under the preload.

    cpython.py PYTHON [test_name ...]

ZGC_LIB names the library (default: build/libzgcpreload.so of this repository). Exit status 77 where
the interpreter came without its tests (Debian: package libpython3.x-testsuite)."""

import os
import signal
import subprocess
import sys
import tempfile

from runner import ROOT, clean_environment

TESTS = ['test_gc', 'test_weakref', 'test_weakset', 'test_finalization', 'test_descr',
         'test_generators', 'test_coroutines', 'test_dict', 'test_list', 'test_set']
HAS_TESTS = 'import test.support, test.test_gc'
IS_ACTIVE = 'import sys, zgc; s = zgc.status(); sys.exit(None if s["active"] else s["reason"])'


def main():
    python, tests = sys.argv[1], sys.argv[2:] or TESTS
    env = clean_environment(python)
    if subprocess.run([python, '-c', HAS_TESTS], env=env, stderr=subprocess.DEVNULL).returncode:
        print(f'SKIP  {python}: has no test suite (scripts/setup installs that of Debian)')
        return 77
    lib = os.environ.get('ZGC_LIB') or os.path.join(ROOT, 'build', 'libzgcpreload.so')
    env['LD_PRELOAD'] = os.path.abspath(lib)
    subprocess.run([python, '-c', IS_ACTIVE], env=env, check=True)
    # Tests interrupt themselves; a job in the background of a script would ignore that.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run([python, '-m', 'test', '-w', '--timeout', '240', '--tempdir', scratch,
                               *tests], env=env, cwd=scratch)
    return 1 if done.returncode else 0


if __name__ == '__main__':
    sys.exit(main())
