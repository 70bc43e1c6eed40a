"""What differs between the two sides of a test, over all their runs."""

from typing import NamedTuple

from .outcome import is_good
from .suites import explanation

WHOLE = '(as a whole)'


class Difference(NamedTuple):
    name: str
    stock: str
    preload: str
    kind: str       # worse, better, unsteady, explained
    why: str = ''


def runs_bad(result, name):
    """Of how many runs a test was bad in, and of how many."""
    runs = result['runs']
    bad = sum(not is_good(outcome) if name == WHOLE else name in failed for outcome, failed in runs)
    return bad, len(runs)


def with_counts(outcome, result, name):
    bad, all_runs = runs_bad(result, name)
    return f'{outcome} (bad in {bad} of {all_runs} runs)' if all_runs > 1 else outcome


def kind_of(name, a, b, stock, preload):
    """Worse is what the last run shows and stock never did."""
    if is_good(a) and not is_good(b) and runs_bad(stock, name)[0] == 0:
        return 'worse'
    if runs_bad(stock, name)[0] or runs_bad(preload, name)[0]:
        return 'better' if is_good(b) and runs_bad(preload, name)[0] == 0 else 'unsteady'
    return 'worse' if b == 'not run' else 'better'


def of(suite, test, stock, preload):
    """The differences of one unit, the whole first."""
    found = []
    cases = sorted({*stock['cases'], *preload['cases']} - {''})     # sub-tests without a name
    for name in [WHOLE, *cases]:
        if name == WHOLE:
            a, b = stock['outcome'], preload['outcome']
        else:
            a, b = (side['cases'].get(name, 'not run') for side in (stock, preload))
        steady = runs_bad(stock, name)[0] in (0, len(stock['runs'])) and \
            runs_bad(preload, name)[0] in (0, len(preload['runs']))
        if a == b and steady:
            continue
        why = explanation(suite, name)
        found.append(Difference(name, with_counts(a, stock, name), with_counts(b, preload, name),
                                'explained' if why else kind_of(name, a, b, stock, preload),
                                why or ''))
    return spread_explanation(found)


def passed(result):
    """Whether the whole and every part of it did."""
    return result is not None and result['outcome'] == 'passed' \
        and 'failed' not in result['cases'].values()


def spread_explanation(found):
    """A whole that differs for explained reasons only is explained as well."""
    parts = [d for d in found if d.name != WHOLE]
    if parts and len(parts) < len(found) and all(d.kind == 'explained' for d in parts):
        return [found[0]._replace(kind='explained', why=parts[0].why), *parts]
    return found
