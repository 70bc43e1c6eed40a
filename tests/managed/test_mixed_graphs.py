"""Random graphs of Python and managed objects: what is reachable stays, what is not goes, whoever has to find it.

A model knows each edge. Each node holds a token of its own, whose end is recorded. The seed changes from run to
run; it is printed, and ZGCTEST_SEED=n repeats a run."""

import gc
import os
import random
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import zgctest                                                          # noqa: E402
import zgc                                                              # noqa: E402

SEED = int(os.environ.get("ZGCTEST_SEED") or random.SystemRandom().randrange(10**9))
ROUNDS = int(os.environ.get("ZGCTEST_ROUNDS") or 6)
STEPS = 400
SLOTS = 4
print(f"test_mixed_graphs.py: ZGCTEST_SEED={SEED}", file=sys.stderr)

ended = set()


class Token:
    def __init__(self, number):
        self.number = number

    def __del__(self):
        ended.add(self.number)


class Plain:
    pass


class Body(zgc.Object):
    token: object
    a: object
    b: object
    c: object
    d: object


class Rows(zgc.List):
    token: object


def of_fields(kind):
    def make(token):
        node = kind()
        node.token = token
        return node

    def put(node, at, value):
        setattr(node, "abcd"[at], value)
    return make, put, lambda node, at: getattr(node, "abcd"[at])


def of_items(make):
    def put(node, at, value):
        node[at] = value
    return make, put, lambda node, at: node[at]


def rows(token):
    node = Rows([None] * SLOTS)
    node.token = token
    return node


KINDS = [of_fields(Plain), of_fields(Body), of_fields(Body), of_items(lambda t: [None] * SLOTS + [t]),
         of_items(lambda t: {**dict.fromkeys(range(SLOTS)), "t": t}),
         of_items(lambda t: zgc.List([None] * SLOTS + [t])),
         of_items(lambda t: zgc.Dict({**dict.fromkeys(range(SLOTS)), t: t})),
         of_items(lambda t: zgc.Array([None] * SLOTS + [t])), of_items(rows)]


class Graph:
    """Nodes are known by their numbers; the graph itself holds those that are roots, and no others."""

    def __init__(self, r):
        self.r, self.roots, self.kind, self.edges = r, {}, {}, {}

    def add(self, number):
        kind = self.r.choice(KINDS)
        self.roots[number] = kind[0](Token(number))
        self.kind[number], self.edges[number] = kind, [None] * SLOTS
        if kind[0] is KINDS[0][0]:
            for name in "abcd":
                setattr(self.roots[number], name, None)

    def reachable(self):
        seen, stack = set(self.roots), list(self.roots)
        while stack:
            for to in self.edges[stack.pop()]:
                if to is not None and to not in seen:
                    seen.add(to)
                    stack.append(to)
        return seen

    def step(self):
        r, act = self.r, self.r.random()
        a, b = r.choice(list(self.roots)), r.choice(list(self.roots))
        at = r.randrange(SLOTS)
        if act < 0.6:
            self.kind[a][1](self.roots[a], at, self.roots[b])
            self.edges[a][at] = b
        elif act < 0.75:
            self.kind[a][1](self.roots[a], at, None)
            self.edges[a][at] = None
        elif act < 0.85 and self.edges[a][at] is not None:      # one that may have no other holder
            number = self.edges[a][at]
            self.roots[number] = self.kind[a][2](self.roots[a], at)
        elif len(self.roots) > 5:
            del self.roots[b]

    def check(self, test, is_all_gone):
        reachable = self.reachable()
        test.assertEqual(reachable & ended, set())
        if is_all_gone:
            test.assertEqual(set(self.edges) - ended, reachable)


@zgctest.requires_active
class MixedGraphs(unittest.TestCase):

    def test_random_graphs(self):
        for i in range(ROUNDS):
            with self.subTest(seed=SEED, round=i):
                ended.clear()
                r = random.Random(f"{SEED} {i}")
                graph = Graph(r)
                for number in range(60):
                    graph.add(number)
                for step in range(STEPS):
                    graph.step()
                    if r.random() < 0.05:
                        graph.add(len(graph.edges))
                    if r.random() < 0.03:
                        r.choice([gc.collect, lambda: gc.collect(0), lambda: zgc.collect("young"),
                                  lambda: zgc.collect("full", wait=False), zgc.collect])()
                        graph.check(self, False)
                for _ in range(3):
                    zgc.collect("full")
                    gc.collect()
                graph.check(self, True)
                graph.roots.clear()
                for _ in range(3):
                    zgc.collect("full")
                    gc.collect()
                self.assertEqual(set(graph.edges), ended)


if __name__ == "__main__":
    zgctest.main()
