"""zgc-stat: pages made by hand, and the page of the library against zgc.stats()."""

import json
import os
import re
import shutil
import struct
import subprocess
import threading
import time
import unittest

import toolcase  # noqa: F401  (puts the tools on the path)
from toolcase import ACTIVE, LIB, PYTHON, ToolCase, requires_lib
from zgctools import proctree, statpage

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


# Keeps a file with its pid for a name in memory, as the library does.
KEEPER = '''
import mmap, os, sys, time
with open(os.path.join(sys.argv[1], str(os.getpid())), "w+b") as page:
    page.truncate(4096)
    mapping = mmap.mmap(page.fileno(), 4096)
print(1, flush=True)
time.sleep(60)
'''


class PageCase(ToolCase):
    def setUp(self):
        super().setUp()
        self.runtime = self.path('run')
        self.folder = os.path.join(self.runtime, 'zgcpreload')
        os.makedirs(self.folder, mode=0o700)
        self.env = {'XDG_RUNTIME_DIR': self.runtime}
        self.process = subprocess.Popen([PYTHON, '-c', KEEPER, self.folder],
                                        stdout=subprocess.PIPE)
        self.addCleanup(self.process.communicate)
        self.addCleanup(self.process.kill)
        self.process.stdout.readline()
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
        os.unlink(os.path.join(self.folder, str(self.pid)))
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

    def test_a_page_that_the_process_does_not_have_in_memory(self):
        """One that was left by what the process was before it called exec."""
        path = self.put(page_bytes(self.pid, COUNTERS))
        self.stat(self.pid)
        os.rename(path, path + '.old')
        self.put(page_bytes(self.pid, COUNTERS))
        self.assertIn('before it called exec', self.refused(self.pid))

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
        self.assertIn('%7d %s -c' % (self.pid, PYTHON), listed)
        self.assertNotIn('4194999', listed)


PROGRAM = '''
import gc, json, os, sys, zgc
class Node: pass
def garbage(n):
    """Grows old first: what dies young is young collections' affair."""
    made = [Node() for _ in range(n)]
    for a in made:
        a.me = a
    zgc.collect()
keep = [[[]] for _ in range(100000)]
garbage(20000); zgc.collect()
print(json.dumps(zgc.stats()), flush=True)
children = []
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
        children.append(pid)
        continue
    print(json.dumps(zgc.stats()), flush=True)
for pid in children: os.waitpid(pid, 0)
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
        self.folder = os.path.join(runtime, 'zgcpreload')

    def start(self, program=PROGRAM, **env):
        self.program = subprocess.Popen(
            [PYTHON, '-c', program], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=dict({k: v for k, v in os.environ.items() if not k.startswith('ZGC')},
                     LD_PRELOAD=LIB, **dict(self.env, **env)))
        self.addCleanup(self.program.communicate)
        self.addCleanup(self.program.kill)

    def told(self):
        return json.loads(self.program.stdout.readline())

    def ask(self, word):
        self.program.stdin.write(word + '\n')
        self.program.stdin.flush()

    def finish(self):
        self.program.stdin.close()
        self.program.stdin = None
        self.assertEqual(self.program.wait(20), 0)

    def page(self, pid, until=lambda page: True):
        """The page as the tool shows it, once it is as expected: it follows within a second, but
        not on a machine that has no time for it."""
        deadline = time.monotonic() + 60
        while True:
            page = json.loads(self.succeed('zgc-stat', '--json', pid, env=self.env))
            if until(page) or time.monotonic() > deadline:
                return page
            time.sleep(0.2)

    def pages(self):
        return sorted(os.listdir(self.folder))

    def check(self, told, page):
        for name in self.STEADY:
            self.assertEqual(page[name], told[name], name)

    def test_against_the_program(self):
        self.start()
        self.check(self.told(), self.page(self.program.pid))
        self.ask('more')
        told = self.told()
        self.check(told, self.page(self.program.pid))
        self.assertGreaterEqual(told['reclaimed'], 20000)
        path = statpage.find(self.program.pid, self.env)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(os.path.dirname(path)).st_mode & 0o777, 0o700)

    def test_against_proc(self):
        """80 MB more, dropped again; nobody asks zgc.stats(), which would bring the page up to date."""
        self.start('''
