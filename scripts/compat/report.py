"""The table of results, and what differs below it."""

from zgctools import texttable

from . import comparison
from .outcome import is_good

HEADS = ('interpreter', 'suite', 'side', '>tests', '>same', '>explained', '>unsteady', '>worse',
         '>better', '>fail on both', '>preload only', '>stock s', '>preload s', '>collections', '>reclaimed')


class Group:
    """All units of one suite on one interpreter."""

    def __init__(self, first):
        self.first = first
        self.counts = dict.fromkeys(
            ('tests', 'explained', 'unsteady', 'worse', 'better', 'both', 'alone'), 0)
        self.seconds = [0, 0]
        self.collections = self.reclaimed = 0

    def add_alone(self, preload):
        """It passed under the preload, and stock was not asked."""
        tests = max(1, len(preload['cases']))
        self.counts['tests'] += tests
        self.counts['alone'] += tests
        self.add_costs(preload, 1)

    def add_costs(self, result, side):
        self.seconds[side] += result['seconds']
        self.collections += result.get('collections', 0)
        self.reclaimed += result.get('reclaimed', 0)

    def add(self, stock, preload, found):
        self.counts['tests'] += max(1, len({*stock['cases'], *preload['cases']}))
        parts = [d for d in found if d.name != comparison.WHOLE] or found
        for d in parts:
            self.counts[d.kind] += 1
        shared = [n for n, o in stock['cases'].items() if not is_good(o)
                  and not is_good(preload['cases'].get(n, 'passed'))]
        both = not is_good(stock['outcome']) and not is_good(preload['outcome'])
        self.counts['both'] += len(shared) or both
        self.add_costs(stock, 0)
        self.add_costs(preload, 1)

    def cells(self):
        c = self.counts
        different = sum(c[kind] for kind in ('explained', 'unsteady', 'worse', 'better', 'alone'))
        return (self.first.python.name, self.first.suite, self.first.side, c['tests'],
                c['tests'] - different, c['explained'], c['unsteady'], c['worse'], c['better'],
                c['both'], c['alone'], *map(round, self.seconds), self.collections, self.reclaimed)


def markdown(table):
    heads = [('---:' if right else '---') for right in table.right]
    rows = [table.heads, heads, *table.rows]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def print_details(state, pair, found, verbose):
    print(f'\n{pair[0].python.name} {pair[0].suite} {pair[0].test}')
    shown = found if verbose else found[:10]
    for d in shown:
        print(f'  {d.kind}: {d.name}: {d.stock} -> {d.preload}{"; " + d.why if d.why else ""}')
    if len(shown) < len(found):
        print(f'  ... {len(found) - len(shown)} more (--verbose)')
    print(f'  {state.path(pair[1], "log")}')


def show(state, pairs, verbose=False, as_markdown=False):
    """Print the table; returns whether anything is worse."""
    groups, details, missing, old = {}, [], 0, 0
    for pair in pairs:
        stock, preload = (state.load(unit, any_library=True) for unit in pair)
        alone = stock is None and comparison.passed(preload)
        if not alone and None in (stock, preload):
            missing += 1
            continue
        old += not state.is_current(pair[1], preload)
        group = groups.setdefault((pair[0].python.name, pair[0].suite), Group(pair[1]))
        if alone:
            group.add_alone(preload)
            continue
        found = comparison.of(pair[0].suite, pair[0].test, stock, preload)
        group.add(stock, preload, found)
        if found:
            details.append((pair, found))
    table = texttable.Table(*HEADS)
    for group in groups.values():
        table.row(*group.cells())
    print(markdown(table) if as_markdown else table)
    for pair, found in details:
        print_details(state, pair, found, verbose)
    if missing:
        print(f'\n{missing} units without both results yet')
    if old:
        print(f'\n{old} results under the preload are of another build of the library')
    return any(group.counts['worse'] for group in groups.values())
