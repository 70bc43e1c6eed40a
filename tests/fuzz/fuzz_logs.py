#!/usr/bin/env python3
"""Damaged logs for zgc-log and collapsed stacks for zgc-perf: whatever they read, they report.

    fuzz_logs.py                              2000 inputs from a fixed seed, some 20 s
    fuzz_logs.py --seconds 600 --seed 7
    fuzz_logs.py --input FILE                 one file again, such as the one that a failure leaves

Logs come from the corpus of tests/tools/logs and from makelog; lines, words, numbers and bytes are
exchanged, repeated and replaced by ones at the edges. An input has failed when a reader or a report
raises anything but ToolError, when the JSON is not JSON, when a tag of the page stays open, when a
control character reaches the terminal, or when following the file says something else than reading it.
"""

import argparse
import glob
import gzip
import html.parser
import json
import os
import random
import re
import sys
import tempfile
import time
import traceback
import xml.dom.minidom

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(os.path.dirname(HERE), 'tools')
sys.path[:0] = [TOOLS, os.path.join(os.path.dirname(os.path.dirname(HERE)), 'scripts')]

import makelog                                                          # noqa: E402
from zgctools import collapsed, flamegraph, flamesvg, gclog, logreport, logstats    # noqa: E402
from zgctools.follow import Tail                                        # noqa: E402
from zgctools.tool import ToolError                                     # noqa: E402

MOST_BYTES = 60_000
NUMBERS = [b'0', b'-1', b'1', b'007', b'18446744073709551616', b'9' * 400, b'9' * 5000, b'1e999', b'nan',
           b'inf', b'0.0000001', b'1_000', '²'.encode(), '٣'.encode(), b'']
WORDS = [b'', b' ', b'  ', b'->', b'(', b')', b'GC(', b'GC(0) ', b'GC(m1) ', b'ms', b'M', b'-', b'=', b'\0',
         b'\x1b[2J', b'\r', '\u2028'.encode(), b'\xff\xfe', b'<b>&amp;"', b'%s%d', b'A' * 3000, b';', b'f;' * 3000, b'\t']
TAGS = [b'gc', b'gc,init', b'gc,start', b'gc,phases', b'gc,types', b'gc,young', b'gc,fault', b'gc,director',
        b'gc,exit', b'gc,managed', b'gc,', b',gc']
STACKS = (b'main (a.py:3);work (b.py:10);[list] 4096\nmain (a.py:3);work (b.py:10);malloc 12\n'
          b'main (a.py:3);f (c.py:1) 0\nf 18446744073709551615\n') * 5


def corpus():
    """(kind, bytes)"""
    for path in sorted(glob.glob(os.path.join(TOOLS, 'logs', '*.log*'))):
        with open(path, 'rb') as source:
            yield 'log', source.read()[:MOST_BYTES]
    for seed in range(4):
        made = makelog.MadeLog(seed, collections=8, level=('info', 'debug')[seed % 2])
        yield 'log', made.text().encode()[:MOST_BYTES]
    yield 'stacks', STACKS


class Mutator:
    def __init__(self, seed):
        self.pick = random.Random(seed)
        self.seeds = list(corpus())
        self.lines = [line for kind, data in self.seeds if kind == 'log'
                      for line in data.splitlines(keepends=True)]

    def make(self):
        kind, data = self.pick.choice(self.seeds)
        for _ in range(self.pick.choice((1, 1, 2, 4, 16, 60))):
            data = self.pick.choice((self.line, self.line, self.number, self.number, self.number, self.word,
                                     self.tag, self.byte, self.cut))(data)
        if self.pick.random() < 0.03:
            data = gzip.compress(data)[:self.pick.choice((None, -5, 40))]
        return kind, data[:2 * MOST_BYTES]

    def place(self, data, pattern):
        found = [m.span() for m in re.finditer(pattern, data)]
        return self.pick.choice(found) if found else (0, 0)

    def replace(self, data, pattern, by):
        start, end = self.place(data, pattern)
        return data[:start] + by + data[end:]

    def line(self, data):
        lines = data.splitlines(keepends=True) or [b'']
        at = self.pick.randrange(len(lines))
        what = self.pick.randrange(5)
        if what == 0:
            del lines[at]
        elif what == 1:
            lines.insert(at, lines[self.pick.randrange(len(lines))])
        elif what == 2:
            lines.insert(at, self.pick.choice(self.lines))
        elif what == 3:
            lines[at] = lines[at].rstrip(b'\r\n') + self.pick.choice((b'', b'\r\n', b'\n\n', b'\0\n'))
        else:
            self.pick.shuffle(lines)
        return b''.join(lines)

    def number(self, data):
        return self.replace(data, rb'\d+(\.\d+)?', self.pick.choice(NUMBERS))

    def word(self, data):
        return self.replace(data, rb'\S+', self.pick.choice(WORDS))

    def tag(self, data):
        return self.replace(data, rb'\[gc[\w,]* *\]', b'[' + self.pick.choice(TAGS) + b']')

    def byte(self, data):
        at = self.pick.randrange(len(data) + 1)
        return data[:at] + bytes([self.pick.randrange(256)]) + data[at + self.pick.randrange(2):]

    def cut(self, data):
        at, to = sorted(self.pick.randrange(len(data) + 1) for _ in range(2))
        return data[:at] + data[min(to, at + 200):]


