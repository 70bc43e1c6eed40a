"""The ratio B/A with its interval as a strip of SVG, all strips of a table on one scale."""

import math

WIDTH, HEIGHT = 190, 18
COLORS = {'better': '#009e73', 'worse': '#d55e00'}
LIMIT = 30.0        # beyond it a ratio is drawn at the edge, so that small ones stay visible


class Scale:
    def __init__(self, rows):
        edges = [abs(math.log(clamp(edge))) for row in rows
                 for edge in (row.paired.low, row.paired.high)
                 if edge is not None and not math.isinf(edge)]
        self.reach = max(edges + [math.log(1.05)]) * 1.08

    def x(self, ratio):
        place = math.log(clamp(ratio)) / self.reach
        return WIDTH * (0.5 + 0.5 * min(max(place, -1.0), 1.0))

    def draw(self, row):
        paired = row.paired
        if paired.ratio is None:
            return ''
        color = COLORS.get(row.verdict, '#777')
        low, high, middle = self.x(paired.low), self.x(paired.high), self.x(paired.ratio)
        return ('<svg viewBox="0 0 {w} {h}" width="{w}" height="{h}">'
                '<line x1="{c}" x2="{c}" y1="0" y2="{h}" stroke="#bbb" stroke-dasharray="2 2"/>'
                '<line x1="{low:.1f}" x2="{high:.1f}" y1="{m}" y2="{m}" stroke="{color}" '
                'stroke-width="5" stroke-opacity=".35"/>'
                '<circle cx="{at:.1f}" cy="{m}" r="4" fill="{color}"/></svg>'
                ).format(w=WIDTH, h=HEIGHT, c=WIDTH / 2, m=HEIGHT / 2, low=low,
                         high=max(high, low + 1), at=middle, color=color)


def clamp(ratio):
    return min(max(ratio, 1 / LIMIT), LIMIT)
