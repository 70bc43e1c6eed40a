"""The grammar of one line of a GC log.

    [2.413s][info ][gc,phases ] GC(0) Concurrent Pass 1 312.114ms in 2000000 out 1520
     uptime  level  tags        body

A line that does not fit gives None; nothing here raises on damaged input. Numbers are those that the
library can write, of at most 20 digits: anything longer is damage, as are control characters, which
must not reach a terminal and are replaced.
"""

import re

from . import units

WHOLE, PART = r'[0-9]{1,20}', r'[0-9]{1,15}(?:\.[0-9]{1,9})?'
HEAD = re.compile(r'\[([0-9]{1,15}\.[0-9]{1,9})s\]\[(\w+) *\]\[([\w,]+) *\] (.*)$')
NUMBERED = re.compile(rf'GC\(({WHOLE})\) (.*)$')
TITLE = re.compile(r'(Full Collection|Pause Full) \((.+?)\)(?= |$)')
PHASE = re.compile(rf'((?:Concurrent|Pause) .*?) ({PART})ms(?: (.*))?$')
TYPE = re.compile(rf'(.+?) ({WHOLE})(?: |$)')
VERSION = re.compile(rf'zgcpreload (\S+)(?: pid ({WHOLE}))? python (\S+)(?:.*? binding (\S+))?')
OPTION = re.compile(r'option (\w+)=(.*)$')
MANAGED_PAUSE = re.compile(rf'GC\(m{WHOLE}\) (.+?) Pause (.+?) ({PART})ms$')
MANAGED_END = re.compile(rf'GC\(m({WHOLE})\) Managed (.+?) \((.+?)\) marked')
ABANDONED = re.compile(r'(?:Full Collection \((.+?)\) )?abandoned: (.*)$')
ARROW = '->'


class Line:
    __slots__ = ('uptime', 'level', 'tags', 'body', 'number')

    def __init__(self, uptime, level, tags, body, number):
        self.uptime, self.level, self.tags, self.body = uptime, level, tags, body
        self.number = number      # of the collection, or None


def printable(text):
    return text if text.isprintable() else ''.join(c if c.isprintable() else '?' for c in text)


def parse(text):
    found = HEAD.match(printable(text.lstrip('\0').rstrip('\r\n')))
    if found is None:
        return None
    body, number = found.group(4), None
    numbered = NUMBERED.match(body)
    if numbered:
        number, body = int(numbered.group(1)), numbered.group(2)
    return Line(float(found.group(1)), found.group(2), found.group(3), body, number)


def pairs(text):
    """'in 5 out 3' -> {'in': '5', 'out': '3'}; a word left over at the end is dropped."""
    words = text.split()
    return dict(zip(words[::2], words[1::2]))


def whole(text):
    """An integer or None."""
    return int(text) if text is not None and re.fullmatch(WHOLE, text) else None


def last_milliseconds(body):
    """Seconds of '... old 14307 9.019ms', or None."""
    word = body.rpartition(' ')[2]
    return milliseconds(word) if word.endswith('ms') else None


def milliseconds(text):
    """'313.0ms' -> seconds, or None."""
    try:
        return units.parse_duration(text) if text else None
    except ValueError:
        return None


def size(text):
    try:
        return units.parse_size(text) if text else None
    except ValueError:
        return None


def sizes(text):
    """'512M->480M' -> (before, after); one size alone is taken for both."""
    if not text:
        return None, None
    before, arrow, after = text.partition(ARROW)
    return size(before), size(after) if arrow else size(before)


def title(body):
    """(kind, cause, rest) of a start or end line: 'Full Collection', 'Growth', 'old 5 ...'."""
    found = TITLE.match(body)
    if found is None:
        return None
    return found.group(1), found.group(2), body[found.end():].strip()


def phase(body):
    """(name, seconds, {extra}) of a phase or pause line."""
    found = PHASE.match(body)
    if found is None:
        return None
    return found.group(1), float(found.group(2)) / 1e3, pairs(found.group(3) or '')


def types(body):
    """[(type, objects)] of 'garbage Node 900 dict 600'."""
    if not body.startswith('garbage '):
        return None
    return [(name, int(number)) for name, number in TYPE.findall(body[len('garbage '):])]
