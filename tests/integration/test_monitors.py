"""What a monitor in gc.callbacks is shown: one collection of generation 2 for each full collection.

Agents do much work at the end of each (some count all objects by type), so the batches that a full collection
reclaims its garbage in must not look like full collections, while all sums stay right.
"""

import gc
import unittest

from zgctest import age, main, requires_active, zgc


class Node:
    def __init__(self):
        self.me = self


@requires_active
class Monitor(unittest.TestCase):
    def setUp(self):
        self.events = []
        callback = lambda phase, info: self.events.append((phase, dict(info)))
        gc.callbacks.append(callback)
        self.addCleanup(gc.callbacks.remove, callback)

    def test_one_event_of_generation_2_a_collection(self):
        nodes = [Node() for _ in range(60000)]
        age()
        zgc.collect()
        self.events.clear()
        before = zgc.stats()
        nodes.clear()
        zgc.collect()
        after = zgc.stats()
        stops = [info for phase, info in self.events if phase == "stop"]
        full = [info for info in stops if info["generation"] == 2]
        self.assertGreater(len(stops), len(full) + 3, "the garbage went in one batch: nothing is tested")
        self.assertEqual(len(full), after["collections"] - before["collections"])
        self.assertEqual(sum(info["collected"] for info in full), after["reclaimed"] - before["reclaimed"])

    def test_starts_and_stops_come_in_pairs(self):
        nodes = [Node() for _ in range(20000)]
        age()
        nodes.clear()
        zgc.collect()
        self.assertEqual([phase for phase, _ in self.events], ["start", "stop"] * (len(self.events) // 2))
        for (_, start), (_, stop) in zip(self.events[::2], self.events[1::2]):
            self.assertEqual(start["generation"], stop["generation"])

    def test_what_an_abandoned_collection_has_collected_is_not_lost(self):
        nodes = [Node() for _ in range(60000)]
        age()
        zgc.collect()
        self.events.clear()
        before = zgc.stats()["reclaimed"], sum(each["collected"] for each in gc.get_stats())
        nodes.clear()
        zgc.collect(wait=False)
        for _ in range(3):
            age()
            gc.collect()
        zgc.collect()
        told = sum(info["collected"] for phase, info in self.events if phase == "stop")
        self.assertGreaterEqual(zgc.stats()["reclaimed"] - before[0], 60000)
        self.assertEqual(told, sum(each["collected"] for each in gc.get_stats()) - before[1])


if __name__ == "__main__":
    main()
