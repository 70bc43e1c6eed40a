"""zgc-perf: CPU time against the program's own clock, stacks it must have, pauses by both ways."""

import json
import os
import re
import shutil
import subprocess
import time
import unittest
from xml.etree import ElementTree

import toolcase
from toolcase import LIB, PYTHON, SCRIPTS, ToolCase, requires, requires_lib
from zgctools import flamegraph, flamesvg, interpreter, perfscript, probes, proctree, stacktree
from zgctools.perfrecord import choose_event, choose_method
from zgctools.tool import MISSED, ToolError

# perf ends a head line with a blank; $ stands for it.
SCRIPT = '''python3  1087/1091   2350.208443:    2004008 cpu-clock: $
\t          1cefc5 pymalloc_free (inlined)
\t          1cefc5 _PyObject_Free (/opt/lib/libpython3.12.so.1.0)
\t          1cefc5 _PyObject_Free (/opt/lib/libpython3.12.so.1.0)
\t    7ff5e4ebac39 py::leaf (x):/srv/my app.py (/tmp/perf-1087.map)

zgc-collector  1087/1092   2350.210447:    1002004 cpu-clock:ppp: $
\t            1000 zpass_run (/opt/lib/libzgcpreload.so)
\tffffffff81691b29 try_charge_memcg ([kernel.kallsyms])

my comm 7  1087/1093   2350.3:    500 cpu-clock: $

'''.replace('$', '')


class Parsing(unittest.TestCase):
    def test_what_perf_script_prints(self):
        samples = list(perfscript.parse(SCRIPT.splitlines(keepends=True)))
        self.assertEqual([s.comm for s in samples], ['python3', 'zgc-collector', 'my comm 7'])
        self.assertEqual([s.weight for s in samples], [2004008, 1002004, 500])
        self.assertEqual(samples[0].frames[0][0], 'py::leaf (x):/srv/my app.py')
        # The same function twice at one address is one frame.
        self.assertEqual([name for name, _ in samples[0].frames[1:]],
                         ['_PyObject_Free', 'pymalloc_free'])
        tree = stacktree.StackTree(samples)
        self.assertEqual(tree.groups[stacktree.COLLECTOR], 1002004)
        self.assertEqual(tree.root.weight, 2004008 + 1002004 + 500)
        self.assertEqual(tree.pids, {1087})
        self.assertIn('program threads;python3;leaf (x) (my app.py);_PyObject_Free;pymalloc_free '
                      '2004008', list(tree.folded()))

    def test_names_cannot_break_out_of_the_page(self):
        samples = list(perfscript.parse(SCRIPT.replace(
            'zpass_run', '</script><b>').splitlines(keepends=True)))
        text = flamegraph.html(stacktree.StackTree(samples), '<i>title', 'about & more')
        self.assertEqual(text.count('</script>'), 1)
        self.assertNotIn('<i>', text)

    def test_a_still_picture(self):
        """Well-formed, boxes as wide as their share, names escaped."""
        samples = list(perfscript.parse(SCRIPT.replace(
            'zpass_run', 'a<b>&c').splitlines(keepends=True)))
        tree = stacktree.StackTree(samples)
        picture = ElementTree.fromstring(flamesvg.svg(tree, '<i>title', 'about & more'))
        name = '{http://www.w3.org/2000/svg}'
        wide = {}
        for box in picture.iter(name + 'g'):
            title = box.find(name + 'title').text.partition(': ')[0]
            wide[title] = float(box.find(name + 'rect').get('width'))
        self.assertAlmostEqual(wide[stacktree.COLLECTOR] / wide['all'],
                               tree.groups[stacktree.COLLECTOR] / tree.root.weight, places=2)
        self.assertIn('a<b>&c', wide)

    def test_without_c_and_kernel(self):
        samples = list(perfscript.parse(SCRIPT.splitlines(keepends=True)))
        lines = list(stacktree.StackTree(samples, short=True).folded())
        # The time of what is left out belongs to the function around it.
        self.assertIn('program threads;python3;leaf (x) (my app.py) 2004008', lines)
        self.assertIn('collector threads;zgc-collector;zpass_run 1002004', lines)

    def test_method_follows_the_interpreter(self):
        def method(version, frame_pointers=False, wanted='auto'):
            one = choose_method(interpreter.Interpreter('python', version, frame_pointers), wanted)
            return one.call_graph.partition(',')[0], one.settings, one.jit
        self.assertEqual(method((3, 11)), ('dwarf', [], False))
        self.assertEqual(method((3, 12)), ('dwarf', ['PYTHONPERFSUPPORT=1'], False))
        self.assertEqual(method((3, 12), True), ('fp', ['PYTHONPERFSUPPORT=1'], False))
        self.assertEqual(method((3, 13)), ('dwarf', ['PYTHON_PERF_JIT_SUPPORT=1'], True))
        self.assertEqual(method((3, 13), True, 'dwarf')[0], 'dwarf')


