"""Random operations on list and zgc.List, and on dict and zgc.Dict, side by side: the same results, the same
exceptions with the same words, the same contents. The seed changes from run to run; it is printed, and
ZGCTEST_SEED=n repeats a run."""

import copy
import gc
import os
import pickle
import random
import sys
import threading
import unittest
import weakref

import zgc

SEED = int(os.environ.get("ZGCTEST_SEED") or random.SystemRandom().randrange(10**9))
ROUNDS = int(os.environ.get("ZGCTEST_ROUNDS") or 100)
print(f"test_differential.py: ZGCTEST_SEED={SEED}", file=sys.stderr)

NAN = float("nan")


class Managed(zgc.Object):
    name: object

    def __repr__(self):
        return f"<{self.name}>"


class Equal:
    """Equal to all others of its number, in Python code."""

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return isinstance(other, Equal) and self.number == other.number

    def __hash__(self):
        return hash(self.number % 3)

    def __repr__(self):
        return f"Equal({self.number})"


class Index:
    def __init__(self, number):
        self.number = number

    def __index__(self):
        if self.number == 13:
            raise ZeroDivisionError("index")
        return self.number


SHARED = [[1], {"a": 1}, (1, 2), object(), NAN, Equal(1), Equal(1), Equal(2), *(Managed(i) for i in range(4))]


def value(r):
    return r.choice((
        lambda: r.randrange(-3, 6), lambda: r.randrange(-3, 6), lambda: r.choice("abcdef"), lambda: r.choice(SHARED),
        lambda: r.choice((None, True, False, ..., 0.0, -0.0, 1.0, 1.5, 0.1, 2**47, -2**47 - 1, 2**70, "", "text" * 9,
                          float("inf"), b"x", 10**20, -1, -2))))()


def key(r):
    """Hashable, most of the time."""
    if r.randrange(30) == 0:
        return [1]
    return r.choice((
        lambda: r.randrange(12), lambda: r.randrange(12) << 44, lambda: r.randrange(12) / 8, lambda: r.choice("abcdef"),
        lambda: r.choice(SHARED[2:]), lambda: (r.randrange(3), "a"), lambda: r.choice((None, True, -1, -2, 2**61, 0.0))))()


def bound(r):
    return r.choice((None, None, *range(-9, 10), 100, -100, 10**30, -10**30, Index(2), Index(-3), Index(13), "x"))


def any_slice(r):
    return slice(bound(r), bound(r), r.choice((None, None, 1, 1, -1, 2, -2, 3, -3, 7, -100, 10**30, 0, Index(1), True)))


def index(r):
    return r.choice((*range(-9, 10), *range(-9, 10), True, Index(1), Index(-1), Index(13), 10**30, "x", None, 1.0))


def values(r, low=0, high=7):
    return [value(r) for _ in range(r.randrange(low, high))]


def iterable(r, container):
    """(what is passed, made from the container's own kind where it is one)"""
    items = values(r)
    return r.choice((lambda: items, lambda: tuple(items), lambda: iter(items), lambda: type(container)(items),
                     lambda: container, lambda: (i for i in items), lambda: 5, lambda: None, lambda: "abc",
                     lambda: dict.fromkeys("ab"), lambda: range(3), lambda: zgc.Array(items), lambda: zgc.List(items)))()


def delete(container, at):
    del container[at]


def assign(container, at, what):
    container[at] = what


def in_place(container, what):
    if isinstance(what, zgc.List):          # list += makes a zgc.List, as with collections.UserList
        what = iter(list(what))
    before = container
    container += what
    return container is before


def times_in_place(container, what):
    before = container
    container *= what
    return container is before


def update_in_place(container, what):
    before = container
    container |= what
    return container is before


