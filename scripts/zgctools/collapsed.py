"""Collapsed stacks as an allocation profile (ZGC_PROFILE) writes them, as a tree to draw."""

import re

from .logline import WHOLE, printable
from .stacktree import StackTree
from .tool import ToolError

PYTHON = re.compile(r' \([^()]*:\d+\)$')    # as in 'function (file.py:12)'; a C function is a bare name
SUFFIX = '.collapsed'
PROGRAM = 'program'


class CollapsedTree(StackTree):
    """all -> functions, outermost first; weights are bytes. `samples` counts stacks here."""

    unit = 'bytes'

    def __init__(self, lines, short=False):
        super().__init__((), short, groups=(PROGRAM,))
        for line in lines:
            stack, _, weight = printable(line.rstrip('\n')).rpartition(' ')
            if not stack or not re.fullmatch(WHOLE, weight):
                raise ToolError('not a collapsed stack ("function;...;function bytes"): %.80r' % line)
            self.samples += 1
            self.put(PROGRAM, list(self.frames(stack.split(';'))), int(weight))

    def frames(self, names):
        for name in names:
            kind = 'p' if PYTHON.search(name) else 'c'
            if kind == 'p' or not self.short:
                yield name, kind


def read(path, short):
    try:
        with open(path, encoding='utf-8', errors='replace') as source:
            return CollapsedTree(source, short)
    except OSError as error:
        raise ToolError('cannot read %s: %s' % (path, error.strerror))
