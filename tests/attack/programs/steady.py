"""A program whose live heap does not grow, and that does something odd with the gc module at regular intervals.

Memory must stay where stock's is, however long it runs. Prints nothing that depends on time.
"""

import gc
import random
import sys

chance = random.Random(int(sys.argv[1]))
STEPS = int(sys.argv[2]) if len(sys.argv) > 2 else 60000


def nothing():
    pass


def collect_0():
    gc.collect(0)


def collect_1():
    gc.collect(1)


def freeze_and_unfreeze():
    gc.freeze()
    gc.unfreeze()


def off_and_on():
    gc.disable()
    gc.enable()


def thresholds():
    gc.set_threshold(*gc.get_threshold())


def look():
    gc.get_objects(1)


class Node:
    pass


def ring(size):
    first = node = Node()
    for _ in range(size - 1):
        node.next = Node()
        node = node.next
    node.next = first
    return first


habit = chance.choice((nothing, collect_0, collect_1, freeze_and_unfreeze, off_and_on, thresholds, look))
often = chance.choice((100, 500, 2000))
size = chance.choice((2, 3, 20))
make = chance.choice((ring, lambda n: [[i] for i in range(n)], lambda n: {i: (i, [i]) for i in range(n)}))
heap = [[i] for i in range(chance.choice((0, 50_000, 150_000)))]
buffer = [None] * chance.choice((50, 5000))
for i in range(STEPS):
    buffer[chance.randrange(len(buffer))] = make(size)
    if i % often == 0:
        habit()
print(habit.__name__, often, size, len(heap), len(buffer))
