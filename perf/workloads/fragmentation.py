"""A heap of mixed objects, of which nine tenths are dropped at random: what stays resident, at once and
after two seconds of light work. No cycles: all of them die by reference count."""

import random
import time

from _measure import Workload, main, vm_mb


class Instance:
    """Two to ten attributes."""

    def __init__(self, number, count):
        for name in NAMES[:count]:
            setattr(self, name, number)


NAMES = [f"name_{i}" for i in range(40)]


def make(draw, number):
    """Lists, dicts, strings and instances; many are small, few are large."""
    kind = int(draw() * 8)
    size = int(2 ** (draw() * 10))  # 1 to 1023, each doubling as often as the others
    if kind < 2:
        return [number] * size
    if kind < 4:
        return dict.fromkeys(NAMES[:1 + size % 40], number)
    if kind < 6:
        return chr(97 + number % 26) * (8 * size)
    if kind < 7:
        return Instance(number, 2 + size % 9)
    return (number, [number], {"key": str(number)})


class Fragmentation(Workload):
    seconds = 2.0

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--megabytes", type=int, default=2048, metavar="N",
                            help="size of the heap (default: %(default)s)")

    def build(self):
        draw = random.Random(1).random
        self.items = []
        # By a number of objects, so that both sides have the same: some 750 bytes each.
        for number in range(self.args.megabytes * 1400):
            self.items.append(make(draw, number))
        self.draw = draw
        self.full_mb = vm_mb("VmRSS")

    def step(self):
        """Some of what is left is looked at, as by a server's request."""
        items, draw = self.items, self.draw
        picked = [items[int(draw() * len(items))] for _ in range(50)]
        return [item for item in picked if item is not None]

    def measure(self):
        items, draw = self.items, self.draw
        for i in range(len(items)):
            if draw() < 0.9:
                items[i] = None
        at_once = vm_mb("VmRSS")
        self.meter.run_steps(self.step, self.args.seconds)
        self.meter.metrics.update(rss_full_mb=self.full_mb, rss_at_once_mb=at_once,
                                  rss_later_mb=vm_mb("VmRSS"))


if __name__ == "__main__":
    main(Fragmentation, __doc__)
