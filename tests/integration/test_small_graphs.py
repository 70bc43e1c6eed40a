"""All graphs of up to three objects, as garbage: with one held from outside or none, one with a weak reference or none,
one with a finalizer or none, which may make its object reachable again.

They become garbage at once. Each is a component of its own and is taken apart by our own verdict (ZGC_COMPONENT_MAX is
1), in many short slices between which the program runs. What is left of each graph must be what stock leaves.
"""

import unittest

from zgctest import main, requires_active, run

PROGRAM = """
import gc, itertools, sys, weakref
try:
    import zgc
except ImportError:
    zgc = None
class Node:
    pass
class Final(Node):
    def __del__(self):
        self.events.append("final")
class Back(Node):
    def __del__(self):
        self.events.append("back")
        self.events.append(self)
class Token:
    pass
keep = [[i] for i in range(30_000)]
graphs, all_nodes = [], []
def make(size, edges, held, watched, final, kind):
    token, events = Token(), []
    nodes = [(kind if i == final else Node)() for i in range(size)]
    for i, node in enumerate(nodes):
        node.token, node.events = token, events
        node.edges = [nodes[j] for j in range(size) if edges >> (i * size + j) & 1]
    ref = None if watched is None else weakref.ref(nodes[watched], lambda ref, events=events: events.append("called"))
    all_nodes.append(nodes)
    graphs.append((token, events, None if held is None else nodes[held], ref))
for size in range(1, 4):
    some = [None, *range(size)]
    for edges in range(1 << size * size):
        if size == 3 and (edges * 37 >> 3) % STEP != PART:     # of every row of edges some
            continue
        for held, watched in itertools.product(some, some):
            make(size, edges, held, watched, None, None)
            for final, kind in itertools.product(range(size), (Final, Back)):
                make(size, edges, held, watched, final, kind)
def count_reachable(alive, seen):
    # Reachable objects are whole: each has its edges, its token, its events.
    stack, count = [alive], 0
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        count += 1
        assert node.token and node.events is not None
        stack.extend(node.edges)
    return count
for _ in range(3):
    gc.collect(1)
all_nodes.clear()
if zgc:
    zgc.collect(wait=False)
    for i in range(400_000):
        keep.append([i])
        if len(keep) > 50_000:
            del keep[30_000:]
    zgc.collect()
gc.collect()
gc.collect()
for token, events, held, ref in graphs:
    names = [e for e in events if isinstance(e, str)]
    back = [e for e in events if not isinstance(e, str)]
    seen = set()
    whole = sum(count_reachable(node, seen) for node in [held, *back] if node is not None)
    print(sys.getrefcount(token), *names, ref is None or ref() is None, whole)
    del back
"""

STEP = 8 # of the graphs of three; every part takes the library and stock a second each


@requires_active
class SmallGraphsTest(unittest.TestCase):
    def test_all_are_as_with_stock(self):
        for part in (0b101, 0b110):
            code = PROGRAM.replace("STEP", str(STEP)).replace("PART", str(part))
            expected = run(code, preload=False).out.splitlines()
            result = run(code, options={"SMALL": 0, "COMPONENT_MAX": 1, "PAUSE_TARGET": 50})
            ours = result.out.splitlines()
            differing = [(i, a, b) for i, (a, b) in enumerate(zip(expected, ours)) if a != b]
            self.assertEqual((len(expected), differing[:10]), (len(ours), []), result.log[-2000:])
            self.assertIn("Large Component", result.log)


if __name__ == "__main__":
    main()