LIST = [
    lambda r, c: c.append(value(r)),
    lambda r, c: c.append(value(r)),
    lambda r, c: c.extend(iterable(r, c)),
    lambda r, c: c.insert(index(r), value(r)),
    lambda r, c: c.insert(0, value(r)),
    lambda r, c: c.pop(),
    lambda r, c: c.pop(0),
    lambda r, c: c.pop(index(r)),
    lambda r, c: c.remove(value(r)),
    lambda r, c: c.index(value(r)),
    lambda r, c: c.index(value(r), r.randrange(-9, 9)),
    lambda r, c: c.index(value(r), r.randrange(-9, 9), bound(r)),
    lambda r, c: c.count(value(r)),
    lambda r, c: value(r) in c,
    lambda r, c: c.copy(),
    lambda r, c: copy.copy(c),
    lambda r, c: c.reverse(),
    lambda r, c: r.randrange(8) == 0 and c.clear(),
    lambda r, c: c[index(r)],
    lambda r, c: c[any_slice(r)],
    lambda r, c: assign(c, index(r), value(r)),
    lambda r, c: assign(c, any_slice(r), iterable(r, c)),
    lambda r, c: assign(c, any_slice(r), values(r, 0, 4)),
    lambda r, c: delete(c, index(r)),
    lambda r, c: delete(c, any_slice(r)),
    lambda r, c: c + iterable(r, c),
    lambda r, c: in_place(c, iterable(r, c)),
    lambda r, c: c * r.randrange(-1, 3) if len(c) < 40 else None,
    lambda r, c: r.randrange(-1, 3) * c if len(c) < 40 else None,
    lambda r, c: c * r.choice(("a", 1.0, None)),
    lambda r, c: times_in_place(c, r.choice((-1, 0, 1, 2, 3, "a"))) if len(c) < 20 else None,
    lambda r, c: (c == c[:], c != c[1:], c == type(c)(values(r)), c == list(c), c == tuple(c)),
    lambda r, c: c < type(c)(values(r)),
    lambda r, c: c >= list(c)[: r.randrange(4)] + values(r),
    lambda r, c: c.sort(key=repr, reverse=bool(r.randrange(2))),
    lambda r, c: c.sort(),
    lambda r, c: list(reversed(c)),
    lambda r, c: (len(c), bool(c), repr(c) if len(c) < 9 else 0),
    lambda r, c: [x for x in c],
    lambda r, c: type(c)(iterable(r, c)),
    lambda r, c: c.__init__(values(r)),
    lambda r, c: c.__init__(iterable(r, c), 1),
    lambda r, c: c.insert(1),
    lambda r, c: c.pop(1, 2),
    lambda r, c: c.index(),
    lambda r, c: c.append(),
]

DICT = [
    lambda r, c: c[key(r)],
    lambda r, c: assign(c, key(r), value(r)),
    lambda r, c: assign(c, key(r), value(r)),
    lambda r, c: assign(c, key(r), value(r)),
    lambda r, c: delete(c, key(r)),
    lambda r, c: c.get(key(r)),
    lambda r, c: c.get(key(r), value(r)),
    lambda r, c: c.pop(key(r)),
    lambda r, c: c.pop(key(r), value(r)),
    lambda r, c: c.setdefault(key(r), value(r)),
    lambda r, c: c.setdefault(key(r)),
    lambda r, c: c.popitem(),
    lambda r, c: key(r) in c,
    lambda r, c: c.update(mapping(r, c)),
    lambda r, c: c.update(mapping(r, c), a=1, self=2),
    lambda r, c: c.copy(),
    lambda r, c: copy.copy(c),
    lambda r, c: r.randrange(8) == 0 and c.clear(),
    lambda r, c: (c == type(c)(c), c == dict(c), c == mapping(r, c), c != c.copy()),
    lambda r, c: c | mapping(r, c),
    lambda r, c: dict(mapping(r, {})) | c,
    lambda r, c: update_in_place(c, mapping(r, c)),
    lambda r, c: (list(c), list(c.keys()), list(c.values()), list(c.items())),
    lambda r, c: (list(reversed(c)), list(reversed(c.items())), list(reversed(c.values()))),
    lambda r, c: (len(c), bool(c), len(c.items()), repr(c) if len(c) < 9 else 0),
    lambda r, c: (c.keys() & {1, 2, "a"}) == (set(c) & {1, 2, "a"}),
    lambda r, c: (key(r), value(r)) in c.items(),
    lambda r, c: value(r) in c.values(),
    lambda r, c: type(c).fromkeys(r.choice(("abc", [1, 2, 1], range(5), 5, [[]])), value(r)),
    lambda r, c: type(c)(mapping(r, c)),
    lambda r, c: type(c)([(1, 2), (3,)]),
    lambda r, c: type(c)(((1, 2), "ab", [3, 4])),
    lambda r, c: c.__init__(mapping(r, c)),
    lambda r, c: c.get(),
    lambda r, c: c.pop(),
    lambda r, c: c.pop(1, 2, 3),
    lambda r, c: c.setdefault(),
    lambda r, c: c.popitem(1),
]


