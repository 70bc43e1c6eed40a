"""A flame graph as one HTML file: click to zoom, type to search, no network."""

import json
from html import escape

from . import stacktree, units

# A box narrower than this share of the whole cannot be seen at any zoom worth having.
SMALLEST = 1 / 20000

COLORS = [('g', '#c9ccd1', 'group'), ('t', '#dfe1e5', 'thread'), ('p', '#7fb77e', 'Python'),
          ('c', '#f0c36d', 'C'), ('z', '#e07a5f', 'zgcpreload'), ('k', '#9aa9c9', 'kernel')]

STYLE = """
body { font: 14px/1.45 system-ui, "DejaVu Sans", sans-serif; margin: 1rem; color: #1a1a1a; }
h1 { font-size: 1.25rem; margin: 0 0 .2rem; } p { margin: .2rem 0 .6rem; color: #555; }
#bar { display: flex; gap: .6rem; align-items: center; flex-wrap: wrap; margin: .5rem 0; }
#bar input { padding: .2rem .4rem; width: 16rem; } #bar button { padding: .2rem .6rem; }
#key span { padding: .05rem .45rem; margin-right: .3rem; font-size: 12px; }
#graph { position: relative; }
#graph div { position: absolute; height: 17px; font-size: 11px; line-height: 17px; overflow: hidden;
  white-space: nowrap; box-sizing: border-box; border-right: 1px solid #fff; padding-left: 3px;
  border-bottom: 1px solid #fff; cursor: pointer; }
#graph div:hover { outline: 1px solid #000; z-index: 1; }
#graph .hit { background: #c026d3 !important; color: #fff; } #graph .up { opacity: .55; }
#line { min-height: 1.4em; color: #222; font-variant-numeric: tabular-nums; }
"""

SCRIPT = """
const KIND = 0, NAME = 1, WEIGHT = 2, BELOW = 3, ROW = 17;
const graph = document.getElementById('graph'), line = document.getElementById('line');
const whole = DATA[WEIGHT];
let focus = [DATA], pattern = null, short = false;
function amount(w) {
  return UNIT === 'ns' ? (w / 1e9).toFixed(3) + ' s'
    : UNIT === 'bytes' ? (w / 1048576).toFixed(2) + ' M' : w.toExponential(3) + ' cycles';
}
function say(node) { return node[NAME] + ': ' + amount(node[WEIGHT]) + ', ' +
  (100 * node[WEIGHT] / whole).toFixed(2) + ' %'; }
// C and kernel frames taken out: their callees move up to the function around them.
function below(node) {
  if (!short) return node[BELOW];
  const merged = new Map();
  (function gather(list) {
    for (const n of list) {
      if ('gtpz'.includes(n[KIND])) {
        const key = n[KIND] + n[NAME], old = merged.get(key);
        if (old) { old[WEIGHT] += n[WEIGHT]; old[BELOW] = old[BELOW].concat(n[BELOW]); }
        else merged.set(key, [n[KIND], n[NAME], n[WEIGHT], n[BELOW].slice()]);
      } else gather(n[BELOW]);
    }
  })(node[BELOW]);
  return [...merged.values()].sort((a, b) => b[WEIGHT] - a[WEIGHT]);
}
function box(node, x, width, row, up, path) {
  const d = document.createElement('div');
  d.style.left = x + 'px'; d.style.top = row * ROW + 'px';
  d.style.width = Math.max(width, 1) + 'px';
  d.style.background = COLOR[node[KIND]] || '#eee';
  if (up) d.className = 'up';
  if (pattern && pattern.test(node[NAME])) d.classList.add('hit');
  if (width > 24) d.textContent = node[NAME];
  d.title = say(node);
  d.onmouseenter = () => { line.textContent = say(node); };
  d.onclick = () => { focus = path; draw(); };
  graph.appendChild(d);
}
function draw() {
  graph.textContent = '';
  const wide = graph.clientWidth;
  let depth = focus.length;
  focus.slice(0, -1).forEach((n, i) => box(n, 0, wide, i, true, focus.slice(0, i + 1)));
  const top = focus[focus.length - 1], scale = wide / top[WEIGHT];
  (function place(node, x, row, path) {
    depth = Math.max(depth, row + 1);
    box(node, x, node[WEIGHT] * scale, row, false, path);
    for (const n of below(node)) {
      if (n[WEIGHT] * scale >= 0.7) place(n, x, row + 1, path.concat([n]));
      x += n[WEIGHT] * scale;
    }
  })(top, 0, focus.length - 1, focus);
  graph.style.height = depth * ROW + 'px';
}
function matched() {        // weight of the outermost boxes that match
  let sum = 0;
  (function walk(node) {
    if (pattern.test(node[NAME])) { sum += node[WEIGHT]; return; }
    below(node).forEach(walk);
  })(focus[focus.length - 1]);
  return sum;
}
document.getElementById('search').oninput = event => {
  try { pattern = event.target.value ? new RegExp(event.target.value, 'i') : null; }
  catch (error) { pattern = null; }
  draw();
  line.textContent = pattern ? 'matched: ' + amount(matched()) + ', ' +
    (100 * matched() / whole).toFixed(2) + ' %' : '';
};
document.getElementById('short').onchange = event => {
  short = event.target.checked; focus = [DATA]; draw();
};
document.getElementById('reset').onclick = () => { focus = [DATA]; draw(); };
window.onresize = draw;
draw();
"""


def packed(node, least):
    """[kind, name, weight, [children]], heaviest child first, boxes nobody sees left out."""
    children = sorted(node.below.values(), key=lambda child: -child.weight)
    return [node.kind or 'g', node.name, node.weight,
            [packed(child, least) for child in children if child.weight >= least]]


def amount(tree, weight):
    if tree.unit == 'bytes':
        return units.size(weight)
    return units.duration(weight / 1e9) if tree.unit == 'ns' else '%.3g cycles' % weight


def sentence(tree):
    whole = tree.root.weight
    if tree.unit == 'bytes':
        return '%s in %d stacks' % (amount(tree, whole), tree.samples)
    parts = ['%d samples' % tree.samples]
    for group in (stacktree.PROGRAM, stacktree.COLLECTOR):
        weight = tree.groups.get(group, 0)
        parts.append('%s %s (%s)' % (group, amount(tree, weight), units.percent(
            weight / whole if whole else 0)))
    return ', '.join(parts)


def html(tree, title, about):
    data = json.dumps(packed(tree.root, tree.root.weight * SMALLEST), separators=(',', ':'))
    key = ''.join('<span style="background:%s">%s</span>' % (color, name)
                  for kind, color, name in COLORS if kind in tree.kinds)
    # A function name must not end the script element.
    data = data.replace('</', '<\\/')
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            '<style>{style}</style></head><body><h1>{title}</h1><p>{about}<br>{sentence}</p>'
            '<div id="key">{key}</div><div id="bar"><input id="search" type="search" '
            'placeholder="search (regular expression)" aria-label="search">'
            '<label><input id="short" type="checkbox" style="width:auto"> without C and kernel functions'
            '</label><button id="reset">whole graph</button></div><div id="line"></div>'
            '<div id="graph"></div>'
            '<script>\nconst DATA = {data};\nconst UNIT = {unit};\nconst COLOR = {color};\n'
            '{script}</script></body></html>\n').format(
                title=escape(title), style=STYLE, about=escape(about),
                sentence=escape(sentence(tree)), key=key, data=data,
                unit=json.dumps(tree.unit), script=SCRIPT,
                color=json.dumps({kind: color for kind, color, _ in COLORS}))
