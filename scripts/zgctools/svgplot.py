"""Draws a Chart as inline SVG; no dependency, text stays text, hover shows the numbers."""

from html import escape

LEFT, RIGHT, TOP, BOTTOM = 74, 16, 44, 44


class Frame:
    """Coordinates of one chart."""

    def __init__(self, chart):
        self.chart = chart
        self.x_span, self.y_span = chart.spans()
        self.wide = chart.width - LEFT - RIGHT
        self.high = chart.height - TOP - BOTTOM

    def x(self, value):
        return LEFT + self.wide * self.chart.x.place(value, self.x_span)

    def y(self, value):
        return TOP + self.high * (1 - self.chart.y.place(value, self.y_span))


def draw(chart):
    frame = Frame(chart)
    parts = ['<svg viewBox="0 0 %d %d" width="%d" role="img" aria-label="%s">'
             % (chart.width, chart.height, chart.width, escape(chart.title, quote=True)),
             text(8, 18, chart.title, 'title')]
    parts += legend(chart) + axes(frame)
    for series in chart.series:
        parts += DRAW[series.kind](frame, series)
    for value, label in chart.levels:
        y = frame.y(value)
        parts.append('<line class="level" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>'
                     % (LEFT, LEFT + frame.wide, y, y))
        parts.append(text(LEFT + frame.wide - 4, y - 4, label, 'level-label', 'end'))
    return '\n'.join(parts + ['</svg>'])


def text(x, y, content, kind, anchor='start'):
    return ('<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>'
            % (x, y, kind, anchor, escape(str(content))))


def legend(chart):
    parts, x = [], LEFT
    for name, color in chart.legend():
        parts.append('<rect x="%.1f" y="27" width="10" height="10" fill="%s"/>' % (x, color))
        parts.append(text(x + 14, 36, name, 'label'))
        x += 30 + 6.4 * len(name)
    return parts


def axes(frame):
    chart = frame.chart
    parts = []
    bottom = TOP + frame.high
    for tick in chart.y.ticks(frame.y_span, max(frame.high // 26, 3)):
        y = frame.y(tick)
        parts.append('<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>'
                     % (LEFT, LEFT + frame.wide, y, y))
        parts.append(text(LEFT - 6, y + 4, chart.y.text(tick), 'label', 'end'))
    for tick in chart.x.ticks(frame.x_span, max(frame.wide // 80, 3)):
        x = frame.x(tick)
        parts.append('<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>'
                     % (x, x, bottom, bottom + 4))
        parts.append(text(x, bottom + 16, chart.x.text(tick), 'label', 'middle'))
    parts.append('<line class="axis" x1="%d" x2="%d" y1="%d" y2="%d"/>'
                 % (LEFT, LEFT + frame.wide, bottom, bottom))
    parts.append(text(LEFT + frame.wide / 2, bottom + 34, chart.x.label, 'label', 'middle'))
    if chart.y.label:
        parts.append(text(0, 0, chart.y.label, 'label', 'middle').replace(
            '<text x="0.0" y="0.0"',
            '<text transform="translate(13 %.1f) rotate(-90)"' % (TOP + frame.high / 2)))
    return parts


def tip(title):
    return '<title>%s</title>' % escape(title) if title else ''


def draw_line(frame, series):
    points = ['%.1f,%.1f' % (frame.x(p[0]), frame.y(p[1])) for p in series.points]
    line = '<polyline class="line" stroke="%s" points="%s"/>' % (series.color, ' '.join(points))
    # Marks carry the hover text; past a few hundred they only hide the line.
    return [line] + (draw_dots(frame, series) if len(points) <= 300 else [])


def draw_dots(frame, series):
    return ['<circle cx="%.1f" cy="%.1f" r="2.6" fill="%s">%s</circle>'
            % (frame.x(p[0]), frame.y(p[1]), series.color, tip(p[2])) for p in series.points]


def draw_bars(frame, series):
    parts = []
    floor = TOP + frame.high
    for x0, x1, value, title in series.points:
        if not value:
            continue
        left, right, y = frame.x(x0), frame.x(x1), frame.y(value)
        gap = 1.0 if right - left > 4 else 0.0
        # A bar of one among millions would be invisible on a linear axis.
        top = min(y, floor - 1.5)
        parts.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s">%s</rect>'
                     % (left, top, max(right - left - gap, 0.8), floor - top, series.color,
                        tip(title)))
    return parts


DRAW = {'line': draw_line, 'dots': draw_dots, 'bars': draw_bars}
