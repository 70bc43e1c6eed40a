"""zgc-log against logs whose content is known, and against logs that are damaged."""

import glob
import gzip
import html.parser
import json
import os
import random
import re
import subprocess
import time
import unittest

import makelog
import toolcase
from toolcase import HERE, PYTHON, SCRIPTS, ToolCase
from zgctools import gclog, logstats

LOGS = os.path.join(HERE, 'logs')
END = re.compile(r'^\[[^\n]*\]\[gc +\] GC\(\d+\)[^\n]* reclaimed (\d+) [^\n]*\n', re.MULTILINE)


class Golden(ToolCase):
    """Each log in logs/ with the output it must give; ZGC_GOLDEN=write writes them again."""

    def test_corpus(self):
        found = sorted(glob.glob(os.path.join(LOGS, '*.log*')))
        self.assertGreater(len(found), 8)
        for path in found:
            with self.subTest(os.path.basename(path)):
                done = self.run_tool('zgc-log', '--each', path)
                said = 'status %d\n%s%s' % (done.returncode, done.stdout, done.stderr)
                said = said.replace(LOGS + os.sep, '')
                self.assertNotIn('Traceback', said)
                expected = re.sub(r'\.log(\.gz)?$', '.expected', path)
                if os.environ.get('ZGC_GOLDEN') == 'write':
                    with open(expected, 'w', encoding='utf-8') as out:
                        out.write(said)
                with open(expected, encoding='utf-8') as source:
                    self.assertEqual(said, source.read())


class Numbers(ToolCase):
    """What was put into a log comes out of the tool."""

    def check(self, made, said):
        self.assertEqual(said['collections'], made.complete)
        self.assertEqual(said['reclaimed'], made.reclaimed)
        self.assertEqual(said['young_collections'], made.young)
        self.assertAlmostEqual(said['full_pause_max'], made.pause_max / 1e3)
        self.assertAlmostEqual(said['young_pause_max'], made.young_max / 1e3)
        self.assertEqual(said['types'], made.types)
        self.assertEqual({row['cause']: row['count'] for row in said['causes']}, made.by_cause)
        self.assertEqual(said['rss_max'], made.rss_max << 20)
        self.assertEqual(said['heap_max'], made.heap_max << 20)
        self.assertEqual((said['strange_lines'], said['cut']), (0, False))

    def read(self, *files):
        return json.loads(self.succeed('zgc-log', '--json', '-', *files))

    def test_info_and_debug_level(self):
        for level in ('info', 'debug'):
            made = makelog.MadeLog(seed=7, level=level, options=['ZGC_TRIGGER=40'])
            said = self.read(self.write('gc.log', made.text()))
            self.check(made, said)
            self.assertEqual(said['processes'][0]['options'], {'ZGC_TRIGGER': '40'})
            self.assertEqual(said['processes'][0]['pid'], made.pid)
            if level == 'debug':
                listed = sum(bar['count'] for bar in said['pause_histogram'])
                self.assertEqual(listed, made.text().count('Pause ')
                                 - made.text().count('Pause Defer'))

    def test_rotated_and_packed(self):
        made = makelog.MadeLog(seed=8)
        lines = made.text().splitlines(keepends=True)
        third = len(lines) // 3
        with gzip.open(self.path('gc.log.2.gz'), 'wt') as out:
            out.writelines(lines[:third])
        self.write('gc.log.1', ''.join(lines[third:2 * third]))
        self.write('gc.log', ''.join(lines[2 * third:]))
        for order in (['gc.log', 'gc.log.1', 'gc.log.2.gz'], ['gc.log.2.gz', 'gc.log', 'gc.log.1']):
            said = self.read(*map(self.path, order))
            self.check(made, said)
            self.assertEqual(len(said['processes']), 1)

    def test_files_of_forked_children_stay_apart(self):
        parent, children = makelog.MadeLog(seed=9, pid=500), []
        self.write('gc.log', parent.text())
        for pid in (1200, 1201):
            children.append(makelog.MadeLog(seed=pid, pid=pid, collections=5))
            # A child's file may begin without the opening line.
            self.write('gc.log.%d' % pid, ''.join(
                children[-1].text().splitlines(keepends=True)[1:]))
        said = self.read(self.path('gc.log'), self.path('gc.log.1200'), self.path('gc.log.1201'))
        self.assertEqual(said['reclaimed'], sum(m.reclaimed for m in [parent] + children))
        self.assertEqual(sorted(len(p['collections']) for p in said['processes']), [5, 5, 40])

    def test_two_processes_in_one_file(self):
        first, second = makelog.MadeLog(seed=1, pid=10), makelog.MadeLog(seed=2, pid=11)
        said = self.read(self.write('gc.log', first.text() + second.text()))
        self.assertEqual([p['pid'] for p in said['processes']], [10, 11])
        self.assertEqual(said['reclaimed'], first.reclaimed + second.reclaimed)

    def test_standard_input(self):
        made = makelog.MadeLog(seed=3)
        path = self.write('gc.log', made.text())
        with open(path) as source:
            done = subprocess.run([PYTHON, os.path.join(SCRIPTS, 'zgc-log'), '--json', '-', '-'],
                                  stdin=source, stdout=subprocess.PIPE, text=True)
        self.check(made, json.loads(done.stdout))


