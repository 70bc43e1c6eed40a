"""Runs one command and reports what it used; started as `python -I -S launcher.py`.

A process of its own, because the kernel carries the resident size of the process that forks over
into ru_maxrss of the command. This one imports next to nothing, so the carried part stays below
what any Python program needs.

Arguments: report file, number of settings, settings (NAME=VALUE sets, NAME unsets), command. The
settings reach the command only. The report is a Python literal. Exit code 0, or 127 when the
command could not be started.
"""

import errno
import os
import sys
import time


def fork_exec(command, environment):
    """Pid of the command; OSError of a failed exec arrives through a pipe that exec closes."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.execvpe(command[0], command, environment)
        except OSError as error:
            os.write(writer, str(error.errno or errno.EINVAL).encode())
        finally:
            os._exit(127)
    os.close(writer)
    failure = os.read(reader, 16)
    os.close(reader)
    if failure:
        os.waitpid(pid, 0)
        raise OSError(int(failure), os.strerror(int(failure)))
    return pid


def main(arguments):
    report, settings = arguments[0], int(arguments[1])
    environment = dict(os.environ)
    for setting in arguments[2:2 + settings]:
        name, given, value = setting.partition('=')
        if given:
            environment[name] = value
        else:
            environment.pop(name, None)
    command = arguments[2 + settings:]
    began = time.perf_counter()
    try:
        pid = fork_exec(command, environment)
    except OSError as error:
        said = {'error': error.strerror}
    else:
        _, status, used = os.wait4(pid, 0)
        said = {
            'wall': time.perf_counter() - began, 'status': status,
            'user': used.ru_utime, 'system': used.ru_stime, 'rss': used.ru_maxrss * 1024,
            'minor_faults': used.ru_minflt, 'major_faults': used.ru_majflt,
            'waits': used.ru_nvcsw, 'preemptions': used.ru_nivcsw,
        }
    with open(report, 'w') as out:
        out.write(repr(said))
    return 127 if 'error' in said else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
