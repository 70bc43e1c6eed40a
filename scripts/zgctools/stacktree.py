"""Samples folded into a tree, collector threads apart from program threads."""

import os
import re

PROGRAM, COLLECTOR = 'program threads', 'collector threads'
PYTHON = re.compile(r'^py::(.*):([^:]*)$')
LIBRARY = 'libzgcpreload'
MOST_DEEP = 250             # frames, outermost first; what runs below counts for the last


def group_of(comm):
    """The library names its threads zgc-collector, zgc-managed and so on."""
    return COLLECTOR if comm.startswith('zgc-') else PROGRAM


def kind_of(function, place):
    """p Python, z the library, k the kernel, c everything else."""
    if function.startswith('py::'):
        return 'p'
    if LIBRARY in place:
        return 'z'
    return 'k' if place.startswith('[') and 'kernel' in place else 'c'


def shown(function, place):
    """'py::leaf:/srv/app.py' -> 'leaf (app.py)'; an address without a name -> its file."""
    python = PYTHON.match(function)
    if python:
        return '%s (%s)' % (python.group(1), os.path.basename(python.group(2)))
    if function == '[unknown]':
        return '[%s]' % (os.path.basename(place.strip('[]')) or 'unknown')
    return function


class Node:
    __slots__ = ('name', 'kind', 'weight', 'own', 'below')

    def __init__(self, name, kind=''):
        self.name, self.kind = name, kind
        self.weight = self.own = 0
        self.below = {}

    def child(self, name, kind):
        key = (name, kind)
        if key not in self.below:
            self.below[key] = Node(name, kind)
        return self.below[key]


class StackTree:
    """all -> group -> thread name -> functions, outermost first.

    `short` leaves out the functions of C and of the kernel: their time is the own time of the
    function around them.
    """

    def __init__(self, samples, short=False, groups=(PROGRAM, COLLECTOR)):
        self.short = short
        self.root = Node('all')
        self.samples = 0
        self.groups = {}
        self.kinds = set()
        self.self_weights = {group: {} for group in groups}
        self.pids = set()
        self.events = set()
        for sample in samples:
            self.add(sample)

    def add(self, sample):
        self.samples += 1
        self.pids.add(sample.pid)
        self.events.add(sample.event)
        group = group_of(sample.comm)
        path = [(group, 'g'), (sample.comm, 't')]
        kind_before = None
        for function, place in sample.frames:
            # An inlined function belongs to the file of the one around it, which comes before it.
            kind = kind_before if place == 'inlined' and kind_before else kind_of(function, place)
            kind_before = kind
            if not (self.short and kind in 'ck'):
                path.append((shown(function, place), kind))
        self.put(group, path, sample.weight)

    def put(self, group, path, weight):
        """path: [(name, kind)], outermost first."""
        node = self.root
        node.weight += weight
        for name, kind in path[:MOST_DEEP]:
            self.kinds.add(kind)
            node = node.child(name, kind)
            node.weight += weight
        node.own += weight
        self.groups[group] = self.groups.get(group, 0) + weight
        own = self.self_weights[group]
        own[node.name] = own.get(node.name, 0) + weight

    @property
    def unit(self):
        """What weights are: 'ns' of CPU time, 'cycles', or 'bytes'."""
        return 'ns' if all('clock' in event for event in self.events) else 'cycles'

    def top(self, group, most=10):
        """[(function, weight)] by own weight."""
        own = self.self_weights[group]
        return sorted(own.items(), key=lambda item: -item[1])[:most]

    def folded(self):
        """Lines 'all;thread;function weight' as other flame graph tools read them."""
        def walk(node, path):
            here = path + [node.name.replace(';', ':')]
            if node.own:
                yield '%s %d' % (';'.join(here), node.own)
            for child in node.below.values():
                yield from walk(child, here)
        for child in self.root.below.values():
            yield from walk(child, [])