class Page(html.parser.HTMLParser):
    VOID = {'meta', 'br', 'input', 'link', 'img', 'hr'}

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag


def no_constant(name):
    raise AssertionError(name + ' is not JSON')


def check_log(path):
    log = gclog.read([path])
    if not log.lines:
        return
    stats = logstats.Stats(log)
    said = logreport.terminal(stats, [], True)
    strange = [c for c in said if not c.isprintable() and c != '\n']
    assert not strange, 'printed: %r' % strange[:5]
    json.loads(logreport.as_json(stats, []), parse_constant=no_constant)
    page = Page()
    page.feed(logreport.html(stats, [], ['gc.log']))
    assert not page.open, page.open
    with open(path, 'rb') as source:
        if source.read(2) == b'\x1f\x8b':
            return
    tail, reader = Tail(path), gclog.Reader()
    for line in tail.lines():
        reader.feed(gclog.decode(line))
    tail.source.close()
    reader.log.cut = log.cut        # who follows does not know whether the line will go on
    followed = logreport.terminal(logstats.Stats(reader.log), [], True)
    assert followed == said, 'followed, it reads differently'


def check_stacks(path):
    for short in (False, True):
        tree = collapsed.read(path, short)
        if not tree.root.weight:
            continue                # zgc-perf says that there is nothing to draw
        svg = flamesvg.svg(tree, 'title', 'about')
        xml.dom.minidom.parseString(svg)
        page = Page()
        page.feed(flamegraph.html(tree, 'title', 'about'))
        assert not page.open, page.open


CHECKS = {'log': check_log, 'stacks': check_stacks}


def failure(kind, path):
    try:
        CHECKS[kind](path)
    except ToolError:
        pass
    except Exception:
        return traceback.format_exc()
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--runs', type=int, default=2000)
    parser.add_argument('--seconds', type=float, help='instead of a number of inputs')
    parser.add_argument('--input', metavar='FILE', help='only this one')
    parser.add_argument('--kind', choices=CHECKS, default='log', help='of --input')
    chosen = parser.parse_args()
    if chosen.input:
        found = failure(chosen.kind, chosen.input)
        print(found or 'no failure')
        return 1 if found else 0
    mutator, start, runs, failures = Mutator(chosen.seed), time.monotonic(), 0, {}
    with tempfile.TemporaryDirectory(prefix='zgc-fuzz-') as folder:
        path = os.path.join(folder, 'input')
        while (time.monotonic() - start < chosen.seconds if chosen.seconds else runs < chosen.runs):
            kind, data = mutator.make()
            with open(path, 'wb') as out:
                out.write(data)
            found = failure(kind, path)
            runs += 1
            if found and found.splitlines()[-3:] not in failures.values():
                left = os.path.join(tempfile.gettempdir(), 'fuzz-%s-%d-%d' % (kind, chosen.seed, runs))
                os.replace(path, left)
                failures[left] = found.splitlines()[-3:]
                print('%s:\n%s' % (left, found), file=sys.stderr)
    print('%d inputs, %d different failures, %.0f s' % (runs, len(failures), time.monotonic() - start))
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