import sys, zgc
keep = [[] for _ in range(50000)]
zgc.collect()
for line in sys.stdin:
    more = [bytes(991) for _ in range(80000)] if line == "more\\n" else None
    print(1, flush=True)
''')
        self.ask('less')
        self.told()
        used = []

        def is_steady(page):
            used.append(page['heap_used'])
            return len(used) > 6 and len(set(used[-6:])) == 1
        small, small_rss = self.page(self.program.pid, is_steady), resident(self.program.pid)
        self.ask('more')
        self.told()
        large = self.page(self.program.pid, lambda page: page['heap_used'] > 80 << 20)
        large_rss = resident(self.program.pid)
        grown = large['heap_used'] - small['heap_used']
        self.assertNear(grown, 80000 * (33 + 991 + 8), 0.02)
        self.assertNear(large_rss - small_rss, grown, 0.1, 4 << 20)
        self.assertGreaterEqual(large['heap_committed'], large['heap_used'])
        self.assertLess(large['heap_used'], large_rss)
        self.assertGreater(small['old_objects'], 50000)
        self.ask('less')
        self.told()
        page = self.page(self.program.pid, lambda page: page['heap_used'] < 40 << 20)
        self.assertNear(page['heap_used'], small['heap_used'], 0.02)

    def test_without_a_collector_thread(self):
        """Young collections alone, then idle: what the last of them left is there to see."""
        self.start('''
import json, os, sys, zgc
def young(): [[] for _ in range(1500)]
while zgc.stats()["young_collections"] < 3: young()
print(json.dumps([len(os.listdir("/proc/self/task")), zgc.stats()]), flush=True)
for _ in range(3): young()
sys.stdin.read()
''')
        threads, told = self.told()
        self.assertEqual(threads, 1)
        page = self.page(self.program.pid,
                         lambda page: page['young_collections'] >= told['young_collections'] + 3)
        self.assertGreaterEqual(page['young_collections'], told['young_collections'] + 3)
        # Nobody is there who could have been woken for that.
        self.assertEqual(len(os.listdir('/proc/%d/task' % self.program.pid)), 1)

    def test_a_small_program_has_a_page_once_the_collector_takes_part(self):
        self.start('''
import gc, sys, time
print(1, flush=True)
for line in sys.stdin:
    kept = [[] for _ in range(int(line))]
    print(1, flush=True)
