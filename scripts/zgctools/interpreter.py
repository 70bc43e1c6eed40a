"""What can be told about the Python behind a command, before it is run."""

import ast
import os
import shutil
import subprocess

from .tool import ToolError

ASK = ("import sys, sysconfig; print(repr((sys.executable, sys.version_info[:2], "
       "'-fno-omit-frame-pointer' in ((sysconfig.get_config_var('CFLAGS') or '') + "
       "(sysconfig.get_config_var('PY_CORE_CFLAGS') or '')))))")


class Interpreter:
    def __init__(self, path, version, frame_pointers):
        self.path = path
        self.version = version                  # (3, 12)
        self.frame_pointers = frame_pointers


def first_line(path):
    try:
        with open(path, 'rb') as source:
            return source.readline(1024)
    except OSError:
        return b''


def program_of(command):
    """The file that will run: the command, or the interpreter that its first line names."""
    path = shutil.which(command[0])
    if path is None:
        raise ToolError('%s not found' % command[0])
    line = first_line(path)
    if not line.startswith(b'#!'):
        return path
    words = line[2:].decode('utf-8', 'replace').split()
    if words and os.path.basename(words[0]) == 'env':
        words = [word for word in words[1:] if not word.startswith('-') and '=' not in word]
    # A shell script called python3 is a version manager's shim and answers like Python.
    if words and 'python' in os.path.basename(words[0]):
        return shutil.which(words[0]) or path
    return path


def behind(command):
    """The Interpreter, or None when the command is no Python or does not say."""
    program = program_of(command)
    if 'python' not in os.path.basename(program):
        return None
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('LD_PRELOAD', 'PYTHONPERFSUPPORT')}
    try:
        said = subprocess.run([program, '-I', '-c', ASK], env=environment, timeout=30,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout
        return Interpreter(*ast.literal_eval(said.decode()))
    except (OSError, subprocess.SubprocessError, ValueError, SyntaxError, TypeError):
        return None
