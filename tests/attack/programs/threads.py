"""Threads that make garbage, share it, collect, freeze and fork. Prints that everything has died in the end."""

import gc
import os
import random
import sys
import threading
import weakref

try:
    import zgc
except ImportError:
    zgc = None

seed = int(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 120
shared = [None] * 64
alive = weakref.WeakSet()
lock = threading.Lock()


class Node:
    def __init__(self):
        self.me = self
        self.other = None
        with lock:
            alive.add(self)


def child():
    """In a forked child: a collection works, and the end is the parent's business."""
    gc.collect()
    [Node() for _ in range(50)]
    gc.collect()
    os._exit(0)


def work(number):
    chance = random.Random(seed * 100 + number)
    mine = [[i] for i in range(20000)]
    for i in range(ROUNDS):
        for _ in range(chance.randrange(60)):
            node = Node()
            node.other = shared[chance.randrange(64)]
            shared[chance.randrange(64)] = node if chance.randrange(3) else None
        what = chance.randrange(24)
        if what == 0:
            gc.collect()
        elif what == 1:
            gc.collect(chance.randrange(2))
        elif what == 2:
            gc.freeze()
        elif what == 3:
            gc.unfreeze()
        elif what == 4 and zgc is not None:
            zgc.collect(wait=bool(chance.randrange(2)))
        elif what == 5 and number == 0:
            with lock:                  # the child finds it free
                pid = os.fork()
            if pid == 0:
                child()
            if os.waitpid(pid, 0)[1] != 0:
                print("a child failed")
        elif what < 10:
            mine[chance.randrange(len(mine))] = [mine]
    mine.clear()


threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
shared.clear()
gc.unfreeze()
for _ in range(3):
    gc.collect()
print("left", len(alive), "uncollectable", len(gc.garbage))