''')
        self.told()
        time.sleep(1.1)
        self.ask('2000')
        self.told()
        self.assertIn('no statistics page yet', self.refuse('zgc-stat', self.program.pid, env=self.env))
        self.ask('60000')
        self.told()
        page = self.page(self.program.pid, lambda page: page['heap_used'] > 1 << 20)
        self.assertGreater(page['heap_used'], 1 << 20)
        self.assertEqual(page['collections'], 0)

    def test_short_programs_touch_nothing(self):
        self.start('pass')
        self.finish()
        self.assertEqual(os.listdir(self.env['XDG_RUNTIME_DIR']), [])

    def test_a_forked_child_has_a_page_of_its_own(self):
        self.start()
        first = self.told()
        self.ask('fork')
        child = self.told()
        self.check(child, self.page(child['pid']))
        self.assertEqual(child['forks'], 1)
        self.check(first, self.page(self.program.pid))
        self.assertEqual(len(self.pages()), 2)
        self.finish()
        self.assertEqual(self.pages(), [])      # the child's, too, although it ended by os._exit

    def test_gone_with_the_process(self):
        self.start()
        self.told()
        self.page(self.program.pid)
        path = statpage.find(self.program.pid, self.env)
        self.finish()
        self.assertFalse(os.path.exists(path))

    def test_what_a_killed_process_leaves_is_swept_by_the_next(self):
        self.start()
        self.told()
        left = str(self.program.pid)
        self.program.kill()
        self.program.wait()
        self.assertEqual(self.pages(), [left])
        # Neither a page of another pid namespace nor anything that is no page is touched.
        with open(os.path.join(self.folder, left), 'rb') as source:
            data = source.read()
        foreign = '4194998'
        with open(os.path.join(self.folder, foreign), 'wb') as out:
            out.write(data[:16] + struct.pack('<Q', int(foreign)) + data[24:40] +
                      struct.pack('<Q', 1) + data[48:])
        for name in ('4194997', '12x', 'notes'):
            with open(os.path.join(self.folder, name), 'w') as out:
                out.write('mine')
        self.start()
        self.told()
        self.assertEqual(self.pages(), sorted([str(self.program.pid), foreign, '4194997', '12x',
                                               'notes']))
        self.finish()
        self.assertEqual(self.pages(), sorted([foreign, '4194997', '12x', 'notes']))

    def test_exec(self):
        """The page of the program before is not taken for one of the program after."""
        self.start(PROGRAM.replace('for line in', 'os.execvp("sleep", ["sleep", "30"])\nfor line in'))
        self.told()
        deadline = time.monotonic() + 20
        while b'sleep' not in proctree.read('/proc/%d/cmdline' % self.program.pid)[:5]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertIn('before it called exec',
                      self.refuse('zgc-stat', self.program.pid, env=self.env))

    def test_off(self):
        self.start(ZGC_STATPAGE='0')
        self.assertGreaterEqual(self.told()['collections'], 1)
        self.assertEqual(os.listdir(self.env['XDG_RUNTIME_DIR']), [])
        self.assertIn('ZGC_STATPAGE=0', self.refuse('zgc-stat', self.program.pid, env=self.env))

    def where(self, **env):
        """Path of the page as zgc.status() names it, its log, and whether the tool finds it."""
        self.start('import zgc, json, sys; zgc.stats(); print(json.dumps(zgc.status()["statpage"]), '
                   'flush=True); sys.stdin.read()', ZGC_LOG=self.path('gc.log'), **env)
        path = self.told()
        with open(self.path('gc.log')) as source:
            return path, [line for line in source if 'statistics page' in line]

    def test_where_it_is(self):
        path, log = self.where()
        self.assertEqual((path, log), (os.path.join(self.folder, str(self.program.pid)), []))
        # The tool looks where the process was told to put it.
        self.succeed('zgc-stat', self.program.pid, env={'XDG_RUNTIME_DIR': '/nowhere'})
        shared = '/dev/shm/zgcpreload-%d/' % os.geteuid()
        for runtime in ('', 'relative', '/nowhere', '/' + 'x' * 300):
            with self.subTest(runtime):
                path, log = self.where(XDG_RUNTIME_DIR=runtime)
                self.assertEqual(path, shared + str(self.program.pid))
                self.assertEqual(os.stat(shared).st_mode & 0o777, 0o700)
                self.succeed('zgc-stat', self.program.pid)
                self.finish()
                self.assertFalse(os.path.exists(path))

    def test_whatever_the_umask(self):
        for mask in ('0', '077', '0777'):
            with self.subTest(mask):
                self.start('import os; os.umask(0o%s)\n%s' % (mask, PROGRAM))
                self.told()
                path = os.path.join(self.folder, str(self.program.pid))
                self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
                self.assertEqual(os.stat(self.folder).st_mode & 0o777, 0o700)
                self.finish()
                os.rmdir(self.folder)

    def test_a_directory_of_somebody_else_is_not_used(self):
        """A link in its place, a file, or a directory that others can enter: /dev/shm it is then."""
        elsewhere = self.path('elsewhere')
        os.mkdir(elsewhere, 0o700)

        def link():
            os.symlink(elsewhere, self.folder)

        def open_to_all():
            os.mkdir(self.folder)
            os.chmod(self.folder, 0o711)

        def file():
            with open(self.folder, 'w'):
                pass

        for make in (link, open_to_all, file):
            with self.subTest(make.__name__):
                make()
                path, log = self.where()
                self.assertTrue(path.startswith('/dev/shm/zgcpreload-'), path)
                self.assertEqual(len(log), 1, log)
                self.assertIn(self.folder, log[0])
                self.assertEqual(os.listdir(elsewhere), [])
                self.succeed('zgc-stat', self.program.pid, env=self.env)
                self.finish()
                os.rename(self.folder, self.path(make.__name__))
                os.unlink(self.path('gc.log'))

    def test_a_link_in_the_pages_own_place_is_replaced(self):
        """Only the user could have put it there; still nothing is written through it."""
        with open(self.path('precious'), 'w') as out:
            out.write('precious')
        os.mkdir(self.folder, 0o700)
        self.start('''
