"""Random small graphs with weak references, callbacks, finalizers and resurrection, dropped all at once.

Prints for each graph what was finalized, which callbacks were called, and what came back to life.
"""

import gc
import random
import sys
import weakref

try:
    import zgc
except ImportError:
    zgc = None

chance = random.Random(int(sys.argv[1]))
GRAPHS = int(sys.argv[2]) if len(sys.argv) > 2 else 400
events = {}
holders = []
revived = []


def note(graph, what, number):
    events.setdefault(graph, []).append(f"{what}{number}")


class Node:
    def __init__(self, graph, number):
        self.graph, self.number, self.links = graph, number, []


class Slotted:
    __slots__ = ("graph", "number", "links", "ref", "__weakref__")

    def __init__(self, graph, number):
        self.graph, self.number, self.links = graph, number, []


class Final(Node):
    def __del__(self):
        note(self.graph, "final", self.number)


class Phoenix(Final):
    def __del__(self):
        super().__del__()
        revived.append(self)


def called(graph, number):
    return lambda ref: note(graph, "called", number)


def make(graph):
    nodes = [chance.choices((Node, Slotted, Final, Phoenix), (6, 3, 3, 1))[0](graph, i)
             for i in range(chance.randrange(1, 9))]
    for i, node in enumerate(nodes):
        node.links.append(nodes[(i + 1) % len(nodes)])           # so that only a collector finds it
        for _ in range(chance.randrange(3)):
            node.links.append(chance.choice((chance.choice(nodes), {}, (i, []))))
        if not chance.randrange(3):
            node.ref = weakref.ref(chance.choice(nodes), called(graph, f"-own-{i}"))
        if not chance.randrange(3):
            holders.append(weakref.ref(node, called(graph, i)))
        if not chance.randrange(6):
            weakref.finalize(node, note, graph, "finalize", i).atexit = False
    return nodes


graphs = [make(graph) for graph in range(GRAPHS)]
held = [nodes[0] for nodes in graphs if not chance.randrange(5)]
for nodes, other in zip(graphs, graphs[1:]):                     # some graphs are one, some watch one another
    if not chance.randrange(8):
        nodes[-1].links.append(other[0])
    if not chance.randrange(4):
        chance.choice(nodes).ref = weakref.ref(other[0], called(other[0].graph, "-far"))
for _ in range(3):
    gc.collect(1)
gc.disable()
# The names of the last nodes would keep them.
nodes = other = None
graphs.clear()
if zgc is not None and chance.randrange(2):
    zgc.collect()
else:
    gc.collect()
for graph in sorted(events):
    print(graph, *sorted(events[graph]))
print("revived", sorted((node.graph, node.number, len(node.links)) for node in revived))
print("dead", sum(ref() is None for ref in holders), "of", len(holders))
held.clear()
revived.clear()
node = None
gc.collect()
gc.collect()
print("left", sum(isinstance(each, (Node, Slotted)) for each in gc.get_objects()) - len(revived))
