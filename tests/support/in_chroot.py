#!/usr/bin/env python3
"""Runs test files, and CPython's own focused set, with an interpreter of a chroot.

    in_chroot.py forky /usr/bin/python3.14 tests/integration/test_collects.py ...

ZGC_LIB names the library, which must lie in this source tree. Exit status 77 where the chroot or that interpreter is
not built, or where root is needed, with the reason as the last line."""

import os
import subprocess
import sys

import chroots


def skip(why):
    print('SKIP ', why)
    sys.exit(77)


def inside(path):
    return os.path.join('/zgcpreload', os.path.relpath(path, chroots.ROOT))


def main():
    name, python, *files = sys.argv[1:]
    if chroots.why_not():
        skip(chroots.why_not())
    if (name, python) not in chroots.interpreters():
        skip(f'{python} of {name} is not built (scripts/zgc-chroots build {name})')
    library = os.path.abspath(os.environ.get('ZGC_LIB') or os.path.join(chroots.ROOT, 'build', 'libzgcpreload.so'))
    if not library.startswith(chroots.ROOT + '/'):
        skip(f'{library} is not in {chroots.ROOT}, so it is not seen in the chroot')
    enter = [chroots.SCRIPT, 'run', name, 'env', 'ZGC_LIB=' + inside(library), python]
    status = subprocess.run([*enter, 'tests/support/runner.py', '--timeout', '200', '--python', python,
                             *map(inside, files)]).returncode
    return status or subprocess.run([*enter, 'tests/support/cpython.py', python]).returncode


if __name__ == '__main__':
    sys.exit(main())