COLLAPSED = '''_start;main;<module> (app.py:3);make (app.py:2);PyList_New 3000
_start;main;<module> (app.py:3);make (app.py:2) 1000
_start;main;load (a <b>.py:9);PyObject_Malloc 500
[no stack] 500
'''


class AllocationProfile(ToolCase):
    def flame(self, name, *arguments):
        said = self.succeed('zgc-perf', 'flame', '-o', name, '--folded', 'f.txt', *arguments,
                            self.write('heap.live.collapsed', COLLAPSED))
        with open(self.path(name), encoding='utf-8') as source:
            drawn = source.read()
        with open(self.path('f.txt'), encoding='utf-8') as source:
            return said, drawn, set(source.read().splitlines())

    def test_all_functions(self):
        said, drawn, folded = self.flame('f.html')
        self.assertSelfContained(drawn)
        self.assertEqual(folded, set(COLLAPSED.splitlines()))
        self.assertIn('4.88 K in 4 stacks', said)
        self.assertRegex(said, r'PyList_New +2.93 K +60.0 %')
        self.assertIn('UNIT = "bytes"', drawn)

    def test_python_functions(self):
        _, drawn, folded = self.flame('f.svg', '--short')
        self.assertEqual(folded, {'<module> (app.py:3);make (app.py:2) 4000', 'load (a <b>.py:9) 500'})
        text = ''.join(ElementTree.fromstring(drawn).itertext())
        self.assertIn('make (app.py:2): 3.91 K, 80.0 %', text)
        self.assertNotIn('kernel', text)

    def test_a_very_deep_stack(self):
        path = self.write('deep.collapsed', 'f (a.py:1);' * 5000 + 'g 7\n')
        for name in ('f.html', 'f.svg'):
            self.assertIn('7 B in 1 stacks', self.succeed('zgc-perf', 'flame', '-o', name, path))

    def test_no_stacks(self):
        self.assertIn('not a collapsed stack', self.refuse(
            'zgc-perf', 'flame', self.write('x.collapsed', 'main;make twelve')))
        self.assertIn('not a collapsed stack', self.refuse(
            'zgc-perf', 'flame', self.write('x.collapsed', 'main;make \u00b2')))
        self.assertIn('no samples', self.refuse(
            'zgc-perf', 'flame', self.write('x.collapsed', ''), code=MISSED))
        self.assertIn('cannot read', self.refuse('zgc-perf', 'flame', 'none.collapsed'))


def sampling():
    try:
        return bool(shutil.which('perf') and choose_event())
    except ToolError:
        return False


BUSY = '''
import ctypes, sys, threading, time
def name_thread(name):
    ctypes.CDLL(None).prctl(15, name, 0, 0, 0)
def spin_alpha(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        n = 0
        while n < 20000: n += 1
def worker():
    name_thread(b"zgc-worker")
    spin_alpha(0.4)
one = threading.Thread(target=worker)
one.start(); one.join()
spin_alpha(0.8)
open(sys.argv[1], "w").write(str(time.process_time()))
'''


