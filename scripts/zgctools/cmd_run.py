"""zgc-run and `zgcpreload run`: sets LD_PRELOAD and the ZGC_ variables, then becomes the program."""

import argparse
import os
import shlex
import sys

from . import elf, executable, library, optiontable, tool
from .tool import ToolError
from .version import VERSION

SUMMARY = 'Runs a Python program under libzgcpreload.so.'

EXAMPLES = """\
examples:
  zgc-run -- python3 app.py --port 8080
  zgc-run --log stderr -- gunicorn -w 4 site:app
  zgc-run --stats --trigger 50 -- python3 -m mypackage
  zgc-run -- uv run app.py
  zgc-run --no-enable -- python3 app.py       (as without the library)
  zgc-run --show --log gc.log -- python3 app.py

An option is also a variable: --heap-max is ZGC_HEAP_MAX. Child processes inherit the setting:
every Python they start runs under the library too.
"""


def flag_of(name):
    """ZGC_HEAP_MAX -> --heap-max"""
    return '--' + name[len('ZGC_'):].lower().replace('_', '-')


def make_parser(table, name, usage, epilog):
    if not table:
        epilog += f"\n{optiontable.NAME} is not there, so the library's options cannot be listed.\n"
    parser = argparse.ArgumentParser(
        prog=name, usage=f'{name} {usage}', description=SUMMARY, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument('--version', action='version', version=f'%(prog)s {VERSION}')
    parser.add_argument('--force', action='store_true',
                        help='start the program even if it is neither a Python nor a known launcher')
    parser.add_argument('--show', action='store_true',
                        help='print what would be run, and with which variables, and stop')
    parser.add_argument('--lib', metavar='FILE',
                        help=f'the library (default: {library.NAME} of this installation)')
    parser.add_argument('--malloc', metavar='NAME',
                        help='the malloc behind the heap and of all C code: jemalloc, mimalloc or a library file, '
                             'preloaded before the library (default: libc)')
    group = parser.add_argument_group('options of the library')
    for option, kind, default, accepted, text in table:
        about = f"{text} ({accepted}; default: {default or 'unset'})".replace('%', '%%')
        if kind == 'bool':
            group.add_argument(flag_of(option), dest=option, help=about,
                               action=argparse.BooleanOptionalAction, default=None)
        else:
            group.add_argument(flag_of(option), dest=option, help=about, metavar=kind.upper())
    parser.add_argument('command', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def locate_library(chosen):
    path = library.find(chosen)
    elf.read(path)
    return path


def settings(chosen, table, path):
    """The environment variables to set."""
    preload = os.environ.get('LD_PRELOAD', '')
    if chosen.malloc:
        preload = ':'.join(filter(None, (library.of_malloc(chosen.malloc), preload)))
    variables = {'LD_PRELOAD': library.preloading(path, preload)}
    for name, kind, *_ in table:
        value = getattr(chosen, name)
        if value is not None:
            variables[name] = str(int(value)) if kind == 'bool' else value
    return variables


def require_use(program, path):
    try:
        executable.require_use(program, path)
    except executable.NoPython as refusal:
        raise ToolError(f'{refusal}.\nThe library sleeps in such a process, and works in the '
                        'Pythons it starts. Use --force to run it.') from None


def become(command, chosen, table):
    """Runs the command in place of this process; returns the exit status only where it does not run."""
    try:
        path = locate_library(chosen.lib)
        variables = settings(chosen, table, path)
        if not chosen.force:
            require_use(command[0], path)
        if chosen.show:
            print(*(f'{name}={shlex.quote(value)}' for name, value in variables.items()),
                  shlex.join(command))
            return tool.OK
        os.environ.update(variables)
        os.execvp(command[0], command)
    except FileNotFoundError as error:
        raise ToolError(f'{error.filename} not found' if error.filename else str(error), 127) from None
    except OSError as error:
        raise ToolError(f'{command[0]} cannot be run: {error.strerror}', 126) from None


def check_unknown(parser, name, unknown, table, chosen):
    if not unknown:
        return
    if table:
        parser.error(f'there is no option {unknown[0]}; see {name} --help')
    locate_library(chosen.lib)
    raise ToolError(f"{unknown[0]}: {optiontable.NAME}, which knows the library's options, was not found")


def main(argv):
    table = optiontable.rows()
    parser = make_parser(table, 'zgc-run', '[options] -- program [argument ...]', EXAMPLES)
    chosen, unknown = parser.parse_known_args(argv)
    command = chosen.command[1:] if chosen.command[:1] == ['--'] else chosen.command
    if not command and not unknown:
        parser.error('no program given; see zgc-run --help')
    check_unknown(parser, 'zgc-run', unknown, table, chosen)
    return become(command, chosen, table)