def mapping(r, container):
    items = {k: value(r) for k in (r.randrange(12) for _ in range(r.randrange(6)))}
    return r.choice((lambda: items, lambda: type(container)(items), lambda: list(items.items()), lambda: container,
                     lambda: iter(list(items.items())), lambda: 5, lambda: [1], lambda: zgc.Dict(items)))()


def plain(result):
    """What is compared: kinds as their plain names, contents by identity or repr."""
    if isinstance(result, (list, zgc.List)):
        return ["list", *map(plain, result)]
    if isinstance(result, (dict, zgc.Dict)):
        return ["dict", *((plain(k), plain(v)) for k, v in result.items())]
    if isinstance(result, tuple):
        return ("tuple", *map(plain, result))
    if isinstance(result, str):
        return names(result)
    if isinstance(result, (int, float, bytes, type(None))):
        return type(result), repr(result)
    return id(result)


def names(text):
    for ours, theirs in (("zgc.", ""), ("List", "list"), ("Dict", "dict"), ("row_iterator", "list_iterator")):
        text = text.replace(ours, theirs)
    if text.startswith("list([") and text.endswith("])"):
        text = text[5:-1]
    if text.startswith("dict({") and text.endswith("})"):
        text = text[5:-1]
    return text


def outcome(operation, seed, container):
    try:
        return plain(operation(random.Random(seed), container))
    except RecursionError:
        raise
    except Exception as error:
        return type(error), names(str(error))


class SideBySide(unittest.TestCase):

    def run_rounds(self, kinds, operations, fresh, contents):
        r = random.Random(SEED)
        for round in range(ROUNDS):
            start = fresh(r)
            theirs, ours = kinds[0](start), kinds[1](start)
            history = []
            for _ in range(60):
                operation, seed = r.choice(operations), r.random()
                before = contents(theirs)
                expected = outcome(operation, seed, theirs)
                got = outcome(operation, seed, ours)
                history.append(operation.__code__.co_firstlineno)
                where = f"seed {SEED}, round {round}, lines {history[-5:]}, before {before!r:.500}"
                self.assertEqual(got, expected, where)
                self.assertEqual(plain(contents(ours)), plain(contents(theirs)), where)
                if len(theirs) > 200:
                    break
            if round % 50 == 0:
                zgc.collect("young" if round % 100 else "full")

    def test_lists(self):
        self.run_rounds((list, zgc.List), LIST, lambda r: values(r, 0, 20), list)

    def test_dicts(self):
        self.run_rounds((dict, zgc.Dict), DICT, lambda r: {r.randrange(20): value(r) for _ in range(r.randrange(9))},
                        lambda c: list(c.items()))


class Arrays(unittest.TestCase):
    """zgc.Array is a list that keeps its length."""

    def test_arrays(self):
        r = random.Random(SEED)
        for _ in range(ROUNDS):
            theirs = values(r, 0, 12)
            ours = zgc.Array(theirs)
            for _ in range(20):
                at, many = any_slice(r), values(r, 0, 6)
                for operation in (lambda c: c[at], lambda c: c.count(many), lambda c: len(c)):
                    try:
                        expected = operation(theirs)
                    except Exception as error:
                        self.assertRaises(type(error), operation, ours)
                        continue
                    got = operation(ours)
                    self.assertEqual(plain(got.tolist() if isinstance(got, zgc.Array) else got), plain(expected))
                if isinstance(at.start, (int, type(None))) and at.step != 0:
                    try:
                        count = len(theirs[at])
                    except Exception:
                        continue
                    many = [value(r) for _ in range(count)]
                    theirs[at] = many
                    ours[at] = many
                    self.assertRaises(ValueError, ours.__setitem__, at, [*many, 1])
                self.assertEqual(plain(ours.tolist()), plain(theirs))


