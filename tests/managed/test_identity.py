"""hash(x) of a managed object is its body's, for the body's whole life: also when the handle that it was
first asked of is gone, and the body has moved."""

import functools
import gc
import unittest
import weakref

import zgc


class Thing(zgc.Object):
    number: zgc.i64


class Named(zgc.Object):
    name: object

    def __eq__(self, other):
        return isinstance(other, Named) and self.name == other.name

    def __hash__(self):
        return hash(self.name)


class Unhashable(zgc.Object):
    name: object

    def __eq__(self, other):
        return True


def things(count):
    """Only the row holds the bodies: each access makes a handle."""
    return zgc.Array([Thing(i) for i in range(count)])


def other_handles(count=50):
    """Take the places of handles that have ended."""
    return [Thing(-1) for _ in range(count)]


class Hashes(unittest.TestCase):

    def test_keys_are_found_without_their_handles(self):
        row = things(1000)
        for kind in (zgc.Dict, dict):
            with self.subTest(kind):
                table = kind()
                for i in range(1000):
                    table[row[i]] = i
                kept = other_handles()
                self.assertTrue(all(row[i] in table for i in range(1000)))
                self.assertTrue(all(key in table for key in table))
                for i in range(1000):
                    table[row[i]] = -i
                self.assertEqual(len(table), 1000)
                self.assertEqual(table[row[7]], -7)
                del kept

    def test_it_lasts_while_bodies_move(self):
        row = things(2000)
        before = [hash(thing) for thing in row]
        self.assertEqual(len(set(before)), 2000)
        for which in ("young", "full", "full"):
            for i in range(0, 2000, 7):
                row[i] = Thing(i)                   # something to leave behind
            before[::7] = [hash(thing) for thing in row[::7]]
            zgc.collect(which)
            kept = other_handles()
            self.assertEqual([hash(thing) for thing in row], before)
            del kept

    def test_half_hashed(self):
        row = things(100)
        hashes = {i: hash(row[i]) for i in range(0, 100, 2)}
        zgc.collect("full")
        self.assertEqual({i: hash(row[i]) for i in range(0, 100, 2)}, hashes)
        self.assertTrue(set(hashes.values()).isdisjoint(hash(row[i]) for i in range(1, 100, 2)))

    def test_fields_read_objects_that_have_a_hash(self):
        class Holder(zgc.Object):
            thing: Thing
        holder = Holder(Thing(5))
        known = hash(holder.thing)
        self.assertEqual(holder.thing.number, 5)
        first, second = holder.thing, holder.thing
        self.assertIs(first, second)
        self.assertEqual(hash(first), known)

    def test_sets_and_caches(self):
        row = things(100)
        calls = []

        @functools.lru_cache(None)
        def cached(thing):
            calls.append(thing.number)
            return thing.number
        for _ in range(2):
            self.assertEqual(sum(cached(thing) for thing in row), 4950)
        self.assertEqual(len(calls), 100)
        seen = set(row)
        self.assertTrue(all(thing in seen for thing in row))

    def test_weak_keys(self):
        row = things(100)
        table = weakref.WeakKeyDictionary()
        for thing in row:
            table[thing] = thing.number
        del thing
        zgc.collect("full")
        self.assertEqual([table[thing] for thing in row], list(range(100)))
        row[:50] = [None] * 50
        zgc.collect("full")
        gc.collect()
        self.assertEqual(sorted(table.values()), list(range(50, 100)))
        self.assertEqual([table[row[i]] for i in range(50, 100)], list(range(50, 100)))

    def test_found_again_through_a_weak_reference(self):
        row = things(1)
        reference = weakref.ref(row[0])
        known = hash(row[0])
        zgc.collect("young")
        self.assertEqual(hash(reference()), known)
        self.assertEqual(hash(row[0]), known)

    def test_own_equality_counts(self):
        for kind in (zgc.Dict, dict):
            with self.subTest(kind):
                table = kind()
                table[Named("a")] = 1
                self.assertEqual(table[Named("a")], 1)
                self.assertNotIn(Named("b"), table)
                with self.assertRaisesRegex(TypeError, "unhashable type: 'Unhashable'"):
                    table[Unhashable(1)] = 1

    def test_identity_without_own_equality(self):
        self.assertNotEqual(Thing(1), Thing(1))
        thing = Thing(1)
        self.assertEqual(thing, thing)
        with self.assertRaises(TypeError):
            thing < thing
        self.assertIs(thing.__eq__(Thing(1)), NotImplemented)


if __name__ == "__main__":
    unittest.main()