@unittest.skipUnless(sampling(), 'perf is not there or not permitted')
class Flames(ToolCase):
    def flame(self, *arguments):
        said = self.succeed('zgc-perf', 'flame', '-o', 'f.html', '--folded', 'f.txt', *arguments)
        with open(self.path('f.html'), encoding='utf-8') as source:
            self.assertSelfContained(source.read())
        with open(self.path('f.txt'), encoding='utf-8') as source:
            lines = [line.rpartition(' ')[::2] for line in source]
        return said, [(stack.split(';'), int(weight)) for stack, weight in lines]

    @staticmethod
    def seconds(stacks, keep):
        return sum(weight for stack, weight in stacks if keep(stack)) / 1e9

    def test_cpu_time_by_thread_against_the_program(self):
        program = self.write('busy.py', BUSY)
        said, stacks = self.flame('--stock', '--', PYTHON, program, self.path('cpu'))
        with open(self.path('cpu')) as source:
            cpu = float(source.read())
        if 'cycles' in said:
            self.skipTest('samples count cycles here, not time')
        self.assertNear(self.seconds(stacks, lambda s: True), cpu, 0.15, floor=0.2)
        self.assertNear(self.seconds(stacks, lambda s: s[0] == stacktree.COLLECTOR), 0.4, 0.2)
        self.assertEqual({s[1] for s, _ in stacks if s[0] == stacktree.COLLECTOR}, {'zgc-worker'})

    def test_python_functions(self):
        """From 3.12 on; every interpreter that is there and new enough."""
        program = self.write('busy.py', BUSY)
        tried = 0
        for python in newer_pythons():
            said, stacks = self.flame('--stock', '--', python, program, self.path('cpu'))
            tried += 1
            named = self.seconds(stacks, lambda s: any('spin_alpha (busy.py)' in f for f in s))
            # Where stacks end at the first unwinding failure, some samples stay without a name.
            self.assertGreater(named, 0.5 if 'stacks end' in said else 0.9, said)
        if not tried:
            self.skipTest('no Python 3.12 or newer')

    def test_record_then_draw(self):
        program = self.write('busy.py', BUSY)
        self.succeed('zgc-perf', 'record', '--stock', '-o', 'rec', '--', PYTHON, program,
                     self.path('cpu'))
        _, stacks = self.flame('rec')
        self.assertGreater(self.seconds(stacks, lambda s: True), 0.8)
        self.assertIn('exists already', self.refuse('zgc-perf', 'record', '--stock', '-o', 'rec',
                                                    '--', 'true'))

    def test_nothing_is_left_behind(self):
        def leftovers():
            return {name for name in os.listdir('/tmp') if re.match(r'jit|perf-\d+\.map', name)}
        before = leftovers()
        for python in list(newer_pythons())[-1:]:
            self.flame('--stock', '--', python, self.write('busy.py', BUSY), self.path('cpu'))
        self.assertEqual(leftovers() - before, set())

    def test_running_process(self):
        with subprocess.Popen([PYTHON, '-c', 'while True: pass']) as program:
            try:
                before = proctree.cpu_seconds([program.pid])
                _, stacks = self.flame('--pid', program.pid, '--seconds', 1)
                used = proctree.cpu_seconds([program.pid]) - before
            finally:
                program.kill()
        # The kernel's own account of the process over a somewhat longer time.
        self.assertLess(self.seconds(stacks, lambda s: True), used * 1.05)
        self.assertGreater(self.seconds(stacks, lambda s: True), 0.1)

    def test_status_of_the_program(self):
        self.refuse('zgc-perf', 'flame', '--stock', '--', PYTHON, '-c',
                    'import time\nwhile time.process_time() < .3: pass\nraise SystemExit(7)',
                    code=7)

    @requires_lib
    def test_the_collector(self):
        _, stacks = self.flame('--lib', LIB, '--', PYTHON, '-c',
                               'import zgc\nx = [[[]] for _ in range(400000)]\n'
                               'for _ in range(20): zgc.collect()')
        self.assertGreater(self.seconds(stacks, lambda s: s[0] == stacktree.COLLECTOR), 0.05)


