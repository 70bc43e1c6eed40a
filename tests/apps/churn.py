"""A heap of rings that changes while a test works, so that there is always garbage among old
objects to be found. One seed gives one history, on stock and under the preload."""

import random


class Node:
    def __init__(self, number):
        self.number = number
        self.me = self
        self.links = {}


class Churn:
    """`live` nodes in rings through dicts, lists, closures and bound methods."""

    def __init__(self, live=20000, seed=1):
        self.random = random.Random(seed)
        self.nodes = [Node(i) for i in range(live)]
        self.made = live
        for node in self.nodes:
            self.link(node)

    def link(self, node):
        other = self.random.choice(self.nodes)
        node.links["list"] = [node, (other.number, [other.number])]
        node.links["closure"] = lambda: node.number
        node.links["method"] = node.__str__

    def step(self, replaced=500):
        """Replaces nodes; what they were part of becomes garbage."""
        for _ in range(replaced):
            node = Node(self.made)
            self.made += 1
            self.nodes[self.random.randrange(len(self.nodes))] = node
            self.link(node)

    def check(self):
        for node in self.nodes:
            assert node.me is node and node.links["list"][0] is node
            assert node.links["closure"]() == node.number
            assert node.links["method"].__self__ is node
            number, copy = node.links["list"][1]
            assert copy == [number]
