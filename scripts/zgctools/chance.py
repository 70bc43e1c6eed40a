"""How likely a difference is to appear where there is none: two permutation tests.

Medians and bootstrap intervals of five or ten runs are too trusting by themselves: comparing a
program with itself over a dozen metrics, one of them would look better or worse in one report out
of three. A verdict therefore also asks for a small chance here. The paired test sees through a
drift of the machine but can never be sure with less than eight pairs; the test on the two groups
can be with five.
"""

import itertools
import math
import random

ROUNDS = 4000


def ranks(values):
    """Ranks from 1, equal values share theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in range(start, end + 1):
            found[order[place]] = (start + end) / 2 + 1
        start = end + 1
    return found


def of_pairs(ratios):
    """Signs of the logarithms flipped at random, sum of signed ranks (Wilcoxon)."""
    logs = [math.log(ratio) if ratio > 0 else -math.inf for ratio in ratios if ratio != 1.0]
    if not logs:
        return 1.0
    weights = ranks([abs(value) for value in logs])
    seen = abs(sum(weight if value > 0 else -weight for weight, value in zip(weights, logs)))
    if len(weights) <= 12:
        flips = itertools.product((1, -1), repeat=len(weights))
    else:
        pick = random.Random(1)
        flips = (pick.choices((1, -1), k=len(weights)) for _ in range(ROUNDS))
    return share(flips, lambda signs: abs(sum(w * s for w, s in zip(weights, signs))), seen)


def of_groups(a, b):
    """Runs dealt to the two sides at random, difference of the rank sums (Mann and Whitney)."""
    weights = ranks(list(a) + list(b))
    expected = sum(weights) / 2
    seen = abs(sum(weights[:len(a)]) - expected)
    if math.comb(len(weights), len(a)) <= ROUNDS:
        deals = itertools.combinations(weights, len(a))
    else:
        pick = random.Random(1)
        deals = (pick.sample(weights, len(a)) for _ in range(ROUNDS))
    return share(deals, lambda deal: abs(sum(deal) - expected), seen)


def share(cases, measure, seen):
    total = reached = 0
    for case in cases:
        total += 1
        reached += measure(case) >= seen - 1e-9
    return max(reached, 1) / total
