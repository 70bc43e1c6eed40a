"""What a command will run: the ELF file behind scripts and shims, and whether the library is of use there."""

import errno
import os
import re
import shutil
import stat
import subprocess

from . import elf
from .tool import ToolError

# Programs that start others and hand on the environment, or load a libpython by themselves: no mistake,
# although they are no Pythons.
LAUNCHERS = frozenset('''
    apache2 apache2ctl ash bash busybox bwrap catatonit chpst chroot chrt conda dash direnv dumb-init env
    envdir firejail fish gdb gosu hatch httpd ionice just ksh ltrace make mamba micromamba mise mpirun nice
    ninja nix nohup nox nsenter numactl parallel pdm perf pipenv pipx pixi poetry prlimit pyenv rye
    s6-setuidgid script setarch setpriv setsid sh srun stdbuf strace su-exec supervisord systemd-inhibit
    systemd-run taskset time timeout tini torchrun tox unitd unshare uv uvx uwsgi uwsgi-core valgrind watch
    xargs xvfb-run zsh
'''.split())


class NoPython(ToolError):
    pass


def which(program, context='program'):
    path = shutil.which(program)
    if path is None and '/' in program and os.path.exists(program):
        raise PermissionError(errno.EACCES, f'{program} is not an executable file')
    if path is None:
        raise FileNotFoundError(f'{context} {program} not found')
    return path


def is_launcher(path):
    return os.path.basename(path) in LAUNCHERS


def script_interpreter(path, opening):
    """The command on a script's first line, without `env` and its options."""
    lines = opening.splitlines()
    words = lines[0][2:].decode(errors='replace').split()
    if not words:
        raise ToolError(f'{path} has an empty #! line')
    # pip writes this where the path of the interpreter is too long for a #! line.
    wrapped = re.match(rb"""'''exec' "?([^" ]+)"?""", lines[1]) if len(lines) > 1 else None
    if wrapped:
        return wrapped.group(1).decode(errors='replace')
    if os.path.basename(words[0]) != 'env':
        return words[0]
    for word in words[1:]:
        if not word.startswith('-') and '=' not in word:
            return word
    raise ToolError(f'{path} names no interpreter after env on its #! line')


def behind_pyenv_shim(path, opening):
    """The program that a pyenv shim stands for, or None where `path` is no such shim."""
    if os.path.basename(os.path.dirname(path)) != 'shims' or b'pyenv' not in opening:
        return None
    answer = subprocess.run(['pyenv', 'which', os.path.basename(path)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if answer.returncode != 0:
        raise ToolError(answer.stderr.strip() or f'pyenv does not know what {path} is')
    return answer.stdout.strip()


def chain(path):
    """The file, then what runs it where it is a script or a shim, up to the ELF file."""
    for _ in range(6):
        yield path
        with open(path, 'rb') as file:
            opening = file.read(4096)
        if opening.startswith(b'\x7fELF'):
            return
        if not opening.startswith(b'#!'):
            raise ToolError(f'{path} is neither an ELF program nor a script with a #! line')
        path = behind_pyenv_shim(path, opening) or which(
            script_interpreter(path, opening), f'{path} wants an interpreter that is missing:')
    raise ToolError(f'{path}: too many interpreters behind one another')


def require_preloadable(path):
    if os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise ToolError(f'{path} runs as another user or group (set-user-ID): the loader takes no LD_PRELOAD '
                        'there; use it in front of zgc-run')


def require_use(program, library):
    """ToolError unless the program is a Python for the library, or a launcher that may start one."""
    files = list(chain(which(program)))
    executable = files[-1]
    require_preloadable(executable)
    if any(is_launcher(path) for path in files):
        return
    file = elf.read(executable)
    if not file.is_python():
        through = '' if len(files) == 1 else f' (run by {executable})'
        raise NoPython(f'{program}{through} is not a Python: it links no libpython and has no '
                       f'{elf.PYTHON_SYMBOL.decode()}, and it is no launcher that is known')
    if file.machine != elf.read(library).machine:
        raise ToolError(f'{executable} and {library} are built for different machines')
