"""Writes a GC log of a program that never ran, and counts what it put in.

The counts are the oracle for tests of zgc-log: they are kept while writing, not read back.
"""

import random

CAUSES = ['Growth'] * 6 + ['Heap Growth', 'Timer', 'Explicit (zgc.collect)', 'Escalation']


class MadeLog:
    def __init__(self, seed=1, pid=4242, collections=40, level='info', options=()):
        self.pick = random.Random(seed)
        self.lines = []
        self.pid = pid
        self.now = 0.031
        self.debug = level == 'debug'
        self.reclaimed = self.young = self.complete = 0
        self.pause_max = self.young_max = 0.0         # milliseconds
        self.heap, self.rss = 512, 700
        self.heap_max, self.rss_max = 0, 0
        self.by_cause = {}
        self.types = {}
        self.put('info', 'gc,init', 'zgcpreload 0.1.0 pid %d python 3.11.2 binding table' % pid)
        for option in options:
            self.put('info', 'gc,init', 'option ' + option)
        for number in range(collections):
            self.collection(number)
        self.put('info', 'gc,exit', 'collections=%d reclaimed=%d' % (collections, self.reclaimed))

    def put(self, level, tags, body):
        self.lines.append('[%.3fs][%-5s][%-11s] %s' % (self.now, level, tags, body))

    def pause(self, number, name, ms, rest):
        self.put('info', 'gc,phases', 'GC(%d) %s %.3fms %s' % (number, name, ms, rest))
        self.pause_max = max(self.pause_max, round(ms, 3))

    def young_collections(self, number):
        count = self.pick.randint(50, 300)
        each = [self.pick.lognormvariate(-2.2, 0.5) for _ in range(count)]
        longest = max(each)
        if self.debug:
            for ms in each:
                self.now += 0.002
                self.put('debug', 'gc,young', 'Pause Young %.3fms objects 350 reclaimed 3' % ms)
        self.put('info', 'gc,young', 'GC(%d) young %d max %.3fms total %.3fms reclaimed %d'
                 % (number, count, longest, sum(each), count * 3))
        self.young += count
        self.young_max = max(self.young_max, round(longest, 3))

    def collection(self, number):
        pick = self.pick
        cause = pick.choice(CAUSES)
        self.now += pick.uniform(1.0, 6.0)
        old = 2000000 + number * 20000
        found = pick.randint(1000, 90000)
        self.rss_max = max(self.rss_max, self.rss)
        self.heap_max = max(self.heap_max, self.heap)
        self.put('info', 'gc,start', 'GC(%d) Full Collection (%s) old %d candidates %d heap %dM '
                 'rss %dM' % (number, cause, old, old, self.heap, self.rss))
        concurrent = pick.uniform(250, 420)
        self.now += concurrent / 1e3
        self.put('info', 'gc,phases', 'GC(%d) Concurrent Pass 1 %.3fms in %d out %d'
                 % (number, concurrent, old, found * 2))
        self.put('info', 'gc,phases', 'GC(%d) Concurrent Pass 2 %.3fms in %d out %d'
                 % (number, concurrent / 100, found * 2, found))
        self.put('info', 'gc,phases', 'GC(%d) Concurrent Components %.3fms components %d largest 5'
                 % (number, concurrent / 200, found // 3))
        pauses = [pick.lognormvariate(-1.2, 0.4) for _ in range(pick.randint(2, 5))]
        for ms in pauses:
            self.now += 0.003
            self.pause(number, 'Pause Reclaim', ms, 'fed 600 reclaimed 600')
        self.pause(number, 'Pause Defer', pauses[0] / 4, 'objects 40')
        nodes = int(found * 0.6)
        self.put('info', 'gc,types', 'GC(%d) garbage Node %d dict %d list 12'
                 % (number, nodes, found - nodes - 12))
        for name, more in (('Node', nodes), ('dict', found - nodes - 12), ('list', 12)):
            self.types[name] = self.types.get(name, 0) + more
        self.young_collections(number)
        heap, rss = self.heap, self.rss
        self.heap = int(heap * pick.uniform(0.94, 1.0))
        self.rss = int(rss * pick.uniform(0.98, 1.0))
        self.put('info', 'gc', 'GC(%d) Full Collection (%s) found %d reclaimed %d heap %dM->%dM '
                 'rss %dM->%dM concurrent %.1fms pauses %d max %.3fms total %.3fms' % (
                     number, cause, found, found, heap, self.heap, rss, self.rss, concurrent,
                     len(pauses) + 1, max(pauses), sum(pauses) + pauses[0] / 4))
        self.heap += pick.randint(10, 60)
        self.rss += pick.randint(10, 40)
        self.reclaimed += found
        self.complete += 1
        self.by_cause[cause] = self.by_cause.get(cause, 0) + 1

    def text(self):
        return '\n'.join(self.lines) + '\n'