class Damage(ToolCase):
    def test_cut_at_every_byte(self):
        """Only what a whole line said counts; half a number is no number."""
        text = makelog.MadeLog(seed=4, collections=3).text()
        path = self.path('gc.log')
        for cut in range(0, len(text), 7):
            part = text[:cut]
            self.write('gc.log', part)
            log = gclog.read([path])
            whole = part[:part.rfind('\n') + 1]
            self.assertEqual(logstats.Stats(log).reclaimed or 0,
                             sum(int(n) for n in END.findall(whole)))
            self.assertEqual(log.cut, part != whole)

    def test_random_bytes_never_raise(self):
        pick = random.Random(5)
        text = bytearray(makelog.MadeLog(seed=5, collections=6, level='debug').text().encode())
        for _ in range(60):
            damaged = bytearray(text)
            for _ in range(pick.randint(1, 400)):
                damaged[pick.randrange(len(damaged))] = pick.randrange(256)
            log = gclog.read([self.write('gc.log', bytes(damaged))])
            stats = logstats.Stats(log)
            from zgctools import logreport
            logreport.terminal(stats, [], each=True)
            logreport.html(stats, [], ['gc.log'])
            logreport.as_json(stats, [])

    def test_numbers_that_are_none(self):
        """Each of these once ended the tool with a traceback."""
        line = '[1.000s][info ][gc         ] GC(%s) Full Collection (Growth) found %s reclaimed %s heap %s\n'
        text = (line % (0, 5, 5, '2M->1M') + line % ('9' * 5000, 1, 1, '1M->1M')
                + line % (1, '9' * 5000, '\u00b2', '%s->%s' % ('9' * 400, '\u0663M'))
                + '[%s.0s][info ][gc,exit    ] max 0.000ms\n' % ('9' * 400)
                + '[2.000s][info ][gc,phases  ] GC(0) Pause Reclaim 0.000ms fed 5 reclaimed 5\n')
        said = json.loads(self.succeed('zgc-log', '--json', '-', self.write('gc.log', text)))
        self.assertEqual((said['collections'], said['reclaimed'], said['strange_lines']), (2, 5, 1))
        self.assertEqual(said['pause_histogram'], [{'from_ns': 1, 'to_ns': 1.5, 'count': 1}])
        self.succeed('zgc-log', '--each', self.path('gc.log'))

    def test_a_damaged_gzip_file(self):
        packed = bytearray(gzip.compress(makelog.MadeLog().text().encode()))
        packed[200:400] = bytes(200)
        self.assertRegex(self.run_tool('zgc-log', self.write('gc.log.gz', bytes(packed))).stdout
                         + self.run_tool('zgc-log', self.path('gc.log.gz')).stderr,
                         'cut off|no line of a zgcpreload log')

    def test_nothing_reaches_the_terminal_that_could_command_it(self):
        text = makelog.MadeLog(collections=2).text().replace('Growth', 'Gro\x1b[2J\0\rwth')
        said = self.succeed('zgc-log', '--each', self.write('gc.log', text))
        self.assertEqual([c for c in said if not c.isprintable() and c != '\n'], [])

    def test_reasons(self):
        self.assertIn('the log is empty', self.refuse('zgc-log', self.write('a', '')))
        self.assertIn('no line of a zgcpreload log',
                      self.refuse('zgc-log', self.write('b', 'hello\nworld\n')))
        self.assertIn('No such file', self.refuse('zgc-log', self.path('none')))
        self.assertIn('Is a directory', self.refuse('zgc-log', self.dir))
        self.assertIn('not a duration', self.refuse('zgc-log', '--max-pause', 'x', 'f'))
        self.assertIn('cannot write', self.refuse(
            'zgc-log', '--html', '/nonexistent/x', self.write('c', makelog.MadeLog().text())))


class Budgets(ToolCase):
    def test_exit_status(self):
        made = makelog.MadeLog(seed=6)
        path = self.write('gc.log', made.text())
        pause = max(made.pause_max, made.young_max)
        for flag, kept, missed in (
                ('--max-pause', '%.3fms' % (pause + 0.001), '%.3fms' % (pause - 0.001)),
                ('--max-rss', '%dM' % made.rss_max, '%dM' % (made.rss_max - 1)),
                ('--max-heap', '%dM' % made.heap_max, '%dM' % (made.heap_max - 1)),
                ('--max-collections', made.complete, made.complete - 1),
                ('--max-escalations', made.by_cause['Escalation'],
                 made.by_cause['Escalation'] - 1)):
            with self.subTest(flag):
                self.assertIn(': kept', self.succeed('zgc-log', flag, kept, path))
                done = self.run_tool('zgc-log', flag, missed, path)
                self.assertEqual(done.returncode, 1)
                self.assertIn('MISSED', done.stdout)

    def test_one_missed_among_many(self):
        path = self.write('gc.log', makelog.MadeLog().text())
        done = self.run_tool('zgc-log', '--max-pause', '1s', '--max-rss', '1k', '--max-faults', 0,
                             path)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.count(': kept'), 2)


