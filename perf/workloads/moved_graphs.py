"""Live graphs moved about: between dicts, by swapped lists, by popped and re-inserted subtrees.

A reference that moves from a container not yet visited to one already visited is what a
concurrent collector can miss. A few trees are dropped as well, so that there is something to find
between the false candidates.
"""

from _heaps import Branch, LiveHeap
from _measure import Workload, main

MOVES_PER_STEP = 8
DROP_EVERY = 50


def tree():
    """A root with three children of three children each: 26 tracked objects."""
    root = Branch()
    for _ in range(3):
        child = Branch(root)
        root.children.append(child)
        child.children.extend(Branch(child) for _ in range(3))
    return root


class MovedGraphs(Workload):

    def build(self):
        self.garbage_size = self.meter.calibrate(tree)
        self.heap = LiveHeap(self.args.objects // 4)
        trees = max(self.args.objects * 3 // 4 // self.garbage_size, 8)
        self.here = {key: tree() for key in range(trees // 2)}
        self.there = {key: tree() for key in range(trees // 2, trees)}
        self.limbo = []
        self.moves = 0

    def step(self):
        self.heap.churn(1)
        for _ in range(MOVES_PER_STEP):
            self.move_tree()
            self.swap_children()
            self.reinsert_subtree()

    def move_tree(self):
        if len(self.here) < 2:
            self.here, self.there = self.there, self.here
        key, root = self.here.popitem()
        self.moves += 1
        if self.moves % DROP_EVERY == 0:
            root = tree()
            self.meter.garbage_made += self.garbage_size
        self.there[key] = root
        self.last = root

    def swap_children(self):
        """Exchange the children lists of two subtrees of one tree, then of one node's."""
        first, second, third = self.last.children
        first.children, third.children = third.children, first.children
        for owner in (first, third):
            for leaf in owner.children:
                leaf.parent = owner
        second.children.reverse()

    def reinsert_subtree(self):
        """Pop a subtree; put back one popped earlier, so that it has moved to another tree."""
        root = self.last
        self.limbo.append(root.children.pop())
        if len(self.limbo) > 4:
            subtree = self.limbo.pop(0)
            subtree.parent = root
            root.children.append(subtree)
        else:
            root.children.append(Branch(root))


if __name__ == "__main__":
    main(MovedGraphs, __doc__)
