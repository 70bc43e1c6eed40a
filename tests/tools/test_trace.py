"""zgc-log --trace: the events of a log, as Perfetto and chrome://tracing read them."""

import json
import random

import makelog
from toolcase import ToolCase
from zgctools import gclog, trace

COMPLETE, NAME, COUNTER = 'X', 'M', 'C'


class Trace(ToolCase):
    def events(self, *texts):
        paths = [self.write('gc.log.%d' % n if n else 'gc.log', text) for n, text in enumerate(texts)]
        self.succeed('zgc-log', '--trace', 'out.json', *paths)
        with open(self.path('out.json'), encoding='utf-8') as source:
            said = json.load(source)
        self.assertEqual(said['displayTimeUnit'], 'ms')
        return said['traceEvents']

    def test_each_pause_and_phase_is_an_event(self):
        made = makelog.MadeLog(seed=21, level='debug')
        events = [e for e in self.events(made.text()) if e['ph'] == COMPLETE]
        text = made.text()
        for word in ('Pause Young', 'Pause Reclaim', 'Pause Defer', 'Concurrent Pass 1',
                     'Concurrent Components'):
            with self.subTest(word):
                self.assertGreater(text.count(word), 0)
                self.assertEqual(len([e for e in events if e['name'] == word]), text.count(word))
        longest = max(e['dur'] for e in events if e['name'].startswith('Pause'))
        self.assertAlmostEqual(longest, max(made.pause_max, made.young_max) * 1e3)
        whole = [e for e in events if e['name'].startswith('GC(')]
        self.assertEqual(len(whole), made.complete)
        self.assertEqual(sum(e['args']['reclaimed'] for e in whole), made.reclaimed)

    def test_no_event_overlaps_the_one_before_on_its_track(self):
        events = self.events(makelog.MadeLog(seed=22, level='debug').text())
        tracks = {}
        for event in events:
            if event['ph'] == COMPLETE:
                tracks.setdefault((event['pid'], event['tid']), []).append(event)
        self.assertGreater(len(tracks), 2)
        for track in tracks.values():
            track.sort(key=lambda event: event['ts'])
            for before, after in zip(track, track[1:]):
                self.assertLessEqual(before['ts'] + before['dur'], after['ts'] + 0.01)

    def test_memory_is_a_counter(self):
        made = makelog.MadeLog(seed=23)
        sizes = [e['args'] for e in self.events(made.text()) if e['ph'] == COUNTER]
        self.assertEqual(max(s['heap'] for s in sizes), made.heap_max << 20)
        self.assertEqual(max(s['RSS'] for s in sizes), made.rss_max << 20)

    def test_processes_stay_apart(self):
        events = self.events(makelog.MadeLog(seed=1, pid=10).text(),
                             makelog.MadeLog(seed=2, pid=10).text())
        names = [e for e in events if e['ph'] == NAME and e['name'] == 'process_name']
        self.assertEqual(len({e['pid'] for e in names}), 2)

    def test_a_damaged_log_gives_valid_json(self):
        pick = random.Random(24)
        text = bytearray(makelog.MadeLog(seed=24, collections=6, level='debug').text().encode())
        for _ in range(40):
            damaged = bytearray(text)
            for _ in range(pick.randint(1, 400)):
                damaged[pick.randrange(len(damaged))] = pick.randrange(256)
            log = gclog.read([self.write('gc.log', bytes(damaged))])
            json.loads(trace.as_json(log), parse_constant=self.fail)


if __name__ == '__main__':
    import unittest
    unittest.main()
