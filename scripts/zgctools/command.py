"""The command `zgcpreload`: its subcommands, each a module of its own."""

import importlib

from . import tool
from .version import VERSION

COMMANDS = {
    'run': ('cmd_program', 'run a Python program under the library'),
    'status': ('cmd_status', 'would the library be active in this Python? How, or why not?'),
    'ab': ('cmd_ab', 'compare runs of a command with and without the library'),
    'log': ('cmd_log', 'read a GC log'),
    'stat': ('cmd_stat', 'show the counters of a running process'),
    'perf': ('cmd_perf', 'profile a program and watch its pauses'),
    'options': ('cmd_options', "list the library's options"),
    'path': ('cmd_path', "print the library's path, for LD_PRELOAD"),
}

HELP = """\
usage: zgcpreload COMMAND [argument ...]

{rows}

`zgcpreload COMMAND --help` has the rest. --version prints the version.

examples:
  zgcpreload run app.py --port 8080
  zgcpreload run --log gc.log -m mypackage
  zgcpreload status
"""


def help_text():
    return HELP.format(rows='\n'.join(f'  {name:8} {about}' for name, (_, about) in COMMANDS.items()))


def run_command(name, argv):
    module = importlib.import_module('.' + COMMANDS[name][0], __package__)
    return module.main(argv)


def main(argv):
    if not argv:
        tool.note(help_text())
        return tool.USAGE
    name, *rest = argv
    if name in ('-h', '--help', 'help'):
        print(help_text(), end='')
    elif name == '--version':
        print('zgcpreload', VERSION)
    elif name in COMMANDS:
        return run_command(name, rest)
    else:
        raise tool.ToolError(f'there is no command {name}; see zgcpreload --help')
    return tool.OK
