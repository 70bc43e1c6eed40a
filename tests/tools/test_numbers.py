"""The arithmetic under the tools: percentiles, verdicts, histograms, units."""

import math
import random
import unittest

import toolcase  # noqa: F401  (puts the tools on the path)
from zgctools import chance, histogram, pausemeter, sample, units


class Units(unittest.TestCase):
    def test_durations_read(self):
        for text, seconds in (('1ms', 1e-3), ('500us', 5e-4), ('2s', 2), ('1.5', 1.5), ('3 m', 180),
                              ('.5s', .5), ('20ns', 2e-8), ('1h', 3600)):
            self.assertAlmostEqual(units.parse_duration(text), seconds)

    def test_sizes_read(self):
        for text, size in (('512M', 512 << 20), ('2G', 2 << 30), ('4096', 4096), ('1.5k', 1536),
                           ('700MiB', 700 << 20), ('0B', 0), ('3gb', 3 << 30)):
            self.assertEqual(units.parse_size(text), size)

    def test_nonsense_is_refused(self):
        for text in ('', 'abc', '1x', '-1ms', '1 2', 'ms', '1e3'):
            self.assertRaises(ValueError, units.parse_duration, text)
            self.assertRaises(ValueError, units.parse_size, text)

    def test_written_values_stay_within_half_a_percent(self):
        pick = random.Random(1)
        for _ in range(2000):
            value = 10 ** pick.uniform(-8, 1.9)
            text = units.duration(value).replace(' ', '')
            self.assertLess(abs(units.parse_duration(text) / value - 1), 0.0051, text)
            size = int(10 ** pick.uniform(0, 12))
            text = units.size(size).replace(' ', '')
            self.assertLess(abs(units.parse_size(text) / size - 1), 0.0051, text)

    def test_edges_of_units(self):
        self.assertEqual(units.duration(0), '0')
        self.assertEqual(units.duration(0.9996e-3), '1.00 ms')
        self.assertEqual(units.duration(0.9994e-3), '999 us')
        self.assertEqual(units.duration(None), '-')
        self.assertEqual(units.size(0), '0 B')
        self.assertEqual(units.count(1234567), '1,234,567')


class Histograms(unittest.TestCase):
    def test_buckets_cover_everything_once(self):
        for index in range(1800):
            low, high = histogram.low_of(index), histogram.low_of(index + 1)
            self.assertEqual(histogram.index_of(low), index)
            self.assertEqual(histogram.index_of(high - 1), index)
            self.assertLess(high, max(low * 1.04, low + 2))

    def test_percentiles_against_sorted_values(self):
        pick = random.Random(2)
        values = [int(pick.lognormvariate(11, 2)) for _ in range(20000)]
        one = histogram.Histogram()
        for value in values:
            one.add(value)
        values.sort()
        self.assertEqual(one.longest, values[-1])
        self.assertEqual(one.total, sum(values))
        for share in (0.5, 0.9, 0.99, 0.999, 1.0):
            exact = values[math.ceil(share * len(values)) - 1]
            self.assertLess(abs(one.percentile(share) / exact - 1), 0.04)

    def test_bars_hold_every_value(self):
        one = histogram.Histogram()
        for value in (1, 31, 32, 1000, 10 ** 9, 10 ** 12):
            one.add(value)
        bars = one.bars()
        self.assertEqual(sum(number for _, _, number in bars), 6)
        self.assertTrue(all(a[1] == b[0] for a, b in zip(bars, bars[1:])))

    def test_meter_uses_the_same_buckets(self):
        for ns in [1, 31, 32, 63, 64, 65, 4095, 4096, 10 ** 6, 10 ** 9, 10 ** 12]:
            cells = memoryview(bytearray(pausemeter.SIZE)).cast('Q')
            times = iter([1, 1 + ns])
            callback = pausemeter.make_callback(cells, lambda: next(times))
            callback('start', {})
            callback('stop', {})
            self.assertEqual(cells[pausemeter.WORDS + histogram.index_of(ns)], 1)
            self.assertEqual(list(cells[2:5]), [1, ns, ns])


class Verdicts(unittest.TestCase):
    def runs(self, pick, n, factor=1.0, noise=0.05):
        return [factor * math.exp(pick.gauss(0, noise)) for _ in range(n)]

    def test_no_difference_is_rarely_called_one(self):
        pick = random.Random(3)
        for n in (5, 6, 10):
            shown = sum(sample.Paired(self.runs(pick, n), self.runs(pick, n), rounds=300).shown
                        for _ in range(200))
            self.assertLessEqual(shown, 8, 'with %d pairs' % n)       # 2 % of 200 is 4

    def test_a_difference_is_found(self):
        pick = random.Random(4)
        for n, factor in ((10, 0.85), (5, 0.7), (10, 1.2)):
            found = [sample.Paired(self.runs(pick, n), self.runs(pick, n, factor), rounds=300)
                     for _ in range(50)]
            self.assertGreaterEqual(sum(one.shown for one in found), 45)
            self.assertTrue(all((one.ratio < 1) == (factor < 1) for one in found if one.shown))

    def test_a_drift_of_the_machine_does_not_hide_it(self):
        pick = random.Random(5)
        drift = [1 + 0.5 * i for i in range(10)]
        a = [d * x for d, x in zip(drift, self.runs(pick, 10, noise=0.01))]
        b = [d * x for d, x in zip(drift, self.runs(pick, 10, 0.9, noise=0.01))]
        one = sample.Paired(a, b)
        self.assertTrue(one.shown)
        self.assertAlmostEqual(one.ratio, 0.9, delta=0.02)

    def test_four_pairs_are_too_few(self):
        self.assertFalse(sample.Paired([1.0] * 4, [9.0] * 4).shown)
        self.assertTrue(sample.Paired([1.0] * 5, [9.0] * 5).shown)

    def test_zeros(self):
        same = sample.Paired([0] * 6, [0] * 6)
        self.assertEqual((same.ratio, same.shown), (1.0, False))
        new = sample.Paired([0] * 6, [5] * 6)
        self.assertEqual((new.ratio, new.shown), (math.inf, True))
        gone = sample.Paired([5] * 6, [0] * 6)
        self.assertEqual((gone.ratio, gone.shown), (0.0, True))

    def test_chance_of_complete_separation(self):
        self.assertAlmostEqual(chance.of_groups([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), 2 / 252)
        self.assertAlmostEqual(chance.of_pairs([0.5] * 8), 2 / 256)
        self.assertEqual(chance.of_pairs([1.0] * 8), 1.0)

    def test_interval_holds_the_true_ratio(self):
        pick = random.Random(6)
        held = 0
        for _ in range(200):
            one = sample.Paired(self.runs(pick, 10), self.runs(pick, 10, 1.1), rounds=400)
            held += one.low <= 1.1 <= one.high
        self.assertGreaterEqual(held, 178)


if __name__ == '__main__':
    unittest.main()
