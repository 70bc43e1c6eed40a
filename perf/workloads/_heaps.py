"""Live heaps for the workloads to stand beside, and graphs for them to drop."""

from collections import deque
from random import Random


class Record:
    """What a program hangs on its long-lived objects and replaces often: two tracked objects."""

    def __init__(self, number, about):
        self.number = number
        self.values = [number, about]


class Node:
    """A long-lived object; it, its list, its dict and its record are five tracked objects."""

    TRACKED = 5

    def __init__(self, number, peer):
        self.number = number
        self.name = str(number)
        self.tags = [number, self.name]
        self.peer = peer
        self.kids = {number: peer}
        self.record = Record(number, peer)


class LiveHeap:
    """Nodes that never die. Links point at the previous node, or anywhere.

    Only its owner refers to a record, so replacing one frees it by its reference count: the heap
    by itself makes no cyclic garbage.
    """

    def __init__(self, objects, random_links=True, seed=1):
        self.random = Random(seed).random
        self.random_links = random_links
        self.nodes = []
        self.grow(objects)

    def grow(self, objects):
        nodes = self.nodes
        random = self.random
        for number in range(len(nodes), len(nodes) + max(objects // Node.TRACKED, 1)):
            if not nodes:
                peer = None
            elif self.random_links:
                peer = nodes[int(random() * number)]
            else:
                peer = nodes[-1]
            nodes.append(Node(number, peer))

    def churn(self, operations=5):
        """Replace records, swap lists and copy dicts of random nodes: all old, none lost."""
        nodes = self.nodes
        random = self.random
        size = len(nodes)
        for _ in range(operations):
            node = nodes[int(random() * size)]
            other = nodes[int(random() * size)]
            node.record = Record(size, other)
            node.tags, other.tags = other.tags, node.tags
            node.kids = dict(node.kids)


class Tide:
    """Nodes that come in until there are `most`, then go out again, freed by reference count.

    On the way in each young collection finds nothing but survivors, which refer all over the old
    heap; on the way out they are old.
    """

    def __init__(self, heap, most):
        self.heap = heap
        self.nodes = deque()
        self.most = most
        self.rising = True

    def move(self, nodes):
        line = self.nodes
        old = self.heap.nodes
        for number in range(nodes):
            if self.rising:
                line.append(Node(number, old[int(self.heap.random() * len(old))]))
            elif line:
                line.popleft()
        if len(line) >= self.most:
            self.rising = False
        elif not line:
            self.rising = True


class Branch:
    """A tree node that knows its parent: a parent and its children form cycles."""

    def __init__(self, parent=None):
        self.parent = parent
        self.children = []


def family(size):
    """A parent and its children, about `size` tracked objects in one component."""
    parent = Branch()
    for _ in range(max(size // 2 - 1, 1)):
        parent.children.append(Branch(parent))
    return parent
