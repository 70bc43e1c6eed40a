"""A flame graph as a still picture: for a document, a mail, a bug report."""

from html import escape

from .flamegraph import COLORS, amount, sentence
from . import units

WIDE, ROW, LEFT, TOP = 1200, 16, 10, 62
NARROWEST = 0.5             # pixels
LETTER = 6.2                # pixels, about, of the font below


def svg(tree, title, about):
    boxes = []
    depth = place(tree, tree.root, LEFT, 0, (WIDE - 2 * LEFT) / tree.root.weight, boxes)
    high = TOP + depth * ROW + 8
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" '
            'font-family="DejaVu Sans, Verdana, sans-serif" font-size="10.5">\n'
            '<rect width="100%%" height="100%%" fill="#fff"/>\n'
            '<text x="%d" y="20" font-size="15">%s</text>\n'
            '<text x="%d" y="37" fill="#555">%s</text>\n%s\n%s\n</svg>\n'
            % (WIDE, high, WIDE, LEFT, escape(title), LEFT, escape('%s; %s' % (sentence(tree), about)),
               key(tree), '\n'.join(boxes)))


def key(tree):
    parts, x = [], LEFT
    for _, color, name in (one for one in COLORS if one[0] in tree.kinds):
        parts.append('<rect x="%d" y="44" width="10" height="10" fill="%s"/><text x="%d" y="53">%s'
                     '</text>' % (x, color, x + 14, name))
        x += 26 + int(LETTER * len(name))
    return ''.join(parts)


def place(tree, node, x, row, scale, boxes):
    """Draws a node and what is below it, the heaviest at the left; returns the rows it takes."""
    wide = node.weight * scale
    if wide < NARROWEST:
        return row
    y = TOP + row * ROW
    room = int((wide - 4) / LETTER)
    name = node.name if len(node.name) <= room else node.name[:room - 2] + '..' if room > 4 else ''
    color = {kind: color for kind, color, _ in COLORS}[node.kind or 'g']
    boxes.append('<g><title>%s: %s, %s</title><rect x="%.1f" y="%d" width="%.1f" height="%d" '
                 'fill="%s"/>%s</g>' % (
                     escape(node.name), amount(tree, node.weight),
                     units.percent(node.weight / tree.root.weight), x, y, max(wide - 0.6, 0.3),
                     ROW - 1, color,
                     '<text x="%.1f" y="%d">%s</text>' % (x + 3, y + 11, escape(name))
                     if name else ''))
    deepest = row + 1
    for child in sorted(node.below.values(), key=lambda child: -child.weight):
        deepest = max(deepest, place(tree, child, x, row + 1, scale, boxes))
        x += child.weight * scale
    return deepest