import os, sys
sys.stdin.readline()
import zgc
zgc.stats()
print(1, flush=True)
sys.stdin.read()
''')
        pid = str(self.program.pid)
        os.symlink(self.path('precious'), os.path.join(self.folder, pid))
        os.symlink(self.path('precious'), os.path.join(self.folder, pid + '.new'))
        self.ask('go')
        self.told()
        with open(self.path('precious')) as source:
            self.assertEqual(source.read(), 'precious')

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which('unshare'), 'needs root and unshare')
    def test_no_place_at_all(self):
        """One line in the log, nothing on stderr, and the program is none the worse for it."""
        code = ('import zgc; zgc.collect(); print(zgc.status()["statpage"], '
                'zgc.stats()["collections"])')
        for mount in ('mount -t tmpfs -o ro none /dev/shm', 'mount -t tmpfs -o size=4k none /dev/shm; '
                      'head -c 4096 /dev/zero > /dev/shm/full', 'mount -t tmpfs none /dev/shm; '
                      'mkdir /dev/shm/zgcpreload-0; chown 1234 /dev/shm/zgcpreload-0',
                      'mount -t tmpfs none /dev/shm; ln -s /tmp /dev/shm/zgcpreload-0'):
            with self.subTest(mount):
                log = self.path('log')
                done = subprocess.run(
                    ['unshare', '-m', 'sh', '-ec', mount + '; LD_PRELOAD=$LIB exec "$@"', 'sh',
                     PYTHON, '-c', code], text=True, capture_output=True, timeout=60,
                    env=dict(os.environ, LIB=LIB, ZGC_LOG=log, XDG_RUNTIME_DIR=''))
                if 'unshare failed' in done.stderr:
                    self.skipTest(done.stderr)
                self.assertEqual((done.stdout, done.stderr, done.returncode), ('None 1\n', '', 0))
                with open(log) as source:
                    lines = [line for line in source if 'statistics page' in line]
                self.assertEqual(len(lines), 1, lines)
                self.assertIn('/dev/shm/zgcpreload-0', lines[0])
                os.unlink(log)

    @unittest.skipUnless(os.geteuid() == 0, 'needs root')
    def test_a_process_that_changes_its_user(self):
        """Its page moves to where its new user's pages are."""
        self.start('''
import json, os, sys, zgc
keep = [[] for _ in range(50000)]
zgc.collect()
os.setgid(65534); os.setuid(65534)
print(1, flush=True)
for line in sys.stdin:
    print(1, flush=True)
''', XDG_RUNTIME_DIR='')
        self.told()
        path = '/dev/shm/zgcpreload-65534/%d' % self.program.pid
        deadline = time.monotonic() + 60
        while not os.path.exists(path) and time.monotonic() < deadline:
            time.sleep(0.1)                     # the collector thread follows
        page = self.page(self.program.pid)
        self.assertGreaterEqual(page['collections'], 1)
        self.assertEqual(os.stat(path).st_uid, 65534)
        self.finish()
        self.assertFalse(os.path.exists(path))

    def test_many_children_at_once(self):
        """Pages come and go while others are made and swept."""
        self.start('''
import gc, multiprocessing, os, zgc
def work(n):
    keep = [[] for _ in range(30000)]
    zgc.collect()
    return os.path.exists(zgc.status()["statpage"])
if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    zgc.stats()
    with multiprocessing.Pool(4, maxtasksperchild=1) as pool:
        print(sum(pool.imap_unordered(work, range(40))), flush=True)
''')
        self.assertEqual(self.told(), 40)
        self.finish()
        self.assertEqual(self.pages(), [])


def resident(pid):
    with open('/proc/%d/statm' % pid) as source:
        return int(source.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


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
