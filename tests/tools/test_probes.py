"""The USDT probes: every bpftrace line of the documentation, run beside one program, against that
program's zgc.stats() and its log."""

import json
import os
import re
import shutil
import subprocess
import time
import unittest

from toolcase import LIB, PYTHON, ROOT, SCRIPTS, ToolCase, requires_lib
from zgctools import gclog, logstats, probes

PROGRAM = '''
import gc, json, os, sys, zgc
map = "/tmp/perf-%d.map" % os.getpid()  # see Tracer
open(map, "x").close()
live = [[[]] for _ in range(200000)]
for _ in range(50000):
    ring = []; ring.append(ring)
zgc.collect(); gc.collect()
for _ in range(12):                     # faster than a collection: some of them wait
    array = zgc.allocate(300000)
zgc.collect("full")
gc.disable()
print(json.dumps({"all": zgc.stats(), "managed": zgc.stats()["managed"]}), flush=True)
sys.stdin.read()                        # stacks get their names while the process lives
os.unlink(map)
os._exit(0)
'''
EVERY_PROBE = re.findall(r'^  X\((\w+)\)', open(
    os.path.join(ROOT, 'heap', 'base', 'zprobe.h'), encoding='utf-8').read(), re.MULTILINE)


def documented():
    """The bpftrace programs of scripts/README.md."""
    with open(os.path.join(SCRIPTS, 'README.md'), encoding='utf-8') as source:
        return re.findall(r"^    bpftrace -e '(.*)'$", source.read(), re.MULTILINE)


# What the documentation does not show and the tests need.
MORE = [
    'usdt:LIB:zgc:pause__done { @ns[str(arg0)] = sum(arg1); }',
    'usdt:LIB:zgc:pause__start { @began[str(arg0)] = count(); }',
    'usdt:LIB:zgc:pause__done { @ended[str(arg0)] = count(); }',
    'usdt:LIB:zgc:collection__done { @finished = count(); }']
MARK = '-- these were the maps --'


def with_marks(script):
    """Prints the maps again and again, so that nothing hangs on how bpftrace ends."""
    names = sorted(set(re.findall(r'@\w+', script)))
    return script + '\ninterval:ms:200 { %s printf("%s\\n"); }\n' % (
        ' '.join('print(%s);' % name for name in names), MARK)


class Tracer:
    """bpftrace with one script.

    The library under bpftrace 0.17, bcc 0.26, closes a descriptor at random when it names the
    functions of a process that has no perf map; the program makes an empty one."""

    def __init__(self, case, name, lines):
        self.out = case.path(name + '.out')
        script = case.write(name + '.bt', with_marks('\n'.join(lines).replace('LIB', LIB)))
        with open(self.out, 'w') as out:
            self.process = subprocess.Popen(['bpftrace', script], stdout=out,
                                            stderr=subprocess.STDOUT,
                                            env=dict(os.environ, BPFTRACE_PERF_RB_PAGES='1024'))

    def said(self):
        with open(self.out, encoding='utf-8', errors='replace') as source:
            return source.read()

    def until(self, pattern, times):
        """Waits until its output has so many lines like this. Lines of two processors come in no
        fixed order, and late where the functions of many stacks are looked up."""
        deadline = time.monotonic() + 40
        while len(re.findall(pattern, self.said(), re.MULTILINE)) < times:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError('%d times %s did not come from bpftrace: %s'
                                     % (times, pattern, self.said()))
            time.sleep(0.05)

    def marks(self):
        return self.said().count(MARK)

    def stop(self):
        self.process.kill()
        self.process.wait()


