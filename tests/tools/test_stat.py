"""zgc-stat: pages made by hand, and the page of the library against zgc.stats()."""

import json
import os
import struct
import subprocess
import threading
import time
import unittest

import toolcase  # noqa: F401  (puts the tools on the path)
from toolcase import ACTIVE, LIB, PYTHON, ToolCase, requires_lib
from zgctools import statpage

COUNTERS = {'collections': 3, 'found': 1500, 'reclaimed': 1499, 'pause_max_ns': 412000,
            'pause_total_ns': 1200000, 'young_collections': 4711, 'young_max_ns': 211000,
            'young_total_ns': 12100000, 'concurrent_ns': 313000000, 'old_objects': 2000000,
            'pending_garbage': 0, 'heap_used': 512 << 20, 'heap_committed': 600 << 20,
            'faults': 0, 'escalations': 1, 'running': 1}


def start_time(pid):
    """Field 22 of /proc/PID/stat, as proc(5) describes it."""
    with open('/proc/%d/stat' % pid) as source:
        return int(source.read().rpartition(')')[2].split()[19])


def page_bytes(pid, counters, start=None, sequence=2, magic=b'zgcstat1', header=64):
    """The layout as the library and the tool agree on it, written down a second time."""
    head = struct.pack('<8sIIQQQ', magic, header, len(counters), pid,
                       start_time(pid) if start is None else start, sequence)
    entries = [struct.pack('<40sQ', name.encode(), value) for name, value in counters.items()]
    return head.ljust(header, b'\0') + b''.join(entries)


class PageCase(ToolCase):
    def setUp(self):
        super().setUp()
        self.runtime = self.path('run')
        self.folder = os.path.join(self.runtime, 'zgcpreload')
        os.makedirs(self.folder, mode=0o700)
        self.env = {'XDG_RUNTIME_DIR': self.runtime}
        self.process = subprocess.Popen(['sleep', '60'])
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        self.pid = self.process.pid

    def put(self, data, mode=0o600, pid=None):
        path = os.path.join(self.folder, str(pid or self.pid))
        with open(path, 'wb') as out:
            out.write(data)
        os.chmod(path, mode)
        return path

    def stat(self, *arguments):
        return self.succeed('zgc-stat', *arguments, env=self.env)

    def refused(self, *arguments):
        return self.refuse('zgc-stat', *arguments, env=self.env)


