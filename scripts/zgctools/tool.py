"""The frame of a command line tool: help with an example, one-line errors, exit codes."""

import argparse
import os
import sys

from .version import VERSION

OK = 0
MISSED = 1        # the tool worked, and what it was asked to check does not hold
USAGE = 2         # nothing was checked: bad arguments, unreadable input, missing tool
INTERRUPTED = 130


class ToolError(Exception):
    """Something the user has to know; printed as one line, without a traceback."""

    def __init__(self, message, code=USAGE):
        super().__init__(message)
        self.code = code


def parser(name, usage, summary, examples):
    """An ArgumentParser whose help ends with examples, one per line. usage: what follows the name, in a
    line or two: all options, before an error of one line, would hide it."""
    lines = '\n'.join('  ' + line for line in examples)
    made = argparse.ArgumentParser(
        prog=name, usage='\n       '.join('%s %s' % (name, line) for line in usage),
        description=summary, epilog='examples:\n' + lines,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument('--version', action='version', version='%(prog)s ' + VERSION)
    return made


def split_command(argv):
    """Arguments of the tool and the command after the first `--` (None without one)."""
    if '--' not in argv:
        return list(argv), None
    cut = argv.index('--')
    return list(argv[:cut]), list(argv[cut + 1:])


def note(text):
    print(text, file=sys.stderr, flush=True)


def run(name, main, argv=None):
    """Run main(argv) -> exit code as a program."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors='replace')    # a damaged log on a terminal that is not UTF-8
    try:
        code = main(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except ToolError as error:
        note('%s: %s' % (name, error))
        code = error.code
    except KeyboardInterrupt:
        note('%s: interrupted' % name)
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (`| head`). Point stdout away, or the interpreter
        # complains once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = OK
    sys.exit(code)


def check_outputs(*paths):
    """Before long work: whether there is a place for what it is to leave. None and '-' need none."""
    for path in paths:
        if path is None or path == '-':
            continue
        folder = os.path.dirname(path) or '.'
        if os.path.isdir(path):
            raise ToolError('cannot write %s: it is a directory' % path)
        if not os.path.isdir(folder):
            raise ToolError('cannot write %s: there is no directory %s' % (path, folder))
        if not os.access(path if os.path.exists(path) else folder, os.W_OK):
            raise ToolError('cannot write %s: not permitted' % path)


def write_text(path, text):
    """Write a report; '-' is standard output."""
    if path == '-':
        sys.stdout.write(text)
        return
    try:
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)
    except OSError as error:
        raise ToolError('cannot write %s: %s' % (path, error.strerror))
