"""Runs of two sides, made in pairs, and what they say."""

import random

from .sample import Paired, MIN_PAIRS

BETTER, WORSE, NO_DIFFERENCE = 'better', 'worse', 'no difference shown'
TOO_FEW, NOT_MEASURED = 'too few runs', 'not measured'


class Row:
    """One metric of a comparison."""

    def __init__(self, metric, a, b, confidence):
        self.metric = metric
        self.a, self.b = a, b
        self.paired = Paired(a, b, confidence)

    @property
    def verdict(self):
        paired = self.paired
        if not paired.pairs:
            return NOT_MEASURED
        if not paired.enough:
            return TOO_FEW
        if not paired.shown:
            return NO_DIFFERENCE
        return BETTER if (paired.ratio > 1.0) == self.metric.higher else WORSE


class Comparison:
    def __init__(self, sides, metrics, confidence):
        self.sides = sides                     # A, B
        self.metrics = metrics
        self.confidence = confidence
        self.runs = {side.key: [] for side in sides}
        self.order = []                        # keys in the order they ran

    def add(self, side, run):
        self.runs[side.key].append(run)
        self.order.append(side.key)

    def rows(self):
        a, b = (self.runs[side.key] for side in self.sides)
        pairs = min(len(a), len(b))
        rows = []
        for metric in self.metrics:
            values = [[run.values.get(metric.key) for run in runs[:pairs]] for runs in (a, b)]
            if any(value is not None for side in values for value in side):
                keep = [(x, y) for x, y in zip(*values) if x is not None and y is not None]
                rows.append(Row(metric, [x for x, _ in keep], [y for _, y in keep],
                                self.confidence))
        return rows

    @property
    def pairs(self):
        return min(len(runs) for runs in self.runs.values())

    def warnings(self):
        """What a reader has to know before trusting the table."""
        told = []
        if self.pairs < MIN_PAIRS:
            told.append('%d pair%s: too few for a verdict, use -n %d or more'
                        % (self.pairs, '' if self.pairs == 1 else 's', MIN_PAIRS))
        for side in self.sides:
            told.extend(side_warnings(side, self.runs[side.key]))
        outputs = {side.key: {run.output for run in self.runs[side.key]} for side in self.sides}
        if all(len(found) == 1 for found in outputs.values()) and len(
                set.union(*outputs.values())) == 2:
            told.append('standard output is the same in all runs of A, the same in all runs of B, '
                        'and differs between A and B')
        return told


def side_warnings(side, runs):
    name = 'side %s (%s)' % (side.key.upper(), side.label)
    measured = [run.pauses for run in runs if run.pauses is not None]
    if not measured:
        return
    if not any(pauses.processes for pauses in measured):
        yield ('%s: no Python process reported pauses (not Python, or started with -I, -E or -S, '
               'which switch PYTHONPATH off)' % name)
        return
    if side.preloaded and any(pauses.summaries for pauses in measured):
        reasons = sorted({reason for pauses in measured for reason in pauses.inactive_reasons()})
        if not any(pauses.active() for pauses in measured):
            yield ('%s: THE LIBRARY WAS NOT ACTIVE, this side ran as stock CPython%s'
                   % (name, ' (%s)' % '; '.join(reasons) if reasons else ''))
    shares = [pauses.callback_seconds / run.values['wall'] for pauses, run in
              zip(measured, runs) if pauses.callback_seconds and run.values.get('wall')]
    if shares and max(shares) > 0.01:
        yield ('%s: timing the pauses cost up to %.1f %% of the wall time here; --no-pauses '
               'measures without it' % (name, 100 * max(shares)))


def schedule(sides, pairs, seed):
    """Pairs of sides, the first one alternating (which side begins is drawn), so that a drift of
    the machine hits both alike."""
    flipped = random.Random(seed).random() < 0.5
    for number in range(pairs):
        for side in reversed(sides) if flipped else sides:
            yield number, side
        flipped = not flipped
