"""What a plot shows, apart from how it is drawn: svgplot.py and pngplot.py draw the same Chart."""

import math
import re

# Okabe and Ito's colours, which stay apart for colour-blind readers; the first is for A or stock.
COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#7a7a7a', '#8a6d00']


class Axis:
    def __init__(self, label, show, log=False, zero=False, whole=False, margin=0.04, low=None,
                 binary=False):
        self.label = label
        self.show = show          # number -> tick text
        self.log = log
        self.zero = zero          # a linear axis that starts at 0
        self.whole = whole        # ticks at whole numbers only
        self.margin = margin
        self.low = low            # a log axis that starts here
        self.binary = binary      # ticks at powers of two, for sizes

    def span(self, values):
        """Range to draw for these values."""
        values = [v for v in values if v is not None and (v > 0 or not self.log)]
        if not values:
            return (1.0, 10.0) if self.log else (0.0, 1.0)
        low, high = min(values), max(values)
        if self.log and self.low is not None:
            return self.low, max(high * 1.3, self.low * 3)
        if self.log:
            if low == high:
                return low / 2, high * 2
            room = (high / low) ** self.margin
            return low / room, high * room
        if self.zero:
            low = min(low, 0.0)
        if low == high:
            return low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
        room = (high - low) * self.margin
        return (low if self.zero and low == 0 else low - room), high + room

    def place(self, value, span):
        """0..1 along the axis."""
        low, high = span
        if self.log:
            return math.log(max(value, low) / low) / math.log(high / low)
        return (value - low) / (high - low)

    def ticks(self, span, about=6):
        if self.log:
            return log_ticks(*span)
        return linear_ticks(*span, about, self.whole, self.binary)

    def text(self, tick):
        """Tick text: '50 ms' where a table says '50.0 ms'."""
        return re.sub(r'\.0+(?!\d)', '', self.show(tick))


def linear_ticks(low, high, about, whole=False, binary=False):
    rough = (high - low) / max(about, 1)
    if binary:
        step = 2.0 ** math.ceil(math.log2(rough))
    else:
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    if whole:
        step = max(1.0, round(step))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def log_ticks(low, high):
    decades = math.log10(high / low)
    marks = (1,) if decades > 4 else (1, 3) if decades > 1.5 else (1, 2, 5)
    ticks = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        ticks += [m * 10.0 ** power for m in marks]
    inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    return inside if len(inside) > 1 else [low, high]


class Series:
    def __init__(self, kind, name, points, color):
        self.kind = kind          # 'line', 'dots' or 'bars'
        self.name = name
        self.points = points      # (x, y, title) for line and dots, (x0, x1, y, title) for bars
        self.color = color


class Chart:
    def __init__(self, title, x, y, caption='', height=230, width=980):
        self.title, self.caption = title, caption
        self.x, self.y = x, y
        self.height, self.width = height, width
        self.series = []
        self.levels = []          # (y, label): horizontal rules

    def add(self, kind, name, points, color=None):
        points = list(points)
        if points:
            used = len({series.name for series in self.series})
            self.series.append(Series(kind, name, points, color or COLORS[used % len(COLORS)]))

    def line(self, name, points, color=None):
        self.add('line', name, points, color)

    def dots(self, name, points, color=None):
        self.add('dots', name, points, color)

    def bars(self, name, points, color=None):
        self.add('bars', name, points, color)

    def level(self, y, label):
        self.levels.append((y, label))

    def spans(self):
        xs, ys = [], [y for y, _ in self.levels]
        for series in self.series:
            if series.kind == 'bars':
                xs += [p[0] for p in series.points] + [p[1] for p in series.points]
                ys += [p[2] for p in series.points]
            else:
                xs += [p[0] for p in series.points]
                ys += [p[1] for p in series.points]
        return self.x.span(xs), self.y.span(ys)

    def legend(self):
        """(name, color), each name once; nothing for a single unnamed series."""
        seen = {}
        for series in self.series:
            if series.name:
                seen.setdefault(series.name, series.color)
        return list(seen.items()) if len(seen) > 1 else []
