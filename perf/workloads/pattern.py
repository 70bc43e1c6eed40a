"""One program of the sweep: objects of one kind, with one lifetime, beside a heap of one state.

  pattern.py --kind int_tuple --lifetime keep --heap old

Each program does a fixed amount of work, so that time, CPU of all threads and memory compare. It pauses only where
the interpreter makes it.
"""

import collections
import gc

from _measure import Workload, count, main


class Slots:
    __slots__ = ("one", "other")


class Plain:
    def __init__(self, number):
        self.number = number
        self.items = []


class Node:
    def __init__(self, parent=None):
        self.parent = parent
        self.children = []
        if parent is not None:
            parent.children.append(self)


def slots(i):
    made = Slots()
    made.one = i
    made.other = None
    return made


def ring(i):
    first, second, third = Slots(), Slots(), [i]
    first.one, second.one = second, third
    third.append(first)
    return first


def tree(i):
    root = Node()
    Node(Node(root))
    return root


def closure(i):
    def inner():
        return i
    return inner


def suspended(i):
    def numbers():
        yield i
    made = numbers()
    next(made)
    return made


def error(i):
    try:
        raise KeyError(i)
    except KeyError as made:
        return made


KINDS = {
    "int_tuple": lambda i: (i, i),
    "list_pair": lambda i: [i, [i]],
    "record": lambda i: {"id": i, "tags": [i], "name": str(i)},
    "slots": slots,
    "instance": Plain,
    "ring": ring,
    "tree": tree,
    "closure": closure,
    "generator": suspended,
    "iterator": lambda i: iter([i, [i]]),
    "text": str,
    "bytes_300": lambda i: bytes(300),
    "bytes_70k": lambda i: bytes(70_000),
    "set": lambda i: {i, (i, ())},
    "deque": lambda i: collections.deque((i, [i])),
    "exception": error,
}


def dropped(make, total):
    """Each dies at once."""
    for i in range(total):
        make(i)


def keep(make, total):
    """All live to the end, in one list."""
    kept = []
    for i in range(total):
        kept.append(make(i))


def comprehended(make, total):
    """All live to the end, in a list that nobody sees before it is complete."""
    return [make(i) for i in range(total)]


def by_key(make, total):
    """All live to the end, in one dict."""
    kept = {}
    for i in range(total):
        kept[i] = make(i)


def fifo(make, total, length):
    """Each lives until `length` others have been made."""
    queue = collections.deque(maxlen=length)
    for i in range(total):
        queue.append(make(i))


def replaced(make, total):
    """One of 50,000 is replaced, at random."""
    table, at = [None] * 50_000, 1
    for i in range(total):
        at = at * 1103515245 + 12345 & 0x7fffffff
        table[at % 50_000] = make(i)


def batches(make, total):
    """20,000 are made, then all are dropped."""
    for start in range(0, total, 20_000):
        made = [make(i) for i in range(start, start + 20_000)]
    del made


LIFETIMES = {
    "dropped": dropped,
    "keep": keep,
    "comprehended": comprehended,
    "by_key": by_key,
    "fifo_4k": lambda make, total: fifo(make, total, 4000),
    "fifo_20k": lambda make, total: fifo(make, total, 20_000),
    "replaced": replaced,
    "batches": batches,
}


def frozen():
    kept = old()
    gc.freeze()
    return kept


def old():
    kept = [[i] for i in range(300_000)]
    gc.collect()
    return kept


HEAPS = {
    "empty": list,
    "some": lambda: [[i] for i in range(50_000)],
    "old": old,
    "frozen": frozen,
}

TOTAL = 400_000
BYTES_TOTAL = 6000          # of the kinds that take a page or more each


class Pattern(Workload):
    objects = None
    seconds = None

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--kind", choices=KINDS, required=True)
        parser.add_argument("--lifetime", choices=LIFETIMES, required=True)
        parser.add_argument("--heap", choices=HEAPS, default="some")
        parser.add_argument("--total", type=count, metavar="N",
                            help=f"objects made (default: {TOTAL:,}; {BYTES_TOTAL:,} large ones)")

    def build(self):
        self.heap = HEAPS[self.args.heap]()

    def measure(self):
        total = self.args.total or (BYTES_TOTAL if self.args.kind == "bytes_70k" else TOTAL)
        LIFETIMES[self.args.lifetime](KINDS[self.args.kind], total)


if __name__ == "__main__":
    main(Pattern, __doc__)