def why_not():
    """Why probes cannot be watched here; None when they can."""
    if LIB is None:
        return 'needs the library'
    why = probes.missing(LIB)
    if why is None:
        tried = subprocess.run(['bpftrace', '-e', 'BEGIN { exit(); }'], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        why = 'bpftrace does not work: ' + tried.stdout.strip() if tried.returncode else None
    return why


def map_of(said, name):
    """{key: value} of a bpftrace map; {'': value} of one without keys."""
    found = re.findall(r'^@%s(?:\[(.*)\])?: (\d+)$' % name, said, re.MULTILINE)
    return {key: int(value) for key, value in found}


def histogram_counts(said, name):
    """{key: events} of a bpftrace map of histograms."""
    counts, key = {}, None
    for line in said.splitlines():
        head = re.match(r'@%s\[(.*)\]:\s*$' % name, line)
        bar = re.match(r'[\[(].*[\])] +(\d+) \|', line)
        if head:
            key = head.group(1)
        elif bar and key is not None:
            counts[key] = counts.get(key, 0) + int(bar.group(1))
        elif not bar:
            key = None
    return counts


@unittest.skipUnless(LIB, 'needs the library')
class InTheLibrary(unittest.TestCase):
    def test_every_probe_is_there_and_documented(self):
        self.assertEqual(len(EVERY_PROBE), 13)
        if not probes.has_probe(LIB, 'zgc', 'pause__start'):
            self.skipTest('built without sys/sdt.h')
        with open(os.path.join(SCRIPTS, 'README.md'), encoding='utf-8') as source:
            text = source.read()
        for name in EVERY_PROBE:
            self.assertTrue(probes.has_probe(LIB, 'zgc', name), name)
            self.assertIn('`%s`' % name, text)

    def test_arguments_are_in_registers(self):
        """A listener could not find "symbol(%rip)" in a stripped library."""
        if shutil.which('readelf') is None:
            self.skipTest('no readelf')
        said = subprocess.run(['readelf', '-n', LIB], stdout=subprocess.PIPE, text=True).stdout
        for line in re.findall(r'Arguments: (.*)', said):
            self.assertRegex(line, r'^(-?8@(%\w+|\$\d+) ?)+$')


@requires_lib
@unittest.skipIf(why_not(), why_not())
class Watched(ToolCase):
    """One run of the program with everything watched."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls('test_pauses')
        ToolCase.setUp(case)
        cls.addClassCleanup(case.doCleanups)
        lines = documented()
        # Naming the functions of a stack takes bpftrace so long that other events would queue up.
        tracers = [Tracer(case, 'numbers', [one for one in lines if 'ustack' not in one] + MORE),
                   Tracer(case, 'stacks', [one for one in lines if 'ustack' in one])]
        try:
            for tracer in tracers:
                tracer.until(MARK, 1)
            cls.run_program(case, *tracers)
        finally:
            for tracer in tracers:
                tracer.stop()

    @classmethod
    def run_program(cls, case, numbers, stacks):
        log = case.path('gc.log')
        program = subprocess.Popen(
            [PYTHON, case.write('p.py', PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=dict(os.environ, LD_PRELOAD=LIB, ZGC_LOG=log, ZGC_MANAGED_MAX='8M',
                     ZGC_LOG_LEVEL='debug'))
        with program:
            both = json.loads(program.stdout.readline())
            cls.stats, cls.managed = both['all'], both['managed']
            cls.log = logstats.Stats(gclog.read([log]))
            numbers.until(r'^GC\(', len(cls.log.collections))
            # A print that is under way may have begun before the end.
            numbers.until(MARK, numbers.marks() + 2)
            stacks.until('^full', len(cls.log.stopped))
            stacks.until('bytes waited', cls.managed['allocation_stalls'])
            stacks.until(MARK, stacks.marks() + 1)
            program.stdin.close()
        cls.said, cls.stacks = numbers.said(), stacks.said()
        cls.maps = cls.said.split(MARK)[-2]

    def test_pauses(self):
        """Each pause of the statistics, with the same nanoseconds."""
        counts = histogram_counts(self.maps, 'us')
        own = {kind: n for kind, n in counts.items() if kind in ('young', 'reclaim', 'full')}
        self.assertEqual(sum(own.values()), self.stats['pauses'])
        ns = map_of(self.maps, 'ns')
        self.assertEqual(sum(ns[kind] for kind in own), self.stats['pause_total_ns'])
        self.assertEqual(own['young'], self.stats['young_collections'])
        self.assertEqual(own['full'], self.stats['collections_system_gc'])
        self.assertEqual(sum(counts.values()) - sum(own.values()), self.managed['pauses'])
        self.assertEqual(sum(ns[kind] for kind in ns if kind not in own),
                         self.managed['pause_total_ns'])
        self.assertEqual(map_of(self.maps, 'began'), map_of(self.maps, 'ended'))

    def test_long_pauses_and_where_they_were(self):
        seen = re.findall(r'^full (\d+) us $\n((?: +.*\n)+)', self.stacks, re.MULTILINE)
        logged = [round(one.pause_max * 1e6) for one in self.log.stopped]
        self.assertEqual(len(seen), len(logged))
        for (us, stack), expected in zip(seen, logged):
            self.assertNear(int(us), expected, 0.001, floor=1)
            self.assertRegex(stack, r'\S+\+\d+')

    def test_collections(self):
        started = re.findall(r'^GC\((\d+)\) (.*)$', self.said, re.MULTILINE)
        logged = [(str(one.number), one.cause) for one in self.log.collections]
        # Two threads start collections; bpftrace prints their lines in no fixed order.
        self.assertEqual(sorted(started, key=lambda one: int(one[0])), logged)
        self.assertEqual(map_of(self.maps, 'found')[''], self.stats['found'])
        self.assertEqual(map_of(self.maps, 'reclaimed')[''], self.stats['reclaimed'])
        self.assertGreater(self.stats['reclaimed'], 0)
        self.assertEqual(map_of(self.maps, 'finished')[''], self.stats['collections'])

    def test_phases(self):
        """Microseconds of each against the log's milliseconds."""
        seen = map_of(self.maps, 'phase_us')
        for name in ('Concurrent Pass', 'Concurrent Components', 'Concurrent Defer'):
            rows = [row for row in self.log.phases if row.name.startswith(name)]
            times = sum(row.count for row in rows)
            self.assertGreater(times, 0, name)
            # A microsecond is cut off each here, half of one rounded there.
            self.assertNear(seen[name], sum(row.total for row in rows) * 1e6, 0, floor=2 * times)
        self.assertGreater(seen['mark'], 0)

    def test_pages(self):
        taken, released = map_of(self.maps, 'taken'), map_of(self.maps, 'released')
        mine = [kind for kind in taken if not kind.startswith('managed')]
        net = sum(taken[kind] - released.get(kind, 0) for kind in mine)
        self.assertGreaterEqual(net, self.stats['heap_used'])
        self.assertLessEqual(net, self.stats['heap_committed'])
        net = sum(taken[kind] - released.get(kind, 0) for kind in taken if kind not in mine)
        self.assertEqual(net, self.managed['used_bytes'])

    def test_stalls(self):
        seen = re.findall(r'^(\d+) bytes waited (\d+) us $\n((?: +.*\n)+)', self.stacks, re.MULTILINE)
        self.assertGreater(len(seen), 0, 'the program was to run out of memory')
        self.assertEqual(len(seen), self.managed['allocation_stalls'])
        self.assertNear(sum(int(us) for _, us, _ in seen), self.managed['stall_total_ns'] / 1e3, 0,
                        floor=len(seen))
        for size, _, stack in seen:
            self.assertNear(int(size), 8 * 300000, 0.001)
            self.assertRegex(stack, r'\S+\+\d+')

    def test_managed_collections(self):
        done = map_of(self.maps, 'collections')['']
        self.assertEqual(done, self.managed['full_collections'] + self.managed['young_collections'])
        self.assertEqual(done, self.log.managed)
        self.assertEqual(map_of(self.maps, 'moved')[''], self.managed['relocated_pages'])
        self.assertEqual(map_of(self.maps, 'freed')[''], self.managed['freed_pages'])


if __name__ == '__main__':
    unittest.main()
