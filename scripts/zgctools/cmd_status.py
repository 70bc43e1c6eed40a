"""`zgcpreload status`: would the library be active in an interpreter, by which binding, or why not?"""

import ast
import json
import os
import shutil
import subprocess

from . import cmd_program, library, tool
from .tool import ToolError
from .version import VERSION

EXAMPLES = ['zgcpreload status', 'zgcpreload status --python /usr/bin/python3.13', 'zgcpreload status --json']

# Nothing is imported that a file beside the program could replace: zgc is built in.
ASK = """
import sys
said = {'python': sys.version.split()[0], 'executable': sys.executable, 'zgc': None,
        'loaded': 'libzgcpreload.so' in open('/proc/self/maps').read()}
try:
    import zgc
    said['zgc'] = zgc.status()
except ImportError:
    pass
print()
print(repr(said))
"""


def parse(argv):
    parser = tool.parser('zgcpreload status', ['[--python PYTHON] [--lib PATH] [--json]'],
                         'Say whether the library would be active in an interpreter, with the environment as it is '
                         'now.\nExit status: 0 active, 1 passive, 2 it cannot be told.', EXAMPLES)
    parser.add_argument('--python', metavar='PYTHON', help='the interpreter; default: as for zgcpreload run')
    parser.add_argument('--lib', metavar='PATH', help='the library; default: $ZGC_LIB, or the one beside these tools')
    parser.add_argument('--json', action='store_true', help='the same as data')
    return parser.parse_args(argv)


def find_python(given):
    found = shutil.which(given) if given else cmd_program.interpreter()
    if found is None:
        raise ToolError('%s not found' % given)
    return found


def ask(python, path):
    """What the interpreter says of itself under the library."""
    environment = dict(os.environ, LD_PRELOAD=library.preloading(path, os.environ.get('LD_PRELOAD', '')))
    try:
        done = subprocess.run([python, '-c', ASK], env=environment, timeout=60, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return ast.literal_eval(done.stdout.rstrip().rpartition('\n')[2]), done.stderr.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError('%s cannot be run: %s' % (python, error))
    except (ValueError, SyntaxError):
        raise ToolError('%s gave no answer: %s' % (python, (done.stderr.strip() or 'no output').splitlines()[-1]))


def why_absent(said, complaint):
    """The library has no module in that process."""
    if not said['loaded']:
        refusal = next((line for line in complaint.splitlines() if 'preload' in line), None)
        return refusal or ('the loader did not load it (another C library than glibc, a static or set-user-ID '
                           'program, or a launcher that clears LD_PRELOAD)')
    return 'it is loaded, but has found no Python in that process'


def judge(said, complaint):
    """(active, reason or None)"""
    status = said['zgc']
    if status is None:
        return False, why_absent(said, complaint)
    return status['active'], status['reason']


def changed(status):
    return ' '.join('%s=%s' % pair for pair in status.get('options', {}).items() if pair[0] in os.environ)


def describe(said, path, active, reason):
    status = said['zgc'] or {}
    yield 'python', '%s (%s)' % (said['python'], said['executable'])
    yield 'library', '%s (%s)' % (status.get('version', VERSION), path)
    yield 'active', 'yes' if active else 'no: %s' % reason
    if active:
        without = status.get('binding_reason')
        yield 'binding', status['binding'] + (' (no symbols: %s)' % without if without else '')
    if changed(status):
        yield 'options', changed(status)


def main(argv):
    chosen = parse(argv)
    path = library.find(chosen.lib)
    said, complaint = ask(find_python(chosen.python), path)
    active, reason = judge(said, complaint)
    if chosen.json:
        print(json.dumps({'active': active, 'reason': reason, 'library': path, **said}))
    else:
        for name, value in describe(said, path, active, reason):
            print('%-9s %s' % (name, value))
    return tool.OK if active else tool.MISSED
