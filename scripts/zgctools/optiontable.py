"""The library's options, as zgc-options prints its table."""

import os
import subprocess

from . import library
from .tool import ToolError

NAME = 'zgc-options'


def rows():
    """(name, type, default, range, help) of every option; [] where the table is not there."""
    program = next(filter(os.path.isfile, library.beside(NAME, 'libexec/zgcpreload')), None)
    if program is None:
        return []
    answer = subprocess.run([program], stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        raise ToolError('%s failed with status %d' % (program, answer.returncode))
    return [line.split('\t') for line in answer.stdout.splitlines()]
