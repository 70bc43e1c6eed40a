#!/usr/bin/env python3
"""Compiles the library's sources against musl's headers, without linking: what is glibc's alone is found early.

    scripts/check_musl.py build/compile_commands.json

Exit status: 0 all compile, 1 one does not, 77 there is no musl-gcc (Debian: musl-tools).
"""

import concurrent.futures
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = re.compile(re.escape(ROOT) + r'/(heap|barrier|collector|preload)/.*\.c$')
# Headers that are no C library's; musl-gcc does not look where they are.
FOREIGN = ['zlib.h', 'zconf.h', 'libunwind*.h', 'sys/sdt*.h', 'linux', 'asm-generic', 'asm']


def fail(status, why):
    print(why)
    sys.exit(status)


def link_headers(folder):
    places = ['/usr/include', f'/usr/include/{os.uname().machine}-linux-gnu']
    script = 'for p in "$2"/$1; do test ! -e "$p" || ln -sf "$p" "$3/"; done'
    for pattern in FOREIGN:
        into = os.path.join(folder, os.path.dirname(pattern))
        os.makedirs(into, exist_ok=True)
        for place in places:
            subprocess.run(['sh', '-c', script, 'sh', pattern, place, into], check=True)


def compile_one(entry, headers):
    """The compiler's complaints; empty where there are none."""
    words = shlex.split(entry['command'])
    flags = [word for word in words[1:words.index('-o')] if not word.startswith('-fmacro')]
    done = subprocess.run(['musl-gcc', *flags, '-isystem', headers, '-fsyntax-only', entry['file']], text=True,
                          cwd=entry['directory'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout if done.returncode else ''


def main():
    if len(sys.argv) != 2:
        fail(2, __doc__)
    if not shutil.which('musl-gcc'):
        fail(77, 'SKIP  no musl-gcc (Debian: musl-tools)')
    with open(sys.argv[1], encoding='utf-8') as source:
        entries = [entry for entry in json.load(source) if LIBRARY.search(entry['file'])]
    with tempfile.TemporaryDirectory() as headers, concurrent.futures.ThreadPoolExecutor(2) as pool:
        link_headers(headers)
        complaints = list(filter(None, pool.map(lambda entry: compile_one(entry, headers), entries)))
    print(*complaints, f'{len(entries)} files, {len(complaints)} do not compile', sep='\n')
    return 1 if complaints or not entries else 0


if __name__ == '__main__':
    sys.exit(main())
