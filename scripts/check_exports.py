#!/usr/bin/env python3
"""Checks what the library shows to and wants from the programs it is preloaded into.

    check_exports.py [build/libzgcpreload.so]

It is loaded into every child of a Python program too, so: it defines what preload/exports.map lists
and nothing else that could take the place of a program's symbol, it names no undefined symbol of
Python (a data symbol alone would keep /bin/true from starting), it needs no library but libc, nothing
of a newer libc than the wheel is for, and hardly any static TLS. Uses nm and readelf."""

import os
import re
import subprocess
import sys

GLIBC = (2, 28)  # of the wheel (scripts/manylinux)
# What glibc had before, and gave another version when libpthread and libdl became parts of libc. The second: newer ones
# among them.
OLDER = re.compile(r'(dl|pthread_|sem_|__isoc23_)\w+|f?stat|lstat')
NOT_OLDER = re.compile(r'\w+clock\w+|\w+sigmask_np')
NEEDED = re.compile(r'(libc|ld-linux[\w-]*)\.so\.\d+')
SANITIZERS = re.compile(r'lib(asan|tsan|ubsan)\.so\.\d+')
TLS_MAX = 64  # bytes; more may find no room where there is an auditor, or much else is loaded late
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = re.compile(r'_?Py[A-Z_]')


def lines_of(*command):
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, LC_ALL='C'))
    if done.returncode:
        sys.exit(f'check_exports: {" ".join(command)}: {done.stderr.strip()}')
    return done.stdout.splitlines()


def listed():
    """What exports.map lets out."""
    with open(os.path.join(ROOT, 'preload', 'exports.map')) as f:
        text = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)
    return set(re.search(r'global:(.*?)local:', text, re.S)[1].replace(';', ' ').split())


def check(library):
    missing = listed()
    for line in lines_of('nm', '-D', library):
        *_, kind, name = line.split()
        if kind == 'T' and name in missing:
            missing.remove(name)
        elif kind not in 'Uwv':
            yield f'{name} is exported'
        elif PYTHON.match(name):
            yield f'{name} of Python is named'
        found = re.search(r'^(\w+)@GLIBC_(\d+)\.(\d+)', name)
        is_newer = found and (int(found[2]), int(found[3])) > GLIBC
        if is_newer and (not OLDER.fullmatch(found[1]) or NOT_OLDER.fullmatch(found[1])):
            yield f'{name} is newer than glibc {GLIBC[0]}.{GLIBC[1]}'
    for name in sorted(missing):
        yield f'{name} is in exports.map and not exported'
    for line in lines_of('readelf', '-d', '-W', library):
        found = re.search(r'\(NEEDED\).*\[(.*)\]', line)
        if found and not NEEDED.fullmatch(found[1]) and not SANITIZERS.fullmatch(found[1]):
            yield f'{found[1]} is needed'
        if '(TEXTREL)' in line:
            yield 'code is not position independent'
    for line in lines_of('readelf', '-l', '-W', library):
        segment, _, rest = line.strip().partition(' ')
        if segment == 'TLS' and int(rest.split()[4], 16) > TLS_MAX:
            yield f'{int(rest.split()[4], 16)} bytes of static TLS, more than {TLS_MAX}'


def main():
    if sys.argv[1:2] in (['-h'], ['--help']):
        print(__doc__)
        return 0
    default = os.path.join(ROOT, 'build', 'libzgcpreload.so')
    library = sys.argv[1] if len(sys.argv) > 1 else default
    if not os.path.exists(library):
        sys.exit(f'check_exports: {library} is missing')
    wrong = list(check(library))
    for line in wrong:
        print(f'{os.path.basename(library)}: {line}')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