class Reentrant(unittest.TestCase):
    """Code that runs in the middle of an operation and changes the container: no crash, and what list does."""

    def hostile(self, box, change, result):
        def act():
            if box[0] is not None:      # it is being made
                change(box[0])

        class Hostile:
            def __eq__(self, other):
                act()
                return result

            def __hash__(self):
                return 1

            def __index__(self):
                act()
                return 2

            def __lt__(self, other):
                act()
                return result

            def __iter__(self):
                for i in range(5):
                    act()
                    yield i
        return Hostile()

    def compare(self, make, changes, operations, contents):
        for change in changes:
            for operation in operations:
                for result in True, False:
                    got = []
                    for kind in make:
                        box = [None]
                        hostile = self.hostile(box, change, result)
                        box[0] = make[kind](hostile)
                        try:
                            answer = operation(box[0], hostile)
                            answer = answer if isinstance(answer, (int, bool)) else type(answer).__name__.lower()
                        except Exception as error:
                            answer = type(error)
                        got.append((answer, [x if isinstance(x, int) else "hostile" for x in contents(box[0])]))
                    yield change, operation, result, got

    def test_lists(self):
        make = {list: lambda h: [1, 2, h, 3, h, 4], zgc.List: lambda h: zgc.List([1, 2, h, 3, h, 4])}
        changes = (lambda c: c.clear(), lambda c: len(c) < 30 and c.append(9), lambda c: c and c.pop(0),
                   lambda c: len(c) < 30 and c.insert(0, 8),
                   lambda c: c.__setitem__(slice(None), [7]), lambda c: c.reverse())
        operations = (lambda c, h: 3 in c, lambda c, h: c.index(3), lambda c, h: c.count(3), lambda c, h: c.remove(3),
                      lambda c, h: c == [1, 2, 3, 3, 3, 4], lambda c, h: c < [1, 2, 3, 3, 3, 4], lambda c, h: c[h],
                      lambda c, h: c.__setitem__(h, 5), lambda c, h: c.__delitem__(h), lambda c, h: c.pop(h),
                      lambda c, h: c.insert(h, 5), lambda c, h: c[h:], lambda c, h: c.__delitem__(slice(h, None)),
                      lambda c, h: c.__setitem__(slice(h, None), [1, 2, 3]), lambda c, h: c.__setitem__(slice(2, 5), h),
                      lambda c, h: len(c) < 9 and c.__imul__(h), lambda c, h: c.sort(key=id and (lambda x: h)))
        for change, operation, result, (expected, got) in self.compare(make, changes, operations, list):
            where = f"lines {change.__code__.co_firstlineno}, {operation.__code__.co_firstlineno}"
            self.assertEqual(got, expected, where)

    def test_dicts(self):
        make = {dict: lambda h: {1: 1, h: 2, 3: 3}, zgc.Dict: lambda h: zgc.Dict([(1, 1), (h, 2), (3, 3)])}
        changes = (lambda c: c.clear(), lambda c: len(c) < 30 and c.__setitem__(len(c) + 100, 1), lambda c: c.pop(3, 0),
                   lambda c: c.update(dict.fromkeys(range(50, 80))), lambda c: None)

        class One:
            def __hash__(self):
                return 1

            def __eq__(self, other):
                return NotImplemented
        operations = (lambda c, h: c.get(One()), lambda c, h: One() in c, lambda c, h: c.pop(One(), 0),
                      lambda c, h: c.setdefault(One(), 5), lambda c, h: c.__setitem__(One(), 5),
                      lambda c, h: c == {1: 1, One(): 2, 3: 3}, lambda c, h: c.update({One(): 1}))
        for change, operation, result, (expected, got) in self.compare(make, changes, operations, list):
            if change is changes[-1]:
                self.assertEqual(got, expected, f"line {operation.__code__.co_firstlineno}")

    def test_grows_without_end(self):
        row = zgc.List([1])
        with self.assertRaises(ZeroDivisionError):
            row.extend(i // (1000 - i) + (row.append(0) or 0) for i in range(2000))
        self.assertGreater(len(row), 1900)


class Subclasses(unittest.TestCase):

    def test_fields_survive_copies(self):
        for made in (Row([1, [2]]), Table({"a": [1]})):
            made.note, made.weight = ["note"], 2.5
            for twin in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made)),
                         pickle.loads(pickle.dumps(made, 2))):
                self.assertIs(type(twin), type(made))
                self.assertEqual((twin.note, twin.weight), (made.note, made.weight))
                self.assertEqual(twin, made)
            self.assertIs(copy.copy(made).note, made.note)

    def test_defaults(self):
        self.assertEqual(Row([1]).weight, 0.5)
        self.assertEqual(Table(a=1).weight, 0.5)

    def test_results_are_of_the_base_as_with_list_and_dict(self):
        row, table = Row([1, 2]), Table(a=1)
        for made in (row[:], row + [1], row * 2, row.copy()):
            self.assertIs(type(made), zgc.List)
        self.assertIs(type(table.copy()), zgc.Dict)