def newer_pythons():
    """One interpreter of each version that can show Python functions to perf."""
    names = [os.path.expanduser('~/.pyenv/versions/%s/bin/python3' % name)
             for name in sorted(list_pyenv())]
    names += [shutil.which('python3.%d' % minor) for minor in range(12, 16)]
    names += os.environ.get('ZGC_PYTHONS', '').split(':')
    seen = set()
    for python in filter(None, names):
        one = interpreter.behind([python]) if shutil.which(python) else None
        if one is not None and one.version >= (3, 12) and one.version not in seen:
            seen.add(one.version)
            yield python


def list_pyenv():
    try:
        return os.listdir(os.path.expanduser('~/.pyenv/versions'))
    except OSError:
        return []


PAUSING = '''
import gc, json, os, sys, zgc
x = [[[]] for _ in range(200000)]
for _ in range(50000): a = []; a.append(a)
zgc.collect(); gc.collect()
gc.disable()
open(sys.argv[1], "w").write(json.dumps(zgc.stats()))
os._exit(0)
'''


def probing():
    return os.geteuid() == 0 and shutil.which('bpftrace') and not subprocess.run(
        ['bpftrace', '-e', 'BEGIN { exit(); }'], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL).returncode


class Pauses(ToolCase):
    def test_nothing_to_watch(self):
        self.assertIn('exactly one of', self.refuse('zgc-perf', 'pauses'))
        self.assertIn('no USDT probes', self.refuse(
            'zgc-perf', 'pauses', '--source', 'probes', '--lib', toolcase.inert_library(), '--',
            'true') if probing() else 'no USDT probes')
        self.assertIn('not found', self.refuse('zgc-perf', 'flame', '--stock', '--', 'nosuchthing'))
        self.assertIn('no process', self.refuse('zgc-perf', 'pauses', '--pid', '4194999'))

    @unittest.skipUnless(probing(), 'bpftrace is not there or not permitted')
    def test_stock_collector(self):
        python = '/usr/bin/python3'
        done = self.run_tool('zgc-perf', 'pauses', '--stock', '--json', '-', '--', python, '-c',
                             'import gc; gc.disable()\nfor _ in range(37): gc.collect(1)')
        if done.returncode and 'no gc__start probe' in done.stderr:
            self.skipTest('this Python has no probes')
        self.assertEqual(json.loads(done.stdout)['kinds']['generation 1']['count'], 37)

    @requires_lib
    def test_probes_and_log_against_the_program(self):
        program = self.write('p.py', PAUSING)
        for source in ('log', 'probes') if probing() else ('log',):
            with self.subTest(source):
                done = self.run_tool('zgc-perf', 'pauses', '--source', source, '--json', '-',
                                     '--lib', LIB, '--', PYTHON, program, self.path('stats'))
                if 'no USDT probes' in done.stderr:
                    self.skipTest('built without sys/sdt.h')
                self.assertEqual(done.returncode, 0, done.stderr)
                said = json.loads(done.stdout)
                with open(self.path('stats')) as stats:
                    self.check_pauses(source, said, json.loads(stats.read()))

    def check_pauses(self, source, said, own):
        kinds = {kind: one['count'] for kind, one in said['kinds'].items()}
        self.assertEqual(kinds['young'], own['young_collections'])
        self.assertEqual(kinds['full'], own['collections_system_gc'])
        longest = max(one['longest_ns'] for one in said['kinds'].values())
        self.assertNear(longest, max(own['pause_max_ns'], own['young_max_ns']), 0.1, floor=200000)
        if source == 'log':
            return
        self.assertEqual(sum(kinds.values()), own['pauses'])
        self.assertEqual(said['said_total_ns'], own['pause_total_ns'])
        # The kernel's clock around the same pauses; each switch to the kernel takes its time.
        measured = sum(one['total_ns'] for one in said['kinds'].values())
        self.assertNear(measured, own['pause_total_ns'], 0.1, floor=10000 * own['pauses'])


if __name__ == '__main__':
    unittest.main()