class Made(PageCase):
    def test_every_counter(self):
        self.put(page_bytes(self.pid, COUNTERS))
        said = json.loads(self.stat('--json', self.pid))
        self.assertEqual({name: said[name] for name in COUNTERS}, COUNTERS)
        self.assertEqual(said['pid'], self.pid)
        listed = dict(line.split() for line in self.stat('--all', self.pid).splitlines())
        self.assertEqual({name: int(value) for name, value in listed.items()}, COUNTERS)

    def test_columns(self):
        self.put(page_bytes(self.pid, COUNTERS))
        head, line = (text.split() for text in self.stat(self.pid).splitlines())
        row = dict(zip(head, line))
        self.assertEqual((row['HU'], row['HC'], row['OLD'], row['GC']),
                         ('512.0', '600.0', '2000000', '3'))
        self.assertEqual((row['PMAX'], row['PT'], row['CGCT'], row['YGCT']),
                         ('0.412', '1.200', '0.313', '12.100'))

    def test_unknown_and_missing_counters(self):
        """A page of an older or newer library: columns follow what is there."""
        self.put(page_bytes(self.pid, {'collections': 7, 'brand_new': 8}, header=128))
        self.assertEqual(self.stat(self.pid).split(), ['GC', '7'])
        self.assertIn('brand_new', self.stat('--all', self.pid))

    def test_interval_count_and_delta(self):
        path = self.put(page_bytes(self.pid, COUNTERS))
        done = threading.Event()

        def grow():
            value = 3
            while not done.wait(0.02):
                value += 1
                with open(path, 'r+b') as out:
                    out.write(page_bytes(self.pid, dict(COUNTERS, collections=value)))
        writer = threading.Thread(target=grow)
        writer.start()
        try:
            began = time.monotonic()
            lines = self.stat('--delta', self.pid, '100ms', 6).splitlines()
            took = time.monotonic() - began
        finally:
            done.set()
            writer.join()
        self.assertEqual(len(lines), 7)
        self.assertGreater(took, 0.5)
        deltas = [int(line.split()[3]) for line in lines[2:]]
        self.assertTrue(all(1 <= delta <= 8 for delta in deltas), deltas)

    def test_a_reader_never_sees_half_a_write(self):
        """Two counters that are always equal, written one after the other."""
        def at(value, sequence):
            return page_bytes(self.pid, {'collections': value, 'found': value}, sequence=sequence)
        path = self.put(at(0, 0))
        page = statpage.Page(self.pid, {'XDG_RUNTIME_DIR': self.runtime})
        done = threading.Event()

        def write():
            value = 0
            fd = os.open(path, os.O_WRONLY)
            while not done.is_set():
                value += 1
                os.pwrite(fd, struct.pack('<Q', 2 * value - 1), 32)
                os.pwrite(fd, struct.pack('<Q', value), 64 + 40)
                time.sleep(0)
                os.pwrite(fd, struct.pack('<Q', value), 64 + 48 + 40)
                os.pwrite(fd, struct.pack('<Q', 2 * value), 32)
                time.sleep(0.0005)
            os.close(fd)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(300):
                seen = page.read()
                self.assertEqual(seen['collections'], seen['found'])
        finally:
            done.set()
            writer.join()
        page.source.close()

    def test_the_process_ends_meanwhile(self):
        self.put(page_bytes(self.pid, COUNTERS))
        threading.Timer(0.6, self.process.kill).start()
        threading.Timer(0.7, self.process.wait).start()
        done = self.run_tool('zgc-stat', self.pid, '0.2', env=self.env)
        self.assertEqual(done.returncode, 0)
        self.assertIn('has ended', done.stderr)

    def test_reasons(self):
        self.assertIn('no process 4194999', self.refused(4194999))
        self.assertIn('does not run under the preload', self.refused(self.pid))
        self.assertIn('is not a process id', self.refused('x'))
        self.assertIn('no PID', self.refused())
        self.assertIn('not a duration', self.refused(self.pid, 'soon'))
        self.assertIn('count', self.refused(self.pid, '1', '-1'))

    def test_pages_that_are_not_trusted(self):
        self.put(page_bytes(self.pid, COUNTERS), mode=0o644)
        self.assertIn('not private', self.refused(self.pid))
        self.put(page_bytes(self.pid, COUNTERS))
        os.chmod(self.folder, 0o755)
        self.assertIn('not private', self.refused(self.pid))
        os.chmod(self.folder, 0o700)
        self.put(page_bytes(self.pid, COUNTERS, start=start_time(self.pid) - 1))
        self.assertIn('earlier process', self.refused(self.pid))
        self.put(page_bytes(self.pid + 1, COUNTERS, start=start_time(self.pid)))
        self.assertIn('earlier process', self.refused(self.pid))
        path = self.put(page_bytes(self.pid, COUNTERS))
        os.rename(path, path + '.x')
        os.symlink(path + '.x', path)
        self.assertIn('not private', self.refused(self.pid))

    def test_damaged_pages(self):
        whole = page_bytes(self.pid, COUNTERS)
        for data, reason in ((b'', 'no statistics page'), (whole[:20], 'no statistics page'),
                             (page_bytes(self.pid, COUNTERS, magic=b'zgcstat9'), 'another version'),
                             (whole[:200], 'shorter'),
                             (whole[:12] + b'\xff' * 4 + whole[16:], 'damaged')):
            self.put(data)
            self.assertIn(reason, self.refused(self.pid))

    def test_list(self):
        self.put(page_bytes(self.pid, COUNTERS))
        self.put(page_bytes(self.pid, COUNTERS), pid=4194999)
        listed = self.stat('--list')
        self.assertIn('%7d sleep 60' % self.pid, listed)
        self.assertNotIn('4194999', listed)


