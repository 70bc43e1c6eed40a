"""Sentences about a log, each only where numbers support it.

A rule looks at Stats and returns a sentence with its numbers, or None.
"""

from . import units


def rule_faults(stats):
    if stats.faults:
        first = next(text for p in stats.log.processes for _, text in p.faults)
        return ('%d fault%s of the collector %s survived, the first: "%s". After repeated faults the '
                'stock collector takes over.'
                % (stats.faults, '' if stats.faults == 1 else 's',
                   'was' if stats.faults == 1 else 'were', first))


def rule_escalation(stats):
    number = stats.count_of('Escalation')
    if number:
        return ('%d of %d collections were escalations: garbage was made faster than concurrent '
                'collections reclaimed it. A lower ZGC_TRIGGER starts them earlier; a higher '
                'ZGC_PAUSE_TARGET lets each safepoint reclaim more.'
                % (number, len(stats.finished)))


def rule_explicit(stats):
    stopped = [one for one in stats.stopped if one.pause_total]
    spent = sum(one.pause_total for one in stopped)
    if stopped and spent > 0.01 * stats.seconds:
        return ('gc.collect() was called %d times and stopped the program for %s in all, %s of the '
                'time. Where the program only wants memory back, zgc.collect(wait=False) does not '
                'stop it.' % (len(stopped), units.duration(spent),
                              units.percent(spent / stats.seconds)))


def rule_useless(stats):
    """Growth collections that found next to nothing."""
    ran = [one for one in stats.finished if one.cause in ('Growth', 'Heap Growth') and one.old
           and one.reclaimed is not None]
    idle = [one for one in ran if one.reclaimed < one.old * 0.001]
    if len(idle) >= 5 and len(idle) >= 0.8 * len(ran):
        return ('%d of %d collections for growth reclaimed less than 0.1 %% of the old objects. A '
                'higher ZGC_TRIGGER (now %s) saves their CPU time, %s in all.'
                % (len(idle), len(ran), trigger(stats),
                   units.duration(sum(one.concurrent or 0.0 for one in idle))))


def rule_busy(stats):
    spent = sum(one.concurrent or 0.0 for one in stats.finished)
    if stats.seconds > 5 and spent > 0.5 * stats.seconds:
        return ('The collector was at work %s of the time. Where its core is wanted for something '
                'else, a higher ZGC_TRIGGER (now %s) makes collections rarer and garbage wait '
                'longer.' % (units.percent(spent / stats.seconds), trigger(stats)))


def rule_pause(stats):
    """Pauses above the target, and which kind they are."""
    longest, young, full = stats.pause_max, stats.young_pause_max, stats.full_pause_max
    concurrent = [one for one in stats.collections if one.kind != 'Pause Full']
    if longest is None or longest < 1e-3:
        return None

    def is_it(seconds):     # the line at the exit counts a little more to a pause than the others do
        return seconds is not None and seconds >= 0.95 * longest
    if is_it(young):
        mean = stats.young_total / stats.young_count if stats.young_total else None
        if mean and young > 30 * mean:
            return ('The longest pause, %s, is a young collection far above their mean of %s: a '
                    'burst of surviving objects, or a thread that had to wait for a processor.'
                    % (units.duration(young), units.duration(mean)))
        return ('The longest pause, %s, is a young collection. A lower ZGC_YOUNG makes young '
                'collections shorter and more frequent.' % units.duration(young))
    listed = [(seconds, name, one.number) for one in concurrent for name, seconds, *_ in one.phases
              if name.startswith('Pause')]
    if listed and is_it(full) and full == max(listed)[0]:
        seconds, name, number = max(listed)
        return ('The longest pause, %s, is "%s" of GC(%d). A lower ZGC_PAUSE_TARGET cuts such work '
                'into smaller slices, unless one component of garbage is that large.'
                % (units.duration(seconds), name, number))
    return None


def rule_deferred(stats):
    deferred = sum(row.total for row in stats.phases if row.name == 'Pause Defer')
    if deferred > 0.05 and stats.pause_total and deferred > 0.5 * stats.pause_total:
        return ('%s of the pause time went into types that only their own tp_traverse can read '
                '(Pause Defer): mostly containers of C extensions.'
                % units.percent(deferred / stats.pause_total))


def rule_false_candidates(stats):
    found = sum(one.found or 0 for one in stats.finished)
    reclaimed = stats.reclaimed or 0
    if found > 10000 and reclaimed < 0.8 * found:
        return ('Of %s objects taken for garbage %s were reclaimed. The rest came back to life or '
                'was held by a finalizer, a weak reference or a C extension.'
                % (units.count(found), units.count(reclaimed)))


def rule_growth(stats):
    """A live heap that only grows, and not just while the program loads its data."""
    for process in stats.log.processes:
        after = [(one.ended, one.heap_after) for one in process.ordered()
                 if one.complete and one.heap_after]
        if len(after) < 5 or after[-1][0] - after[0][0] < 10:
            continue
        middle = next(heap for at, heap in after if at >= (after[0][0] + after[-1][0]) / 2)
        first, last = after[0][1], after[-1][1]
        rising = sum(1 for (_, a), (_, b) in zip(after, after[1:]) if b > a)
        if last > 1.5 * first and last > 1.2 * middle and rising >= 0.9 * (len(after) - 1):
            return ('The heap after collections rose from %s to %s in %s, with hardly a step down: '
                    'live data, which no collector can free (a cache without limit, a list that '
                    'only grows?).' % (units.size(first), units.size(last),
                                       units.duration(after[-1][0] - after[0][0])))


def rule_pressure(stats):
    number = stats.count_of('Memory Pressure')
    if number >= 3 and number >= 0.3 * len(stats.finished):
        return ('%d of %d collections ran because memory was short, with RSS up to %s: the limit '
                'is close to what the program needs.'
                % (number, len(stats.finished), units.size(stats.rss_max)))


def rule_one_type(stats):
    number = sum(count for _, count in stats.types)
    if number >= 1000:
        name, count = stats.types[0]
        if name in ('dict', 'list', 'tuple', 'cell', 'function') and len(stats.types) > 1:
            # The containers come with the objects that own them; name an owner if there is one.
            name, count = next(((n, c) for n, c in stats.types
                                if n not in ('dict', 'list', 'tuple', 'cell', 'function', 'set')),
                               (name, count))
        if count >= 0.3 * number:
            return ('%s of the garbage objects named in this log are %s: a weak reference for '
                    'their way back (parent, owner, callback) would free them without a collector.'
                    % (units.percent(count / number), name))


def trigger(stats):
    for process in stats.log.processes:
        if 'ZGC_TRIGGER' in process.options:
            return process.options['ZGC_TRIGGER'].rstrip('%') + ' %'
    return '25 %'


RULES = [rule_faults, rule_escalation, rule_pressure, rule_explicit, rule_pause, rule_deferred,
         rule_growth, rule_useless, rule_busy, rule_false_candidates, rule_one_type]


def of(stats):
    return [sentence for sentence in (rule(stats) for rule in RULES) if sentence]
