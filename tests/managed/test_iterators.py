"""Iterators of managed lists, arrays and dicts, and the set operators of views: as those of list and dict."""

import copy
import operator
import pickle
import unittest

import zgc


class Index:
    asked = 0

    def __init__(self, number):
        self.number = number

    def __index__(self):
        Index.asked += 1
        return self.number


def twins():
    yield zgc.List(range(5)), list(range(5))
    yield zgc.Array(range(5)), list(range(5))
    yield zgc.List(), []


class Reversed(unittest.TestCase):

    def test_each_step(self):
        for ours, stock in twins():
            a, b = reversed(ours), reversed(stock)
            for _ in range(8):
                self.assertEqual(operator.length_hint(a), operator.length_hint(b))
                self.assertEqual(list(copy.copy(a)), list(copy.copy(b)))
                self.assertEqual(list(pickle.loads(pickle.dumps(a))), list(pickle.loads(pickle.dumps(b))))
                self.assertEqual(next(a, None), next(b, None))

    def test_what_changes_meanwhile(self):
        for change in ("append", "clear", "pop", "insert"):
            ours, stock = zgc.List(range(5)), list(range(5))
            a, b = reversed(ours), reversed(stock)
            self.assertEqual((next(a), next(a)), (next(b), next(b)))
            for row in ours, stock:
                {"append": lambda: row.append(9), "clear": row.clear, "insert": lambda: row.insert(0, 7),
                 "pop": lambda: [row.pop() for _ in range(3)]}[change]()
            self.assertEqual(operator.length_hint(a), operator.length_hint(b))
            self.assertEqual(list(a), list(b))
            self.assertEqual(list(a), [])

    def test_state(self):
        for state in (-5, -1, 0, 2, 4, 99):
            for make in (reversed, iter) if state >= 0 else (reversed,):    # iter's differs between versions
                a, b = make(zgc.List(range(5))), make(list(range(5)))
                a.__setstate__(state)
                b.__setstate__(state)
                self.assertEqual(list(a), list(b))


class OfDicts(unittest.TestCase):

    def test_copies(self):
        ours, stock = (kind((i, str(i)) for i in range(6)) for kind in (zgc.Dict, dict))
        for view in "keys", "values", "items":
            for turn in iter, reversed:
                a, b = turn(getattr(ours, view)()), turn(getattr(stock, view)())
                for _ in range(8):
                    self.assertEqual(list(copy.copy(a)), list(copy.copy(b)))
                    self.assertEqual(list(pickle.loads(pickle.dumps(a))), list(pickle.loads(pickle.dumps(b))))
                    self.assertEqual(operator.length_hint(a), operator.length_hint(b))
                    self.assertEqual(next(a, None), next(b, None))

    def test_which_of_two_equal_elements(self):
        def kinds(result):
            return sorted((repr(x), type(x).__name__) for x in result)

        for size in range(1, 5):
            ours, stock = (kind((float(i), i) for i in range(3)) for kind in (zgc.Dict, dict))
            for make in (set, frozenset, list, dict.fromkeys, lambda row: dict.fromkeys(row).keys()):
                for other in (make(range(size)), make((float(i), i) for i in range(size))):
                    for view in "keys", "items":
                        for act in operator.and_, operator.or_, operator.sub, operator.xor:
                            a, b = getattr(ours, view)(), getattr(stock, view)()
                            is_view = isinstance(other, type({}.keys()))
                            for left in (True, False)[:1 if is_view else 2]:    # dict's view does not know ours
                                self.assertEqual(*(kinds(act(v, other) if left else act(other, v)) for v in (a, b)))
                        self.assertEqual(a.isdisjoint(other), b.isdisjoint(other))

    def test_what_is_no_set(self):
        for act in operator.and_, operator.or_, operator.sub, operator.xor:
            for other in (5, None, [[1]]):
                said = []
                for kind in zgc.Dict, dict:
                    try:
                        said.append(act(kind({1: 2}).keys(), other))
                    except TypeError as error:
                        said.append(str(error))
                self.assertEqual(*said)


class Slices(unittest.TestCase):

    def test_bounds_are_asked_for_once(self):
        for kind in list, zgc.List, zgc.Array:
            Index.asked = 0
            row = kind(range(10))
            row[Index(1):Index(8):Index(3)] = "abc"
            self.assertEqual(list(row), [0, "a", 2, 3, "b", 5, 6, "c", 8, 9])
            self.assertEqual(Index.asked, 3)


class Words(unittest.TestCase):

    def test_of_wrong_arguments(self):
        """The words that the interpreter has for its own types."""
        calls = [(list, zgc.List, name, args, named)
                 for name in ("sort", "__reversed__") for args, named in (((1,), {}), ((), {"zzz": 1}))]
        calls += [(dict, zgc.Dict, name, args, named)
                  for name in ("keys", "values", "items", "fromkeys", "__reversed__")
                  for args, named in (((1, 2, 3), {}), ((), {"zzz": 1}))]
        for stock, ours, name, args, named in calls:
            said = []
            for kind in stock, ours:
                with self.assertRaises(TypeError) as caught:
                    getattr(kind(), name)(*args, **named)
                said.append(str(caught.exception).replace("List", "list").replace("Dict", "dict"))
            self.assertEqual(*said)


if __name__ == "__main__":
    unittest.main()
