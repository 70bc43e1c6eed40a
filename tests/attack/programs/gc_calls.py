"""Random calls of the gc module, from the program, from callbacks and from finalizers, while garbage is made.

Prints only what does not depend on when a collection runs.
"""

import gc
import random
import sys

try:
    import zgc
except ImportError:
    zgc = None

chance = random.Random(int(sys.argv[1]))
STEPS = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
made = died = 0
kept = []
# For callbacks and finalizers: how often they run depends on the collector, and `chance` must not.
inner = random.Random(chance.randrange(1 << 30))
is_ending = False


class Node:
    """Garbage that only a collector finds, once it is dropped."""

    def __init__(self):
        global made
        made += 1
        self.me = self
        self.load = [made] * (made % 20)

    def __del__(self):
        global died
        died += 1
        if died % 500 == 0 and not is_ending:
            inner.choice(ANYWHERE)()


def garbage():
    for _ in range(chance.randrange(1, 400)):
        Node()


def age():
    kept.extend([i] for i in range(chance.randrange(1, 3000)))


def forget():
    del kept[:chance.randrange(len(kept) + 1)]


def switch():
    if zgc is not None:
        zgc.disable()
        zgc.enable()


def stay_off():
    if zgc is not None:
        inner.choice((zgc.disable, zgc.enable))()


def concurrently():
    if zgc is not None:
        zgc.collect(wait=bool(inner.randrange(2)))
    else:
        gc.collect()


ANYWHERE = [
    lambda: gc.collect(0), lambda: gc.collect(1), lambda: gc.collect(2), gc.collect,
    gc.freeze, gc.unfreeze, gc.disable, gc.enable, switch, stay_off, concurrently,
    lambda: gc.set_threshold(inner.choice((0, 1, 50, 700, 2000, 100000)), inner.choice((0, 5, 10)), 10),
    lambda: gc.get_objects(inner.choice((None, 0, 1, 2))), lambda: gc.get_referrers(kept), gc.get_stats,
]
PROGRAM = [garbage] * 8 + [age] * 3 + [forget]


def act():
    chance.choice(ANYWHERE)()


def callback(phase, info):
    if info["generation"] > 2 or phase not in ("start", "stop"):
        print("an unknown event", phase, info)
    if inner.randrange(40) == 0:
        inner.choice(ANYWHERE[:-3])()


gc.callbacks.append(callback)
for _ in range(STEPS):
    (chance.choice(PROGRAM) if chance.randrange(4) else act)()
is_ending = True
gc.callbacks.clear()
if zgc is not None:
    zgc.enable()
gc.set_threshold(700, 10, 10)
gc.unfreeze()
gc.enable()
for _ in range(3):
    gc.collect()
print("all have died:", made == died or (made, died), "uncollectable:", len(gc.garbage), "frozen:", gc.get_freeze_count())
print("thresholds:", gc.get_threshold(), "enabled:", gc.isenabled())
print("alive:", sum(type(each) is Node for each in gc.get_objects()))
