#!/usr/bin/env python3
"""Checks who includes whom, folder by folder: the table ALLOWED is the structure of the library.

    check_layers.py [SOURCE_DIRECTORY]

A folder may include itself and the folders of its row. Headers of ours are named with their folder.
No file includes Python.h, and only collector/python/zpyapi.h and collector/python/zpyabi.* name the fields of
CPython's objects. Locks are rows of heap/base/zlock.h: no other file has a mutex. Exit status 1 when something is wrong, one line for each."""

import glob
import os
import re
import sys

BELOW = {'heap', 'heap/base'}
COLLECTOR = {'collector/python', 'collector/cpython', 'collector/profile', 'collector/managed'}
ALLOWED = {
    'heap/base': set(),
    'heap': {'heap/base'},
    'heap/managed': BELOW,                                          # bodies, handles and their tables
    'barrier': BELOW | {'heap/managed'},
    'collector/python': BELOW,                                      # all that is known of CPython
    'collector/profile': BELOW | {'collector/python'},
    'collector/cpython': BELOW | {'collector/python', 'collector/profile'},
    'collector/managed': BELOW | {'heap/managed', 'barrier'},       # never collector/python
    'preload': {'heap/base'},                                       # programs beside the library
    'preload/managed': BELOW | COLLECTOR | {'heap/managed', 'barrier'},
    'preload/module': BELOW | COLLECTOR | {'preload/managed', 'preload/start'},
    'preload/start': BELOW | COLLECTOR | {'preload/managed', 'preload/module'},
}
KNOW_PYTHON = {'collector/python/zpyapi.h', 'collector/python/zpyabi.h', 'collector/python/zpyabi.c'}
GENERATED = {'preload/managed/zmanaged_source.h'}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]*)[">]')
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"', re.DOTALL)
MUTEX = re.compile(r'\bpthread_(?:mutex|rwlock|spin|cond_timed|cond_clock)\w*')
KNOW_MUTEX = {'heap/base/zlock.h', 'heap/base/zlock.c'}
PYTHON_FIELD = re.compile(r'(?:->|\.)\s*(ob_(?:refcnt|type|size|base)|_gc_(?:next|prev)|tp_\w+)\b')


def folder_of(path):
    folder = os.path.dirname(path)
    return folder if folder in ALLOWED else None


def check_include(root, path, number, bracket, name):
    if re.fullmatch(r'(.*/)?Python\.h', name):
        yield f'{path}:{number}: includes {name}; nothing may'
    if bracket == '<':
        return
    folder, target = folder_of(path), folder_of(name)
    if target is None:
        yield f'{path}:{number}: "{name}" must be written with its folder'
    elif target != folder and target not in ALLOWED[folder]:
        yield f'{path}:{number}: {folder} may not include {name}: {target} is not in its row'
    elif name not in GENERATED and not os.path.exists(os.path.join(root, name)):
        yield f'{path}:{number}: {name} does not exist'


def check_file(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        text = f.read()
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield from check_include(root, path, number, *found.groups())
    # Comments and strings may talk about what is forbidden; they keep their lines, so numbers stay right.
    code = COMMENT.sub(lambda match: '\n' * match.group().count('\n'), text)
    for found in MUTEX.finditer(code if path not in KNOW_MUTEX else ''):
        number = code.count('\n', 0, found.start()) + 1
        yield f'{path}:{number}: {found.group()}: locks are rows of heap/base/zlock.h, waits with a bound zos_sleep_while'
    if path in KNOW_PYTHON:
        return
    for found in PYTHON_FIELD.finditer(code):
        number = code.count('\n', 0, found.start()) + 1
        yield f'{path}:{number}: names CPython\'s field {found.group(1)}; that is zpyabi\'s to know'


def main():
    if sys.argv[1:2] in (['-h'], ['--help']):
        print(__doc__)
        return 0
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(here)
    files = sorted(os.path.relpath(path, root) for folder in ALLOWED
                   for path in glob.glob(os.path.join(root, folder, '*.[ch]')))
    if not files:
        sys.exit(f'check_layers: no sources below {root}')
    wrong = [line for path in files for line in check_file(root, path)]
    print(*wrong, sep='\n', end='\n' if wrong else '')
    print(f'{len(files)} files, {len(wrong)} wrong')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
