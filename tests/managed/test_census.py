"""zgc.census() counts bodies by class, and zgc.stats() tells what bodies hold."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import zgctest                                                          # noqa: E402
import zgc                                                              # noqa: E402


class City(zgc.Object):
    name: object
    next: object


class Village(City):
    n: zgc.i64


def bodies():
    return {name: row for name, row in zgc.census().items() if "bodies" in name}


@zgctest.requires_active
class Census(unittest.TestCase):

    def count(self, cls):
        return bodies().get(f"{cls.__qualname__} (bodies)", (0, 0))

    def test_by_class(self):
        head = None
        for i in range(1000):
            head = (City if i % 4 else Village)(None, head)
        self.assertEqual(self.count(City), (750, 750 * 24))
        self.assertEqual(self.count(Village), (250, 250 * 32))
        head = head.next
        self.assertEqual(self.count(City)[0] + self.count(Village)[0], 999)

    def test_while_bodies_move(self):
        rows = zgc.List(City(None, City()) for _ in range(20000))
        for _ in range(5):
            del rows[::7]
            zgc.collect("full", wait=False)
            for _ in range(20):
                self.assertEqual(self.count(City)[0], 2 * len(rows))

    def test_rows_and_tables(self):
        before = bodies().get("zgc rows and tables (bodies)", (0, 0))
        row, table = zgc.List(range(1000)), zgc.Dict({1: 2})
        after = bodies()["zgc rows and tables (bodies)"]
        self.assertEqual(after[0] - before[0], 3)
        self.assertGreater(after[1] - before[1], 8000)

    def test_held_objects(self):
        before = zgc.stats()["managed"]["python_references"]
        held = zgc.List([object() for _ in range(100)])
        self.assertEqual(zgc.stats()["managed"]["python_references"] - before, 100)
        held.clear()
        self.assertEqual(zgc.stats()["managed"]["python_references"] - before, 0)

    def test_cycles_found_and_left(self):
        class Thing:
            pass

        thing = Thing()
        thing.node = City(City(thing))
        del thing
        before = zgc.stats()["managed"]
        zgc.collect("full")
        after = zgc.stats()["managed"]
        self.assertEqual(after["cycle_groups"], before["cycle_groups"] + 1)
        self.assertEqual(after["cycle_groups_left"], 0)
        self.assertEqual(after["python_references"], before["python_references"] - 1)


if __name__ == "__main__":
    zgctest.main()
