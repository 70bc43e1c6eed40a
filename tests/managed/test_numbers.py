"""Arrays of numbers: values, bounds, and the buffers that show them in place while bodies move."""

import array
import copy
import gc
import pickle
import random
import struct
import unittest

import zgc

try:
    import numpy
except ImportError:
    numpy = None

KINDS = {"i8": "b", "i16": "h", "i32": "i", "i64": "q", "u8": "B", "u16": "H", "u32": "I", "u64": "Q",
         "f32": "f", "f64": "d", "b8": "?"}


class Numbers(unittest.TestCase):

    def test_every_kind(self):
        for name, code in KINDS.items():
            with self.subTest(name):
                made = zgc.allocate(5, getattr(zgc, name))
                self.assertEqual(made.tolist(), [0] * 5)
                self.assertIs(made.kind, getattr(zgc, name))
                made[1], made[-1] = 1, True
                self.assertEqual(list(made), [0, 1, 0, 0, 1])
                view = memoryview(made)
                self.assertEqual((view.format, view.itemsize, view.shape, view.strides, view.readonly),
                                 (code, struct.calcsize(code), (5,), (struct.calcsize(code),), False))
                self.assertEqual(view.tolist(), made.tolist())

    def test_bounds(self):
        for name in KINDS:
            made = zgc.allocate(1, getattr(zgc, name))
            if name[0] in "iu":
                bits = int(name[1:])
                low, high = (-2**(bits - 1), 2**(bits - 1) - 1) if name[0] == "i" else (0, 2**bits - 1)
                for value in low, high:
                    made[0] = value
                    self.assertEqual(made[0], value)
                for value in low - 1, high + 1:
                    self.assertRaises(OverflowError, made.__setitem__, 0, value)
                self.assertRaises(TypeError, made.__setitem__, 0, 1.5)
            self.assertRaises((TypeError, OverflowError), made.__setitem__, 0, "a") if name != "b8" else None
        self.assertRaises(OverflowError, zgc.allocate(1, zgc.f32).__setitem__, 0, 1e39)

    def test_errors(self):
        made = zgc.allocate(3, zgc.f64)
        for index in 3, -4, 10**30:
            self.assertRaises(IndexError, made.__getitem__, index)
            self.assertRaises(IndexError, made.__setitem__, index, 1)
        for index in "a", None, 1.0:
            self.assertRaises(TypeError, made.__getitem__, index)
            self.assertRaises(TypeError, made.__setitem__, index, 1)
        self.assertRaises(TypeError, made.__delitem__, 0)
        self.assertRaises(ValueError, made.__setitem__, slice(None), [1, 2])
        self.assertRaises(ValueError, zgc.allocate, -1, zgc.f64)
        self.assertRaises(MemoryError, zgc.allocate, 2**60, zgc.f64)
        for kind in int, "f64", zgc.Object, 5:
            self.assertRaises(TypeError, zgc.allocate, 3, kind)
        self.assertRaises(TypeError, zgc.RawArray)
        self.assertRaises(TypeError, type(made), [1])
        self.assertRaises(TypeError, type("Sub", (zgc.RawArray,), {}))

    def test_slices_as_of_a_list(self):
        r = random.Random(5)
        model = list(range(20))
        made = zgc.Array(model, zgc.i32)
        for _ in range(300):
            key = slice(*(r.choice((None, *range(-25, 25))) for _ in range(2)), r.choice((None, 1, 2, -1, -3, 7)))
            self.assertEqual(made[key].tolist(), model[key])
            values = [r.randrange(100) for _ in model[key]]
            made[key] = values
            model[key] = values
            self.assertEqual(made.tolist(), model)

    def test_copies(self):
        for values, kind in (([1, 2, 3], zgc.u16), ([0.5, -0.0], zgc.f64), ([], zgc.b8)):
            made = zgc.Array(values, kind)
            for twin in copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made)):
                self.assertEqual((twin.tolist(), twin.kind), (values, kind))
        self.assertEqual(repr(zgc.Array([1, 2], zgc.u8)), "RawArray([1, 2], zgc.u8)")

    def test_conversion_that_runs_code(self):
        made = zgc.allocate(3, zgc.i64)

        class Index:
            def __index__(self):
                zgc.collect("full")
                made[0] = 5
                return 7
        made[1] = Index()
        made[Index().__index__() - 5] = 9
        self.assertEqual(made.tolist(), [5, 7, 9])


