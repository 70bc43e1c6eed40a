#!/usr/bin/env python3
"""Writes docs/options.md from the library's option table, or with --check says whether it is as it should be.

    options_page.py [--check] [build/zgc-options]"""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, 'docs', 'options.md')

HEAD = """\
# Options

Every option of the library: its name, what it accepts, its default, and what it does.

An option is an environment variable, or a flag of `zgc-run` and `zgcpreload run`: `ZGC_HEAP_MAX` is `--heap-max`. A value
that is not understood is named in one line on stderr, and the program runs as stock CPython. The values in force are in
`zgc.status()["options"]`. Which option helps with what: [tuning.md](tuning.md). This page is written by
`scripts/options_page.py` from `heap/base/zoption.h`.

| option | accepts | default | what it does |
|---|---|---|---|
"""


def page(program):
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
    rows = (line.split('\t') for line in done.stdout.splitlines())
    return HEAD + ''.join(f'| `{name}` | {accepts} | {f"`{default}`" if default else "unset"} | {about} |\n'
                          for name, _, default, accepts, about in rows)


def main(argv):
    check = '--check' in argv
    rest = [word for word in argv if word != '--check']
    text = page(rest[0] if rest else os.path.join(ROOT, 'build', 'zgc-options'))
    if check:
        with open(PAGE, encoding='utf-8') as file:
            if file.read() == text:
                return 0
        print('docs/options.md is not what the option table says; run scripts/options_page.py', file=sys.stderr)
        return 1
    with open(PAGE, 'w', encoding='utf-8') as file:
        file.write(text)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
