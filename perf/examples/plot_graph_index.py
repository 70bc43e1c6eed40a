#!/usr/bin/env python3
"""Draws the samples of graph_index.py: memory and longest request over time, one curve per run.

    graph_index.py --samples managed.json; graph_index.py --plain --samples plain.json
    plot_graph_index.py managed.json plain.json > graph_index.svg
"""

import argparse
import json
import math

WIDE, HIGH, LEFT, TOP, GAP = 720, 190, 62, 34, 52
COLORS = {False: "#1868b7", True: "#c2571a"}
NAMES = {False: "managed objects", True: "objects with __slots__"}


def panel(top, runs, column, title, low, high, place, ticks, unit):
    end = max(run["rows"][-1][0] for run in runs)
    parts = [f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{title}</text>']
    for tick in ticks:
        y = top + HIGH * (1 - place(tick))
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDE}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                     f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}{unit}</text>')
    for run in runs:
        points = " ".join(
            f"{LEFT + WIDE * row[0] / end:.1f},{top + HIGH * (1 - place(min(max(row[column], low), high))):.1f}"
            for row in run["rows"])
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLORS[run["plain"]]}" '
                     f'stroke-width="1.6"/>')
    step = max(int(end / 8), 1)
    for second in range(0, int(end) + 1, step):
        x = LEFT + WIDE * second / end
        parts.append(f'<text x="{x:.1f}" y="{top + HIGH + 16}" text-anchor="middle">{second} s</text>')
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="+", help="what graph_index.py --samples has written")
    parser.add_argument("--cpu", action="store_true", help="requests by the CPU time of the program's thread, "
                        "for runs on a busy machine")
    arguments = parser.parse_args()
    cpu = arguments.cpu
    column = 3 if cpu else 2
    runs = []
    for path in arguments.samples:
        with open(path) as file:
            runs.append(json.load(file))
    peak = max(row[1] for run in runs for row in run["rows"])
    step = 10 ** math.floor(math.log10(peak)) / 2
    top_mb = math.ceil(peak / step) * step
    low_ms, high_ms = 0.01, max(10.0, max(row[column] for run in runs for row in run["rows"]))
    span = math.log10(high_ms / low_ms)
    second = TOP + 22 + HIGH + GAP
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + 16}" '
          f'height="{second + HIGH + 28}" font-family="sans-serif" font-size="12">')
    print('<rect width="100%" height="100%" fill="white"/>')
    x = LEFT
    for run in runs:
        print(f'<rect x="{x}" y="6" width="12" height="12" fill="{COLORS[run["plain"]]}"/>'
              f'<text x="{x + 17}" y="16">{NAMES[run["plain"]]}</text>')
        x += 190
    print(panel(TOP + 22, runs, 1, "resident memory", 0, top_mb, lambda v: v / top_mb,
                [i * step for i in range(int(top_mb / step) + 1)], " MB"))
    print(panel(second, runs, column, "longest request in a fifth of a second" + ", CPU time" * cpu + " (logarithmic)", low_ms, high_ms,
                lambda v: math.log10(v / low_ms) / span,
                [10.0 ** e for e in range(-2, int(math.log10(high_ms)) + 1)], " ms"))
    print("</svg>")


if __name__ == "__main__":
    main()