class Buffers(unittest.TestCase):

    def collect(self):
        for which in ("young", "full", "full"):
            junk = [zgc.allocate(50, zgc.f64) for _ in range(200)]
            del junk
            zgc.collect(which)

    def test_writes_go_both_ways_and_stay(self):
        rows = [zgc.Array(range(i, i + 10), zgc.i64) for i in range(100)]
        views = {i: memoryview(rows[i]) for i in range(0, 100, 3)}
        for round in range(3):
            for i, view in views.items():
                view[round] = -i
                rows[i][9] = round
            self.collect()
            for i in range(100):
                expected = list(range(i, i + 10))
                if i in views:
                    expected[:round + 1] = [-i] * (round + 1)
                    expected[9] = round
                    self.assertEqual(views[i].tolist(), expected)
                self.assertEqual(rows[i].tolist(), expected)
        del view
        for i in list(views):
            views.pop(i).release()
        self.collect()
        self.assertEqual(rows[6].tolist(), [-6, -6, -6, *range(9, 15), 2])

    def test_a_buffer_keeps_the_numbers(self):
        view = memoryview(zgc.Array(range(1000), zgc.u32))
        self.collect()
        self.assertEqual(view.tolist(), list(range(1000)))

    def test_several_exports(self):
        made = zgc.allocate(4, zgc.f64)
        first = memoryview(made)
        second = memoryview(made)
        second[1] = 2.5
        first.release()
        self.collect()
        second[2] = 3.5
        self.assertEqual(made.tolist(), [0, 2.5, 3.5, 0])
        second.release()
        made[0] = 1
        self.assertEqual(memoryview(made).tolist(), [1, 2.5, 3.5, 0])

    def test_many_short_ones_in_turn(self):
        rows = [zgc.allocate(3, zgc.u8) for _ in range(3000)]
        before = zgc.stats()["managed"]["capacity_bytes"]
        for i, row in enumerate(rows):
            memoryview(row)[1] = i % 256
        self.assertEqual(zgc.stats()["managed"]["capacity_bytes"], before)
        self.assertEqual([row[1] for row in rows], [i % 256 for i in range(3000)])

    def test_large(self):
        made = zgc.allocate(300_000, zgc.f64)
        view = memoryview(made)
        view[299_999] = 1.0
        self.collect()
        self.assertEqual(made[-1], 1.0)
        view[0] = 2.0
        view.release()
        self.assertEqual(made[0], 2.0)

    def test_empty(self):
        made = zgc.allocate(0, zgc.f64)
        self.assertEqual((memoryview(made).tolist(), made.tolist(), len(made)), ([], [], 0))

    def test_other_consumers(self):
        made = zgc.Array([1, 2, 3], zgc.i32)
        self.assertEqual(bytes(made), struct.pack("3i", 1, 2, 3))
        self.assertEqual(bytearray(made), struct.pack("3i", 1, 2, 3))
        numbers = array.array("i")
        numbers.frombytes(memoryview(made).cast("B"))
        self.assertEqual(numbers.tolist(), [1, 2, 3])
        struct.pack_into("i", made, 4, 77)
        self.assertEqual(made.tolist(), [1, 77, 3])

    @unittest.skipUnless(numpy, "needs numpy")
    def test_numpy(self):
        made = zgc.allocate(1000, zgc.f64)
        seen = numpy.asarray(made)
        self.assertEqual((seen.dtype, seen.shape), (numpy.float64, (1000,)))
        seen[:] = numpy.arange(1000) * 0.5
        self.collect()
        self.assertEqual(made[999], 499.5)
        made[3] = -1
        self.assertEqual(seen[3], -1)
        del seen
        gc.collect()
        self.collect()
        self.assertEqual(float(numpy.asarray(made).sum()), sum(made))


if __name__ == "__main__":
    unittest.main()
