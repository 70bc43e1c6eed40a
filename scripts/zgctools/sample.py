"""Numbers about numbers: percentiles, paired ratios and how far to trust them."""

import math
import random

from . import chance

# Fewer pairs than this and no interval means anything: with four, the widest possible
# bootstrap interval of a median still misses the truth one time in eight.
MIN_PAIRS = 5
MAX_CHANCE = 0.01


def median(values):
    return percentile(values, 0.5)


def percentile(values, share):
    """Linear between neighbours; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def mean(values):
    return sum(values) / len(values) if values else None


class Paired:
    """The comparison of B with A over runs made in pairs.

    ratio is the median of B/A, low..high its bootstrap interval; zero against zero is 1, anything
    against zero is infinite. `shown` says that a difference is there: the interval excludes 1, and
    chance would hardly give such runs.
    """

    def __init__(self, a, b, confidence=0.95, rounds=4000, seed=1):
        self.a_median, self.b_median = median(a), median(b)
        self.pairs = [(x, y) for x, y in zip(a, b) if x is not None and y is not None]
        self.confidence = confidence
        ratios = [ratio_of(x, y) for x, y in self.pairs]
        self.ratio = median_ratio(ratios)
        self.low = self.high = self.ratio
        if len(ratios) > 1:
            self.low, self.high = bootstrap(ratios, confidence, rounds, seed)
        self.enough = len(ratios) >= MIN_PAIRS
        self.shown = self.enough and (self.low > 1.0 or self.high < 1.0) and min(
            chance.of_pairs(ratios), chance.of_groups(*zip(*self.pairs))) < MAX_CHANCE


def ratio_of(x, y):
    if x > 0:
        return y / x
    if x == y:
        return 1.0
    return math.inf


def median_ratio(ratios):
    """Median that survives infinities (no interpolation towards them)."""
    if not ratios:
        return None
    ordered = sorted(ratios)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if math.isinf(high) else (low + high) / 2


def bootstrap(ratios, confidence, rounds, seed):
    """Percentile interval of the median ratio."""
    pick = random.Random(seed)
    medians = sorted(median_ratio(pick.choices(ratios, k=len(ratios))) for _ in range(rounds))
    tail = (1.0 - confidence) / 2
    last = len(medians) - 1
    return medians[round(tail * last)], medians[round((1.0 - tail) * last)]