PROGRAM = '''
import gc, json, os, sys, zgc
class Node: pass
def garbage(n):
    for _ in range(n):
        a = Node(); a.me = a
keep = [[[]] for _ in range(100000)]
garbage(20000); zgc.collect()
print(json.dumps(zgc.stats()), flush=True)
for line in sys.stdin:
    if line == "more\\n":
        garbage(5000); zgc.collect(); gc.collect()
    elif line == "fork\\n":
        pid = os.fork()
        if pid == 0:
            garbage(7000); zgc.collect()
            print(json.dumps(dict(zgc.stats(), pid=os.getpid())), flush=True)
            sys.stdin.readline()
            os._exit(0)
        continue
    print(json.dumps(zgc.stats()), flush=True)
'''


def keeps_pages():
    """A build without the statistics page does not carry its magic word."""
    if not ACTIVE:
        return False
    with open(LIB, 'rb') as source:
        return b'zgcstat1' in source.read()


@unittest.skipUnless(keeps_pages(), 'needs an active library that keeps statistics pages (ZGC_LIB)')
class Library(ToolCase):
    STEADY = ('collections', 'found', 'reclaimed', 'pauses', 'escalations', 'faults', 'forks')

    def setUp(self):
        super().setUp()
        runtime = self.path('run')
        os.mkdir(runtime, 0o700)
        self.env = {'XDG_RUNTIME_DIR': runtime}
        self.program = subprocess.Popen(
            [PYTHON, '-c', PROGRAM], env=dict(os.environ, LD_PRELOAD=LIB, **self.env), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.program.communicate)
        self.addCleanup(self.program.kill)

    def told(self):
        return json.loads(self.program.stdout.readline())

    def ask(self, word):
        self.program.stdin.write(word + '\n')
        self.program.stdin.flush()

    def page(self, pid):
        # The page is brought up to date at the program's own pace, within a second.
        time.sleep(1.2)
        return json.loads(self.succeed('zgc-stat', '--json', pid, env=self.env))

    def check(self, told, page):
        for name in self.STEADY:
            self.assertEqual(page[name], told[name], name)

    def test_against_the_program(self):
        self.check(self.told(), self.page(self.program.pid))
        self.ask('more')
        told = self.told()
        self.check(told, self.page(self.program.pid))
        self.assertGreaterEqual(told['reclaimed'], 20000)
        path = statpage.find(self.program.pid, self.env)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(os.path.dirname(path)).st_mode & 0o777, 0o700)

    def test_a_forked_child_has_a_page_of_its_own(self):
        first = self.told()
        self.ask('fork')
        child = self.told()
        self.check(child, self.page(child['pid']))
        self.check(first, self.page(self.program.pid))
        self.program.stdin.close()
        self.program.stdin = None

    def test_gone_with_the_process(self):
        self.told()
        self.page(self.program.pid)
        path = statpage.find(self.program.pid, self.env)
        self.program.stdin.close()
        self.program.stdin = None
        self.program.wait(20)
        self.assertFalse(os.path.exists(path))


class Reasons(ToolCase):
    @requires_lib
    def test_switched_off(self):
        with subprocess.Popen([PYTHON, '-c', 'import sys; print(1, flush=True); sys.stdin.read()'],
                              env=dict(os.environ, LD_PRELOAD=LIB, ZGC_ENABLE='0'),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            program.stdout.readline()
            self.assertIn('ZGC_ENABLE=0', self.refuse('zgc-stat', program.pid))


if __name__ == '__main__':
    unittest.main()