class Lifetimes(unittest.TestCase):

    def test_references_are_counted_once(self):
        held = [thing for thing in SHARED if not isinstance(thing, zgc.Object)]

        def counts():
            for _ in range(2):
                gc.collect()
                zgc.collect("full")
            return [sys.getrefcount(thing) for thing in held], zgc.stats()["managed"]["python_references"]
        before = counts()
        r = random.Random(SEED)
        for kind, operations, fresh in ((zgc.List, LIST, lambda: values(r, 0, 20)),
                                        (zgc.Dict, DICT, lambda: {r.randrange(20): value(r) for _ in range(9)})):
            for _ in range(30):
                made = kind(fresh())
                for _ in range(50):
                    outcome(r.choice(operations), r.random(), made)
                    if len(made) > 200:
                        break
        del made
        self.assertEqual(counts(), before, f"seed {SEED}")

    def test_what_leaves_ends_at_once(self):
        class Thing:
            pass
        uses = {zgc.List: (lambda c: c.clear(), lambda c: c.__delitem__(slice(None)), lambda c: c.__imul__(0),
                           lambda c: c.__setitem__(slice(None), []), lambda c: c.__init__(),
                           lambda c: [c.pop() for _ in range(50)], lambda c: [c.pop(0) for _ in range(50)],
                           lambda c: [c.remove(c[0]) for _ in range(50)],
                           lambda c: c.__setitem__(slice(None, None, -1), range(50)),
                           lambda c: (c.__delitem__(slice(None, None, 2)), c.__delitem__(slice(None, None, -1)))),
                zgc.Dict: (lambda c: c.clear(), lambda c: [c.popitem() for _ in range(50)],
                           lambda c: [c.pop(k) for k in list(c)], lambda c: [c.__delitem__(k) for k in list(c)],
                           lambda c: [c.__setitem__(k, 0) for k in list(c)])}
        for kind in uses:
            for use in uses[kind]:
                things = [Thing() for _ in range(50)]
                made = kind(things) if kind is zgc.List else kind(enumerate(things))
                ends = [weakref.ref(thing) for thing in things]
                del things
                use(made)
                self.assertEqual(sum(end() is not None for end in ends), 0, use.__code__.co_firstlineno)


class Row(zgc.List):
    note: object
    weight: zgc.f64 = 0.5


class Table(zgc.Dict):
    note: object
    weight: zgc.f64 = 0.5


class Threads(unittest.TestCase):
    """What is one step with list and dict is one step here."""

    def in_threads(self, work, count=4):
        failures = []

        def guarded(i):
            try:
                work(i)
            except BaseException as error:
                failures.append(error)
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
        self.assertEqual(failures, [])

    def test_each_item_is_popped_once(self):
        table, row, got = zgc.Dict.fromkeys(range(3000)), zgc.List(range(3000)), []

        def work(i):
            mine = []
            for k in range(3000):
                table.pop(k, None)
            while row:
                try:
                    mine.append(row.pop(0))
                except IndexError:
                    break
            got.extend(mine)
        self.in_threads(work)
        self.assertEqual(sorted(got), list(range(3000)))

    def test_pop_takes_a_key_once(self):
        table = zgc.Dict((i, i) for i in range(5000))
        got = []

        def work(i):
            got.extend([k for k in range(5000) if table.pop(k, None) is not None])
        self.in_threads(work)
        self.assertEqual(sorted(got), list(range(5000)))

    def test_popitem_takes_each_once(self):
        table = zgc.Dict((i, i) for i in range(5000))
        got = []

        def work(i):
            try:
                while True:
                    got.append(table.popitem()[0])
            except KeyError:
                pass
        self.in_threads(work)
        self.assertEqual(sorted(got), list(range(5000)))

    def test_setdefault_has_one_winner(self):
        table = zgc.Dict()
        winners = [[] for _ in range(4)]

        def work(i):
            for k in range(3000):
                winners[i].append(table.setdefault(k, [i]))
        self.in_threads(work)
        for row in zip(*winners):
            self.assertTrue(all(found is row[0] for found in row))


if __name__ == "__main__":
    unittest.main()
