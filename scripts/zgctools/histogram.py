"""Counts of durations in log-linear buckets: constant memory, 3 % resolution, exact maximum.

Values are whole nanoseconds. Below 32 each value has its own bucket; above, every power of two is
cut into 32. pausemeter.py repeats the one line of arithmetic in index_of, because it runs inside
the measured program, where a call would cost as much as the rest.
"""

SUB_BITS = 5
BUCKETS = 64 << SUB_BITS


def index_of(ns):
    shift = max(ns.bit_length() - SUB_BITS - 1, 0)
    return (shift << SUB_BITS) + (ns >> shift)


def low_of(index):
    """The smallest value that falls into the bucket."""
    if index < (2 << SUB_BITS):
        return index
    shift = (index >> SUB_BITS) - 1
    return (index - (shift << SUB_BITS)) << shift


class Histogram:
    def __init__(self):
        self.counts = {}
        self.count = 0
        self.total = 0
        self.longest = 0

    def add(self, ns):
        index = index_of(ns)
        self.counts[index] = self.counts.get(index, 0) + 1
        self.count += 1
        self.total += ns
        self.longest = max(self.longest, ns)

    def merge(self, other):
        for index, number in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + number
        self.count += other.count
        self.total += other.total
        self.longest = max(self.longest, other.longest)

    def percentile(self, share):
        """Upper edge of the bucket where `share` of the values is reached, at most the maximum."""
        if not self.count:
            return None
        need = share * self.count
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= need:
                return min(low_of(index + 1), self.longest)
        return self.longest

    def above(self, ns):
        """How many values are certainly at least ns."""
        return sum(number for index, number in self.counts.items() if low_of(index) >= ns)

    def bars(self, marks=(1, 1.5, 2, 3, 5, 7)):
        """(low, high, count) between round numbers in every power of ten, empty ones between
        included."""
        if not self.count:
            return []
        edges = [mark * 10 ** power for power in range(15) for mark in marks]
        edges = edges[:next((i for i, edge in enumerate(edges) if i and edge > self.longest),
                            len(edges) - 1) + 1]
        bars = [[low, high, 0] for low, high in zip(edges, edges[1:])]
        place = 0
        for index in sorted(self.counts):
            middle = (low_of(index) + low_of(index + 1)) / 2
            while place < len(bars) - 1 and middle >= bars[place][1]:
                place += 1
            bars[place][2] += self.counts[index]
        while bars and not bars[0][2]:
            bars.pop(0)
        while bars and not bars[-1][2]:
            bars.pop()
        return [tuple(bar) for bar in bars]
