"""Subclasses of zgc.List and zgc.Dict with methods of their own: what calls them, and what does not, is as with
subclasses of list and dict."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import zgctest                                                          # noqa: E402
import zgc                                                              # noqa: E402


def refusing(base, names):
    """A subclass of `base` each of whose methods `names` fails."""
    def refuse(self, *arguments):
        raise AssertionError("called")
    return type(base)("Refusing", (base,), dict.fromkeys(names.split(), refuse))


def is_called(operation, *arguments):
    try:
        operation(*arguments)
    except AssertionError:
        return True
    return False


class Overrides(unittest.TestCase):

    def compare(self, plain, managed, names, operations, start):
        for name in names.split():
            for operation in operations:
                theirs, ours = (is_called(operation, refusing(base, name)(start)) for base in (plain, managed))
                self.assertEqual(ours, theirs, (name, operation.__code__.co_firstlineno))

    def test_lists(self):
        operations = (lambda c: c.sort(), lambda c: c.reverse(), lambda c: c.index(3), lambda c: c.count(1),
                      lambda c: c + [1], lambda c: [1, 2][:0] + list(c[:]), lambda c: c * 2, lambda c: c.insert(0, 1),
                      lambda c: c.pop(), lambda c: c.extend([4]), lambda c: c.__iadd__([4]), lambda c: c.__imul__(2),
                      lambda c: 1 in c, lambda c: c.remove(1), lambda c: c == [1], lambda c: c < [1], repr,
                      lambda c: c.copy(), lambda c: c.__setitem__(slice(1, 2), [5, 6]), lambda c: list(c), iter,
                      lambda c: c.__delitem__(slice(1, 2)), lambda c: sorted(c), reversed)
        operations = [o if hasattr(o, "__code__") else (lambda c, o=o: o(c)) for o in operations]
        self.compare(list, zgc.List, "append clear extend __getitem__ __len__ insert pop copy __contains__ index",
                     operations, [3, 1, 2])

    def test_dicts(self):
        operations = (lambda c: c.get(1), lambda c: c == {1: 2}, lambda c: c | {3: 4}, lambda c: {3: 4} | c,
                      lambda c: c.__ior__({5: 6}), lambda c: c.pop(1), lambda c: c.setdefault(7, 8), lambda c: repr(c),
                      lambda c: c.popitem(), lambda c: c.update({1: 3}), lambda c: c.update([(1, 3)]),
                      lambda c: c.update(Keyed()), lambda c: c.copy(), lambda c: dict.fromkeys(c), lambda c: list(c),
                      lambda c: 1 in c.keys(), lambda c: len(c.items()), lambda c: (1, 2) in c.items(),
                      lambda c: 2 in c.values(), lambda c: list(c.values()), lambda c: c.keys() & {1},
                      lambda c: c.keys() == {1, 2}, lambda c: repr(c.items()), lambda c: c.keys().isdisjoint([5]))
        self.compare(dict, zgc.Dict, "get __getitem__ __setitem__ __len__ keys items values copy update __contains__ "
                     "__missing__ pop setdefault", operations, {1: 2, 3: 4})

    def test_no_item_is_made_by_a_look(self):
        for base in dict, zgc.Dict:
            class Default(base):
                def __missing__(self, key):
                    self[key] = 5
                    return 5
            made = Default()
            self.assertNotIn((1, 5), made.items())
            self.assertEqual(len(made), 0)
            self.assertEqual(made[1], 5)
            self.assertIn((1, 5), made.items())

    def test_a_dict_is_merged_without_its_methods(self):
        class Other(dict):
            def __getitem__(self, key):
                return "other"

        class Iterating(Other):
            def __iter__(self):
                return super().__iter__()

        class Managed(zgc.Dict):
            def __getitem__(self, key):
                return "other"
        for kind in Other, Iterating, Managed:
            theirs, ours = dict(kind(a=1)), zgc.Dict(kind(a=1))
            if kind is not Managed:             # to dict it is any mapping
                self.assertEqual(ours, theirs)
            else:
                self.assertEqual(ours, {"a": 1})

    def test_equality_asks_for_no_hash(self):
        class Key:
            asked = 0

            def __hash__(self):
                Key.asked += 1
                return 5
        keys = [Key() for _ in range(4)]
        for kind in dict, zgc.Dict:
            first = kind((key, i) for i, key in enumerate(keys))
            second = kind((key, i) for i, key in reversed([*enumerate(keys)]))
            Key.asked = 0
            self.assertEqual(first, second)
            self.assertEqual(first, first.copy())
            second[keys[0]] = 9
            self.assertNotEqual(first, second)
            self.assertEqual(Key.asked, 1)

    def test_length_hints(self):
        class Hinted:
            def __init__(self, hint):
                self.hint = hint

            def __iter__(self):
                return iter((1, 2))

            def __length_hint__(self):
                if isinstance(self.hint, Exception):
                    raise self.hint
                return self.hint
        for hint in 0, 9, -1, "a", NotImplemented, ValueError("hint"), TypeError("hint"):
            for operation in (lambda c: c.extend(Hinted(hint)), lambda c: type(c)(Hinted(hint)),
                              lambda c: c.__iadd__(Hinted(hint)), lambda c: c.__setitem__(slice(0, 1), Hinted(hint)),
                              lambda c: c.__setitem__(slice(None, None, 2), Hinted(hint))):
                results = []
                for made in [1, 2, 3], zgc.List([1, 2, 3]):
                    try:
                        operation(made)
                        results.append(list(made))
                    except Exception as error:
                        results.append((type(error), str(error), list(made)))
                self.assertEqual(results[1], results[0], repr(hint))


class Keyed:
    def keys(self):
        return [1]

    def __getitem__(self, key):
        return 2


if __name__ == "__main__":
    zgctest.main()