class Page(html.parser.HTMLParser):
    """Checks that every element is closed in turn."""

    VOID = {'meta', 'br', 'input'}

    def __init__(self):
        super().__init__()
        self.open, self.counts = [], {}

    def handle_starttag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()


class Reports(ToolCase):
    def test_html_is_whole_and_self_contained(self):
        path = self.write('gc.log', makelog.MadeLog(level='debug').text().replace(
            'garbage Node', 'garbage <script>alert(1)</script>'))
        self.succeed('zgc-log', '--html', 'out.html', path)
        with open(self.path('out.html'), encoding='utf-8') as source:
            text = source.read()
        self.assertSelfContained(text)
        self.assertNotIn('<script', text)
        page = Page()
        page.feed(text)
        self.assertEqual(page.open, [])
        self.assertEqual(page.counts['svg'], 5)

    def test_png(self):
        path = self.write('gc.log', makelog.MadeLog().text())
        done = self.run_tool('zgc-log', '--png', 'out.png', path)
        if done.returncode:
            self.assertEqual(done.returncode, 2)
            self.assertIn('--png needs matplotlib', done.stderr)
        else:
            with open(self.path('out.png'), 'rb') as source:
                self.assertEqual(source.read(8), b'\x89PNG\r\n\x1a\n')

    def test_log_with_nothing_but_a_beginning(self):
        path = self.write('gc.log', makelog.MadeLog(collections=0).text())
        self.succeed('zgc-log', '--html', 'out.html', '--max-pause', '1ms', path)
        self.assertIn('collections        0', self.succeed('zgc-log', path))

    def test_reader_that_leaves(self):
        path = self.write('gc.log', makelog.MadeLog(collections=400).text())
        done = subprocess.run('"%s" "%s" --each "%s" | head -1' % (
            PYTHON, os.path.join(SCRIPTS, 'zgc-log'), path), shell=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.stderr, '')


AGING = '''
import json, sys, zgc
class Node: pass
def grow_old():
    before = zgc.stats()["young_collections"]
    while zgc.stats()["young_collections"] < before + 30: [[] for _ in range(1000)]
nodes = []
for _ in range(20000):
    one = Node(); one.me = one; nodes.append(one)
grow_old()
zgc.collect()
del nodes, one
zgc.collect()
print(json.dumps(zgc.stats()))
'''


class Library(ToolCase):
    @toolcase.requires_lib
    def test_against_the_program_s_count_of_its_garbage(self):
        path = self.path('gc.log')
        done = subprocess.run([PYTHON, '-c', AGING], stdout=subprocess.PIPE, text=True, env=dict(
            os.environ, LD_PRELOAD=toolcase.LIB, ZGC_LOG=path, ZGC_LOG_LEVEL='debug'))
        own = json.loads(done.stdout)
        said = json.loads(self.succeed('zgc-log', '--json', '-', path))
        self.assertEqual(said['types']['Node'], 20000)
        self.assertEqual(said['reclaimed'], own['reclaimed'])
        self.assertEqual(said['collections'] + said['abandoned'],
                         own['collections'] + own.get('collections_abandoned', 0))
        self.assertGreaterEqual(said['pause_max'] + 1e-6, own['pause_max_ns'] / 1e9)
        self.assertEqual((said['strange_lines'], said['cut']), (0, False))


class Follow(ToolCase):
    def wait_until_opened(self, pid, path):
        folder = '/proc/%d/fd' % pid
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for name in os.listdir(folder):
                try:
                    if os.readlink(os.path.join(folder, name)) == os.path.realpath(path):
                        return
                except OSError:     # closed meanwhile
                    pass
            time.sleep(0.01)
        self.fail('zgc-log has not opened ' + path)

    def test_while_it_grows_and_rotates(self):
        made = makelog.MadeLog(seed=11, collections=12)
        lines = made.text().splitlines(keepends=True)
        path = self.path('gc.log')
        out = open(path, 'w')
        tool = subprocess.Popen([PYTHON, os.path.join(SCRIPTS, 'zgc-log'), '--follow', '--for',
                                 '3', path], stdout=subprocess.PIPE, text=True)
        self.addCleanup(tool.stdout.close)
        self.addCleanup(tool.kill)
        self.wait_until_opened(tool.pid, path)      # what is rotated before that, it cannot know
        for number, line in enumerate(lines):
            if number == len(lines) // 2:           # logrotate: rename, then a new file
                out.close()
                os.rename(path, path + '.1')
                out = open(path, 'w')
            # In two halves, so that the tool sees unfinished lines.
            out.write(line[:10])
            out.flush()
            out.write(line[10:])
            out.flush()
            if number % 20 == 0:
                time.sleep(0.05)
        out.close()
        said = tool.communicate(timeout=60)[0]
        self.assertEqual(tool.returncode, 0)
        shown = re.findall(r'GC\((\d+)\) .*: found', said)
        self.assertEqual([int(n) for n in shown], list(range(12)))
        self.assertIn('objects reclaimed  {:,}'.format(made.reclaimed), said)


if __name__ == '__main__':
    unittest.main()
