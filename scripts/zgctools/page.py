"""One self-contained HTML page: headings, paragraphs, tables and charts, no script, no network."""

from html import escape

from . import svgplot

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
       color: #1a1a1a; background: #fff; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.45rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.sub { color: #555; margin-top: 0; } code { background: #f3f3f3; padding: .05em .3em; }
code { overflow-wrap: anywhere; }
ul.notes { padding-left: 1.2rem; } ul.notes li { margin: .25rem 0; }
.warn { background: #fff3d6; border-left: 4px solid #e69f00; padding: .5rem .8rem;
        margin: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #e2e2e2; text-align: left;
         vertical-align: top; white-space: nowrap; }
th { font-weight: 600; border-bottom: 2px solid #999; } .num { text-align: right; }
td.wide { white-space: normal; color: #555; }
.better { color: #00694d; font-weight: 600; } .worse { color: #b03a00; font-weight: 600; }
.none { color: #666; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
svg { max-width: 100%; height: auto; display: block; }
svg text { font: 11px "DejaVu Sans", system-ui, sans-serif; fill: #333; }
svg .title { font-size: 13px; font-weight: 600; fill: #111; }
svg .grid { stroke: #e4e4e4; stroke-width: 1; } svg .axis { stroke: #888; stroke-width: 1; }
svg .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
svg .level { stroke: #aa0000; stroke-dasharray: 4 3; } svg .level-label { fill: #aa0000; }
figure { margin: 0 0 1rem; } figcaption { color: #555; font-size: .88rem; }
footer { color: #777; font-size: .85rem; margin-top: 3rem; }
"""


class Page:
    def __init__(self, title, subtitle=''):
        self.title = title
        self.parts = ['<h1>%s</h1>' % escape(title)]
        if subtitle:
            self.parts.append('<p class="sub">%s</p>' % escape(subtitle))

    def heading(self, text):
        self.parts.append('<h2>%s</h2>' % escape(text))

    def paragraph(self, text):
        self.parts.append('<p>%s</p>' % escape(text))

    def code(self, label, text):
        self.parts.append('<p>%s <code>%s</code></p>' % (escape(label), escape(text)))

    def warning(self, text):
        self.parts.append('<p class="warn">%s</p>' % escape(text))

    def notes(self, lines):
        self.parts.append('<ul class="notes">%s</ul>'
                          % ''.join('<li>%s</li>' % escape(line) for line in lines))

    def table(self, heads, rows):
        """A head that starts with '>' is a column of numbers, with '~' one of wrapping text.
        A cell is text, (text, class) or Markup."""
        kinds = [' class="num"' if h.startswith('>') else ' class="wide"' if h.startswith('~')
                 else '' for h in heads]
        lines = ['<div class="scroll"><table><tr>']
        lines += ['<th%s>%s</th>' % (kind if 'num' in kind else '', escape(head.lstrip('>~')))
                  for head, kind in zip(heads, kinds)]
        lines.append('</tr>')
        for row in rows:
            lines.append('<tr>' + ''.join(cell(c, kind) for c, kind in zip(row, kinds)) + '</tr>')
        lines.append('</table></div>')
        self.parts.append(''.join(lines))

    def chart(self, chart):
        caption = '<figcaption>%s</figcaption>' % escape(chart.caption) if chart.caption else ''
        self.parts.append('<figure>%s%s</figure>' % (svgplot.draw(chart), caption))

    def charts(self, charts):
        """Small ones, beside each other."""
        self.parts.append('<div class="charts">')
        for chart in charts:
            self.chart(chart)
        self.parts.append('</div>')

    def __str__(self):
        return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
                '<meta name="viewport" content="width=device-width, initial-scale=1">'
                '<title>%s</title><style>%s</style></head><body>\n%s\n'
                '<footer>Written by zgcpreload.</footer></body></html>\n'
                % (escape(self.title), STYLE, '\n'.join(self.parts)))


class Markup(str):
    """A table cell that is HTML already."""


def cell(content, kind):
    if isinstance(content, Markup):
        return '<td>%s</td>' % content
    if isinstance(content, tuple):
        return '<td%s><span class="%s">%s</span></td>' % (kind, content[1], escape(content[0]))
    return '<td%s>%s</td>' % (kind, escape(str(content)))
