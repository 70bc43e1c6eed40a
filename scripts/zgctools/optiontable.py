"""The library's options, as zgc-options prints its table: beside $ZGC_LIB, or of these tools' installation."""

import os
import subprocess

from . import library
from .tool import ToolError

NAME = 'zgc-options'


def places():
    if os.environ.get('ZGC_LIB'):
        yield os.path.join(os.path.dirname(os.path.abspath(os.environ['ZGC_LIB'])), NAME)
    yield from library.beside(NAME, 'libexec/zgcpreload')


def rows():
    """(name, type, default, range, help) of every option; [] where the table is not there."""
    program = next(filter(os.path.isfile, places()), None)
    if program is None:
        return []
    answer = subprocess.run([program], stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        raise ToolError('%s failed with status %d' % (program, answer.returncode))
    return [line.split('\t') for line in answer.stdout.splitlines()]
