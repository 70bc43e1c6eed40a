"""Random operations on managed objects and on plain Python objects, side by side: every read must
agree, whatever the collector does meanwhile."""

import gc
import os
import random
import threading
import unittest

import zgc

SEED = int(os.environ.get("ZGCTEST_SEED", "1"))
STEPS = int(os.environ.get("ZGCTEST_STEPS", "30000"))


class Node(zgc.Object):
    left: "Node"
    right: object
    key: zgc.i64
    weight: zgc.f64
    small: zgc.i8


class Plain:
    def __init__(self):
        self.left = self.right = None
        self.key = self.small = 0
        self.weight = 0.0


class Model:
    """Pairs (managed, plain); a plain object names its managed twin only through the pairing of
    roots, so that managed bodies without a handle stay reachable by walking alone."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.roots = []

    def value(self):
        """A value to store: (managed side, plain side)."""
        kind = self.random.randrange(12)
        if kind < 5 and self.roots:
            return self.random.choice(self.roots)
        number = self.random.choice([0, 1, -1, 2**47 - 1, -2**47, 2**47, -2**47 - 1, 2**70,
                                     self.random.getrandbits(40)])
        if kind == 5:
            return number, number
        if kind == 6:
            value = self.random.choice([0.0, -0.0, 1.5, 0.1, float("inf"), 1e300, self.random.random()])
            return value, value
        if kind == 7:
            value = self.random.choice([True, False, None, ..., "", "text", b"bytes", (1, 2)])
            return value, value
        if kind == 8:
            value = [self.random.random()]
            return value, value
        if kind == 9:
            value = {"key": str(number)}
            return value, value
        return None, None

    def same(self, managed, plain):
        if isinstance(plain, Plain):
            if not isinstance(managed, Node):
                raise AssertionError(f"{managed!r} should be a Node")
            assert managed.key == plain.key, (managed.key, plain.key)
        elif isinstance(plain, (list, dict)):
            assert managed is plain
        else:
            assert type(managed) is type(plain) and repr(managed) == repr(plain), (managed, plain)

    def step(self):
        what = self.random.randrange(100)
        if what < 25 or not self.roots:
            managed, plain = Node(), Plain()
            managed.key = plain.key = self.random.getrandbits(62)
            self.roots.append((managed, plain))
            if len(self.roots) > 60:
                del self.roots[self.random.randrange(len(self.roots))]
            return
        managed, plain = self.random.choice(self.roots)
        self.same(managed, plain)
        if what < 50:
            new, new_plain = self.value()
            if self.random.randrange(2) and (new is None or isinstance(new, Node)):
                managed.left, plain.left = new, new_plain
            else:
                managed.right, plain.right = new, new_plain
        elif what < 60:
            managed.weight = plain.weight = self.random.random()
            managed.small = plain.small = self.random.randrange(-128, 128)
        elif what < 90:
            for _ in range(self.random.randrange(12)):
                side = self.random.choice(("left", "right"))
                child, child_plain = getattr(managed, side), getattr(plain, side)
                self.same(child, child_plain)
                assert getattr(managed, side) is child or not isinstance(child, Node)
                assert managed.weight == plain.weight and managed.small == plain.small
                if not isinstance(child, Node):
                    break
                managed, plain = child, child_plain
            if self.random.randrange(3) == 0:
                self.roots.append((managed, plain))
        else:
            del self.roots[self.random.randrange(len(self.roots))]

    def check_all(self):
        seen, stack = {}, list(self.roots)
        while stack:
            managed, plain = stack.pop()
            self.same(managed, plain)
            if not isinstance(plain, Plain):
                continue
            if id(plain) in seen:
                assert seen[id(plain)] is managed
                continue
            seen[id(plain)] = managed
            stack.append((managed.left, plain.left))
            stack.append((managed.right, plain.right))
        return len(seen)


class RandomOperations(unittest.TestCase):

    def run_model(self, seed, steps, collect):
        model = Model(seed)
        for i in range(steps):
            model.step()
            collect(i)
        model.check_all()

    def test_with_frequent_collections(self):
        def collect(i):
            if i % 200 == 0:
                zgc.collect("full" if i % 1000 == 0 else "young")
        self.run_model(SEED, STEPS, collect)

    def test_with_collections_under_way(self):
        done = threading.Event()

        def background():
            n = 0
            while not done.is_set():
                zgc.collect("full" if n % 5 == 0 else "young")
                n += 1
        thread = threading.Thread(target=background)
        thread.start()
        try:
            self.run_model(SEED + 1, STEPS * 2, lambda i: None)
        finally:
            done.set()
            thread.join()

    def test_in_several_threads(self):
        errors = []

        def work(seed):
            try:
                self.run_model(seed, STEPS // 2,
                               lambda i: zgc.collect("young") if i % 500 == 0 else None)
            except BaseException as error:
                errors.append(error)
        threads = [threading.Thread(target=work, args=(SEED + 10 + i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def test_all_of_it_goes_away(self):
        self.run_model(SEED + 2, STEPS // 3, lambda i: None)
        for _ in range(3):
            gc.collect()
            zgc.collect("full")
        stats = zgc.stats()["managed"]
        self.assertEqual(stats["handles"], 0)
        self.assertEqual(stats["python_references"], 0)


class Containers(unittest.TestCase):

    def test_list_against_list(self):
        rnd = random.Random(SEED)
        ours, theirs = zgc.List(), []
        for i in range(STEPS // 3):
            what = rnd.randrange(14)
            at = rnd.randrange(-len(theirs) - 1, len(theirs) + 1)
            value = rnd.choice([i, str(i), None, (i,), float(i)])
            results = []
            for target in (ours, theirs):
                try:
                    if what < 4:
                        result = target.append(value)
                    elif what == 4:
                        result = target.insert(at, value)
                    elif what == 5:
                        result = target.pop(at)
                    elif what == 6:
                        target[at] = value
                        result = None
                    elif what == 7:
                        del target[at]
                        result = None
                    elif what == 8:
                        result = target[at]
                    elif what == 9:
                        result = list(target[at:at + 5])
                    elif what == 10:
                        target[at:at + 3] = [value, value]
                        result = None
                    elif what == 11:
                        result = target.index(value)
                    elif what == 12:
                        del target[at::3]
                        result = None
                    else:
                        result = (len(target), value in target, target.count(value))
                except (IndexError, ValueError) as error:
                    result = type(error)
                results.append(result)
            self.assertEqual(*results)
            if i % 100 == 0:
                self.assertEqual(list(ours), theirs)
                self.assertEqual(ours, theirs)
                zgc.collect("young" if i % 300 else "full")
            if len(theirs) > 300:
                ours.clear()
                theirs.clear()
        self.assertEqual(list(ours), theirs)

    def test_dict_against_dict(self):
        rnd = random.Random(SEED)
        ours, theirs = zgc.Dict(), {}
        for i in range(STEPS // 3):
            what = rnd.randrange(12)
            key = rnd.choice([rnd.randrange(200), str(rnd.randrange(200)), (rnd.randrange(50),),
                              float(rnd.randrange(100)), rnd.randrange(10) == 0])
            results = []
            for target in (ours, theirs):
                try:
                    if what < 5:
                        target[key] = i
                        result = None
                    elif what == 5:
                        del target[key]
                        result = None
                    elif what == 6:
                        result = target[key]
                    elif what == 7:
                        result = target.get(key, "absent"), key in target
                    elif what == 8:
                        result = target.pop(key, None)
                    elif what == 9:
                        result = target.setdefault(key, i)
                    elif what == 10:
                        result = target.popitem()
                    else:
                        result = len(target)
                except KeyError as error:
                    result = KeyError, error.args
                results.append(result)
            self.assertEqual(*results)
            if i % 100 == 0:
                self.assertEqual(list(ours.items()), list(theirs.items()))
                self.assertEqual(list(ours), list(theirs))
                self.assertEqual(ours, theirs)
                zgc.collect("young" if i % 300 else "full")
            if i % 2500 == 2499:
                ours.clear()
                theirs.clear()
        self.assertEqual(list(ours.items()), list(theirs.items()))


if __name__ == "__main__":
    unittest.main()
