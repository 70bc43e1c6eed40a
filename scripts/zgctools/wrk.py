"""What wrk prints, as numbers."""

import os
import re
import shlex

from . import units
from .tool import ToolError

LUA = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'wrk.lua')

PERCENTILE = re.compile(r'^\s+(\d+(?:\.\d+)?)%\s+(\d+(?:\.\d+)?(?:us|ms|s|m|h))\s*$', re.MULTILINE)
MAXIMUM = re.compile(r'^\s+Latency\s+\S+\s+\S+\s+(\d+(?:\.\d+)?(?:us|ms|s|m|h))\s', re.MULTILINE)
RATE = re.compile(r'^Requests/sec:\s+([0-9.]+)', re.MULTILINE)
TOTAL = re.compile(r'^\s*(\d+) requests in ([0-9.]+(?:us|ms|s|m|h)),', re.MULTILINE)
STATUS = re.compile(r'Non-2xx or 3xx responses: (\d+)')
SOCKET = re.compile(r'Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)')
OWN_LATENCY = re.compile(r'^zgc-ab latency (.*)$', re.MULTILINE)
OWN_TOTALS = re.compile(r'^zgc-ab totals requests (\d+) us (\d+) failed (\d+)$', re.MULTILINE)


def command(text):
    """The load command as a list; a plain wrk gets --latency and our script."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ToolError('--load %r: %s' % (text, error))
    if not words:
        raise ToolError('--load is empty')
    if is_wrk(words):
        if '--latency' not in words and '-L' not in words:
            words.insert(1, '--latency')
        if not any(word == '-s' or word.startswith('--script') for word in words):
            words[1:1] = ['-s', LUA]
    return words


def is_wrk(words):
    return os.path.basename(words[0]) in ('wrk', 'wrk2')


def parse(output):
    """Metrics from wrk's output; ToolError when it is not that."""
    rate = RATE.search(output)
    if rate is None:
        raise ToolError('no "Requests/sec" in what the load command printed: only wrk is '
                        'understood')
    values = {'requests_per_second': float(rate.group(1))}
    for share, latency in PERCENTILE.findall(output):
        values['latency_p' + ('%g' % float(share)).replace('.', '')] = units.parse_duration(latency)
    longest = MAXIMUM.search(output)
    if longest:
        values['latency_max'] = units.parse_duration(longest.group(1))
    total = TOTAL.search(output)
    if total:
        values['requests'] = int(total.group(1))
    status, sockets = STATUS.search(output), SOCKET.search(output)
    values['errors'] = (int(status.group(1)) if status else 0) + (
        sum(int(number) for number in sockets.groups()) if sockets else 0)
    own = OWN_LATENCY.search(output)
    if own:
        words = own.group(1).split()
        for name, us in zip(words[::2], words[1::2]):
            values['latency_' + name.replace('.', '')] = int(us) / 1e6
    return values
