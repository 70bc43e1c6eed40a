"""`zgcpreload run`: a Python program, given as to python itself, or a command."""

import os
import shutil
import sys

from . import cmd_run, optiontable
from .tool import ToolError

USAGE = ('[options] FILE [argument ...]\n       zgcpreload run [options] -m MODULE [argument ...]\n'
         '       zgcpreload run [options] [--] COMMAND [argument ...]')

EPILOG = """\
FILE, -m MODULE and -c CODE run in the python of the active virtual environment, or else in the one that
zgcpreload is installed for (`python -m zgcpreload run`: in that python). Anything else is a command.

examples:
  zgcpreload run app.py --port 8080
  zgcpreload run --log gc.log --stats -m mypackage
  zgcpreload run gunicorn -w 4 site:app
  zgcpreload run -- python3 -X dev app.py

An option is also a variable: --heap-max is ZGC_HEAP_MAX. Child processes inherit the setting:
every Python they start runs under the library too.
"""


def interpreter(environ=os.environ):
    """The python for the program."""
    active = environ.get('VIRTUAL_ENV')
    if active and not sys.argv[0].endswith('__main__.py'):
        python = os.path.join(active, 'bin', 'python')
        if os.access(python, os.X_OK):
            return python
    if not sys.executable:
        raise ToolError('this Python does not know its own path; name one: zgcpreload run -- python3 app.py')
    return sys.executable


def takes_value(word, table):
    return word == '--lib' or any(word == cmd_run.flag_of(name) for name, kind, *_ in table if kind != 'bool')


def split(argv, table):
    """zgcpreload's own arguments and the program's: -m and -c end the options, as with python."""
    place = 0
    while place < len(argv) and argv[place].startswith('-') and argv[place] != '--':
        if argv[place] in ('-m', '-c'):
            return argv[:place], argv[place:]
        place += 2 if takes_value(argv[place], table) else 1
    return argv, []


def command_of(words, marked):
    """The command line behind what was given; marked: it stood behind `--`."""
    first = words[0]
    if first in ('-m', '-c'):
        if len(words) == 1:
            raise ToolError(f'{first} needs an argument')
        return [interpreter(), *words]
    if not marked and is_program(first):
        return [interpreter(), *words]
    return words


def is_program(path):
    """What python runs and no shell would: a source file, a folder or archive with a __main__, a file that is no
    command."""
    if path.endswith(('.py', '.pyz')) or os.path.isfile(os.path.join(path, '__main__.py')):
        return True
    is_command = os.access(path, os.X_OK) if '/' in path else shutil.which(path) is not None
    return os.path.isfile(path) and not is_command


def main(argv):
    name = 'zgcpreload run'
    table = optiontable.rows()
    parser = cmd_run.make_parser(table, name, USAGE, EPILOG)
    own, program = split(argv, table)
    chosen, unknown = parser.parse_known_args(own)
    marked = chosen.command[:1] == ['--']
    words = (chosen.command[1:] if marked else chosen.command) + program
    if not words and not unknown:
        parser.error('no program given; see zgcpreload run --help')
    cmd_run.check_unknown(parser, name, unknown, table, chosen)
    return cmd_run.become(command_of(words, marked), chosen, table)
