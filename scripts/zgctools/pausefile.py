"""Reads what the pause meter left in a directory."""

import array
import ast
import glob
import os

from . import pausemeter
from .histogram import Histogram

INJECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'inject')


class Pauses:
    """All processes of one run together.

    `summaries` holds what each process said at its exit; one that was killed said nothing, its
    pauses count all the same.
    """

    def __init__(self):
        self.histogram = Histogram()
        self.processes = 0
        self.summaries = []

    @property
    def longest(self):
        """Seconds; never shorter than what the library itself admits, should its work at a
        safepoint lie outside the callbacks."""
        if not self.processes:
            return None
        own = [said['stats'].get(name, 0) for said in self.summaries if 'stats' in said
               for name in ('pause_max_ns', 'young_max_ns')]
        return max([self.histogram.longest] + own) / 1e9

    @property
    def callback_seconds(self):
        """What the meter's own callbacks cost, all processes together; None when unknown."""
        costs = [said['callback_ns'] for said in self.summaries if 'callback_ns' in said]
        if not costs:
            return None
        return self.histogram.count * max(costs) / 1e9

    def inactive_reasons(self):
        return sorted({str(said['status'].get('reason') or 'no reason given')
                       for said in self.summaries
                       if 'status' in said and not said['status'].get('active')})

    def active(self):
        return any(said.get('status', {}).get('active') for said in self.summaries)


def settings(directory):
    """What to set in the environment of a program so that it is measured."""
    path = os.environ.get('PYTHONPATH')
    return ['PYTHONPATH=' + (INJECT + ':' + path if path else INJECT),
            pausemeter.DIRECTORY + '=' + directory]


def read_cells(path):
    """Histogram of one file; None when it is no meter file or was not begun."""
    words = array.array('Q')
    with open(path, 'rb') as source:
        data = source.read()
    if len(data) != pausemeter.SIZE:
        return None
    words.frombytes(data)
    if words[0] != pausemeter.MAGIC:
        return None
    found = Histogram()
    found.count, found.total, found.longest = words[2], words[3], words[4]
    found.counts = {index: number for index, number in enumerate(words[pausemeter.WORDS:])
                    if number}
    return found


def read(directory):
    pauses = Pauses()
    for path in sorted(glob.glob(os.path.join(directory, '*.pauses'))):
        histogram = read_cells(path)
        if histogram is not None:
            pauses.histogram.merge(histogram)
            pauses.processes += 1
    for path in sorted(glob.glob(os.path.join(directory, '*.summary'))):
        with open(path, encoding='utf-8') as source:
            try:
                pauses.summaries.append(ast.literal_eval(source.read()))
            except (ValueError, SyntaxError):    # the process died while writing it
                pass
    return pauses
