"""The latency suite: its figures against plain definitions, and each of its programs once."""

import json
import os
import random
import subprocess
import sys
import unittest

from toolcase import PYTHON, SCRIPTS, ToolCase

PERF = os.path.join(os.path.dirname(SCRIPTS), 'perf')
sys.path.insert(0, os.path.join(PERF, 'workloads'))

import service_requests as requests     # noqa: E402


class Figures(unittest.TestCase):
    def test_percentiles(self):
        said = requests.percentiles([ms * 1_000_000 for ms in range(1000)])
        self.assertEqual((said['50'], said['99'], said['99.9'], said['100']), (500, 990, 999, 999))
        self.assertEqual(requests.percentiles([7_000_000])['50'], 7)

    def test_utilisation_is_the_worst_window(self):
        pick = random.Random(3)
        for _ in range(50):
            at, spans = 0, []
            for _ in range(pick.randint(1, 8)):
                at += pick.randint(1, 30)
                spans.append((at, at + pick.randint(1, 20)))
                at = spans[-1][1]
            window = pick.randint(1, 40)

            def stopped(begin):
                return sum(max(min(end, begin + window) - max(start, begin), 0) for start, end in spans)
            self.assertEqual(requests.stopped_most(spans, window),
                             max(stopped(begin) for begin in range(-window, at + 1)))

    def test_without_a_pause_all_is_the_programs(self):
        self.assertEqual(set(requests.utilisation([]).values()), {1})

    def test_nobody_arrives_after_the_start(self):
        pick = random.Random(4)
        starts = sorted(pick.randrange(10**9) for _ in range(400))
        for neighbours in (0, 1, 7, 400, 5000):
            for at, start in zip(requests.arrivals(starts, neighbours), starts):
                self.assertLessEqual(at, start)

    def test_steady_requests_do_not_wait(self):
        starts = [n * 1_000_000 for n in range(2000)]
        ends = [start + 300_000 for start in starts]
        for window, said in requests.metered(starts, ends).items():
            self.assertEqual(set(said.values()), {0.3}, window)

    def test_who_comes_behind_a_pause_waits(self):
        starts = [n * 1_000_000 for n in range(1000)] + [500_000_000 + n * 1_000_000 for n in range(1000, 2000)]
        ends = [start + 300_000 for start in starts]
        said = requests.metered(starts, ends)
        self.assertGreater(said['100']['100'], 200)     # half of the pause of 500 ms
        self.assertGreater(said['full']['100'], 200)
        self.assertLess(said['10']['50'], 1)


class Programs(ToolCase):
    def serve(self, *arguments):
        program = os.path.join(PERF, 'workloads', 'service_requests.py')
        out = self.path('out.json')
        subprocess.run([PYTHON, program, *arguments, '--json', out], check=True, timeout=60)
        with open(out, encoding='utf-8') as source:
            return json.load(source)['metrics']

    def test_each_serves_its_requests(self):
        for kind in requests.SERVICES:
            with self.subTest(kind):
                few = '2' if kind == 'tool' else '15'
                said = self.serve(kind, '--objects', '2k', '--requests', few)
                self.assertEqual(said['requests'], int(few))
                self.assertGreater(said['simple_ms']['50'], 0)
                self.assertGreaterEqual(said['simple_ms']['100'], said['simple_ms']['50'])
                self.assertGreater(said['peak_rss_mb'], 1)

    def test_modes(self):
        documents = ('documents', '--objects', '2k', '--requests', '20')
        self.assertEqual(self.serve(*documents, '--mode', 'disable')['pauses'], 0)
        self.assertGreater(self.serve(*documents)['pauses'], 0)


if __name__ == '__main__':
    unittest.main()
