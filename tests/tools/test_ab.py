"""zgc-ab: its numbers against time(1), the kernel and what the programs count themselves."""

import json
import os
import re
import socket
import subprocess
import unittest

import toolcase
from toolcase import LIB, PYTHON, ToolCase, requires, requires_lib
from zgctools import wrk

INERT = toolcase.inert_library()


class Commands(ToolCase):
    def compare(self, *arguments, **how):
        """The JSON report, rows by metric."""
        said = json.loads(self.succeed('zgc-ab', '--json', '-', '--warmup', '0', *arguments, **how))
        said['rows'] = {row['metric']: row for row in said['rows']}
        return said

    def stock(self, pairs, *command, more=()):
        return self.compare('-n', pairs, '--a', 'stock', '--b', 'stock', *more, '--', *command)

    def settings(self, pairs, a, b, *command, more=()):
        """Two sides that differ in variables only; what is preloaded does nothing."""
        return self.compare('-n', pairs, '--lib', INERT, '--a', a, '--b', b, *more, '--', *command)

    @requires('/usr/bin/time')
    def test_memory_and_faults_against_time(self):
        program = [PYTHON, '-c', 'x = bytearray(60 << 20); x[::4096] = b"1" * len(x[::4096])']
        told = subprocess.run(['/usr/bin/time', '-v'] + program, stderr=subprocess.PIPE, text=True,
                              env={k: v for k, v in os.environ.items() if k != 'LD_PRELOAD'}).stderr
        rss = int(re.search(r'Maximum resident set size \(kbytes\): (\d+)', told).group(1)) * 1024
        faults = int(re.search(r'Minor \(reclaiming a frame\) page faults: (\d+)', told).group(1))
        rows = self.stock(1, *program, more=['--no-pauses'])['rows']
        self.assertNear(rows['rss']['a'][0], rss, 0.03)
        self.assertNear(rows['minor_faults']['a'][0], faults, 0.05)

    def test_small_programs_are_not_measured_as_large_as_the_tool(self):
        rows = self.stock(1, '/bin/true', more=['--no-pauses'])['rows']
        self.assertLess(rows['rss']['a'][0], 8 << 20)

    def test_cpu_and_wall_against_the_program(self):
        out = self.path('cpu')
        rows = self.stock(1, PYTHON, '-c', (
            'import time\n'
            'began = time.monotonic()\n'
            'while time.process_time() < 0.5: pass\n'
            'time.sleep(0.3)\n'
            'open(%r, "w").write("%%f %%f" %% (time.process_time(), time.monotonic() - began))'
            % out))['rows']
        with open(out) as source:
            cpu, wall = map(float, source.read().split())
        self.assertNear(rows['cpu']['b'][0], cpu, 0.15)
        self.assertGreater(rows['wall']['b'][0], wall)
        self.assertLess(rows['wall']['b'][0], wall + 0.5)       # the start of the interpreter

    def test_verdicts(self):
        said = self.settings(6, 'WORK=100', 'WORK=10', PYTHON, '-c',
                             'import os, time; n = int(os.environ["WORK"])\n'
                             'x = b"1" * (n << 20); time.sleep(n / 1000)')
        self.assertEqual(said['rows']['rss']['verdict'], 'better')
        self.assertEqual(said['rows']['wall']['verdict'], 'better')
        self.assertNear(said['rows']['rss']['ratio'], 20 / 110, 0.25)
        self.assertEqual(said['sides']['b']['label'], 'preload WORK=10')
        said = self.settings(5, 'WORK=0', 'WORK=0.5', PYTHON, '-c',
                             'import os, time; time.sleep(float(os.environ["WORK"]))')
        self.assertEqual(said['rows']['wall']['verdict'], 'worse')

    def test_nothing_is_claimed_from_three_pairs(self):
        said = self.settings(3, 'WORK=0', 'WORK=0.1', PYTHON, '-c',
                             'import os, time; time.sleep(float(os.environ["WORK"]))')
        self.assertEqual({row['verdict'] for row in said['rows'].values()}, {'too few runs'})
        self.assertIn('too few for a verdict', said['warnings'][0])

    def test_the_sides_take_turns(self):
        self.assertIn(''.join(self.stock(4, '/bin/true')['order']), ('abbaabba', 'baabbaab'))

    def test_output_that_differs_is_told(self):
        said = self.settings(2, 'X=1', 'X=2', PYTHON, '-c', 'import os; print(os.environ["X"])')
        self.assertIn('differs between A and B', ' '.join(said['warnings']))

    def test_the_command_sees_its_arguments_as_given(self):
        out = self.path('argv')
        self.stock(1, PYTHON, '-c', 'import sys; open(%r, "w").write(repr(sys.argv[1:]))' % out,
                   'a b', '', '--', "it's", '*')
        with open(out) as source:
            self.assertEqual(source.read(), repr(['a b', '', '--', "it's", '*']))


class Pauses(Commands):
    OWN = '''
import gc, os, sys, time
seen, began = [], 0
def own(phase, info):
    global began
    if phase == "start":
        began = time.perf_counter_ns()
    else:
        seen.append(time.perf_counter_ns() - began)
gc.callbacks.append(own)
keep = [[[]] for _ in range(200000)]
for _ in range(30):
    gc.collect()
gc.disable()
out = open(sys.argv[1] + str(os.getpid()), "w")
out.write("%d %d" % (max(seen), sum(seen)))
out.close()
'''

    def test_against_the_program(self):
        said = self.stock(1, PYTHON, '-c', self.OWN, self.path('own'))
        own = []
        for name in sorted(os.listdir(self.dir)):
            with open(self.path(name)) as source:
                own.append([int(word) / 1e9 for word in source.read().split()])
        rows = said['rows']
        measured = sorted((rows['pause_max'][side][0], rows['pause_total'][side][0])
                          for side in 'ab')
        for (longest, total), (own_longest, own_total) in zip(measured, sorted(own)):
            self.assertNear(longest, own_longest, 0.02, floor=2e-5)
            # The program does not see the few collections before its callback stood in the list,
            # and its own callback's time is not in its figures.
            self.assertGreaterEqual(total, own_total * 0.99)
            self.assertLess(total, own_total * 1.1 + 0.05)

    def test_processes_that_end_in_any_way(self):
        """Every process makes one pause of the same size; none may be missing in the sum."""
        program = '''
import gc, os, signal, subprocess, sys, time
def slow(phase, info):
    if phase == "start": time.sleep(0.05)
def collect():
    # The callback stands behind the meter's, so that the meter times it.
    gc.callbacks.append(slow)
    gc.collect()
    gc.callbacks.remove(slow)
how = sys.argv[1]
collect()
if how == "fork":
    if os.fork() == 0:
        collect()
        os._exit(0)
    os.wait()
elif how == "kill":
    if os.fork() == 0:
        collect()
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
elif how == "spawn":
    subprocess.run([sys.executable, __file__, "alone"])
elif how == "exec":
    os.execv(sys.executable, [sys.executable, __file__, "alone"])
'''
        path = self.write('program.py', program)
        for how, count in (('alone', 1), ('fork', 2), ('kill', 2), ('spawn', 2), ('exec', 2)):
            with self.subTest(how):
                rows = self.stock(1, PYTHON, path, how)['rows']
                # The sum may be longer where the machine is busy, but not by a pause too few.
                self.assertGreater(rows['pause_total']['a'][0], 0.05 * count * 0.99)

    def test_the_program_is_left_as_it_was(self):
        """Same path, the sitecustomize it would have had, one callback more and nothing else."""
        os.mkdir(self.path('site'))
        self.write('site/sitecustomize.py', 'MARK = 42')
        program = ('import sys, gc, sitecustomize; gc.collect(); open(sys.argv[1], "w").write(repr('
                   '(sys.path, sitecustomize.MARK, sitecustomize.__file__)))')
        results = []
        for number, more in enumerate((['--no-pauses'], [])):
            out = self.path('out%d' % number)
            self.compare('-n', 1, '--a', 'stock', '--b', 'stock', *more, '--', PYTHON, '-c',
                         program, out, env={'PYTHONPATH': self.path('site')})
            with open(out) as source:
                results.append(source.read())
        self.assertEqual(*results)
        self.assertIn('42', results[0])

    def test_a_folder_called_zgc_is_not_taken_for_the_library(self):
        os.mkdir(self.path('zgc'))
        said = self.stock(1, PYTHON, '-c', 'import sys; sys.path.insert(0, "")')
        self.assertEqual(len(said['warnings']), 1)              # only: too few pairs

    def test_what_cannot_be_measured_is_told(self):
        for command in (['/bin/true'], [PYTHON, '-I', '-c', 'pass']):
            said = self.stock(1, *command)
            self.assertIn('no Python process reported pauses', ' '.join(said['warnings']))
            self.assertNotIn('pause_max', said['rows'])

    def test_a_library_that_is_not_active_is_told(self):
        said = self.compare('-n', 1, '--lib', INERT, '--', PYTHON, '-c', 'import gc; gc.collect()')
        self.assertIn('THE LIBRARY WAS NOT ACTIVE', ' '.join(said['warnings']))

    @requires_lib
    def test_the_library(self):
        said = self.compare('-n', 1, '--lib', LIB, '--', PYTHON, '-c',
                            'x = [[[]] for _ in range(300000)]')
        self.assertEqual(said['warnings'], [said['warnings'][0]])       # only: too few pairs

    @requires_lib
    def test_the_switch_is_told(self):
        said = self.compare('-n', 1, '--lib', LIB, '--b', 'ZGC_ENABLE=0', '--', PYTHON, '-c',
                            'pass')
        self.assertIn('THE LIBRARY WAS NOT ACTIVE', ' '.join(said['warnings']))


class Messages(ToolCase):
    def test_usage(self):
        self.assertIn('no command', self.refuse('zgc-ab'))
        self.assertIn('not NAME=VALUE', self.refuse('zgc-ab', '--b', 'oops', '--', 'true'))
        self.assertIn('at least 1', self.refuse('zgc-ab', '-n', 0, '--', 'true'))
        self.assertIn('go with --serve', self.refuse('zgc-ab', '--load', 'x', '--', 'true'))
        self.assertIn('needs --ready', self.refuse('zgc-ab', '--serve', 'x'))
        self.assertIn('no library at', self.refuse('zgc-ab', '--lib', '/none.so', '--', 'true'))

    def test_commands_that_fail(self):
        stock = ['--a', 'stock', '--b', 'stock', '--']
        self.assertIn('cannot run nosuchthing', self.refuse('zgc-ab', *stock, 'nosuchthing'))
        said = self.refuse('zgc-ab', *stock, PYTHON, '-c', 'raise SystemExit("gone wrong")')
        self.assertIn('exit status 1', said)
        self.assertIn('gone wrong', said)
        said = self.refuse('zgc-ab', *stock, PYTHON, '-c', 'import os; os.abort()')
        self.assertIn('SIGABRT', said)
        self.assertIn('did not end within', self.refuse(
            'zgc-ab', '--timeout', 0.3, *stock, 'sleep', 5))
        self.succeed('zgc-ab', '-n', 1, '--allow-failure', *stock, 'false')

    def test_outputs_that_cannot_be_written_are_known_before_the_first_run(self):
        run = ['--a', 'stock', '--b', 'stock', '--', 'touch', self.path('ran')]
        for option in ('--html', '--json'):
            self.assertIn('there is no directory', self.refuse('zgc-ab', option, 'none/report', *run))
            self.assertIn('is a directory', self.refuse('zgc-ab', option, '/tmp', *run))
        self.assertFalse(os.path.exists(self.path('ran')))

    def test_html(self):
        self.succeed('zgc-ab', '-n', 5, '--a', 'stock', '--b', 'stock', '--html', 'r.html', '--',
                     PYTHON, '-c', 'import gc; gc.collect()')
        with open(self.path('r.html'), encoding='utf-8') as source:
            text = source.read()
        self.assertSelfContained(text)
        self.assertIn('longest GC pause', text)


WRK = '''Running 2s test @ http://127.0.0.1:8123/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   758.23us  191.61us   3.26ms   84.31%
    Req/Sec    10.68k   365.13    11.24k    71.43%
  Latency Distribution
     50%  719.00us
     75%  800.00us
     90%    0.90ms
     99%    1.26ms
  22310 requests in 2.10s, 3.79MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 5
Requests/sec:  10618.08
Transfer/sec:      1.80MB
'''


class Wrk(unittest.TestCase):
    def test_what_wrk_prints(self):
        values = wrk.parse(WRK)
        self.assertEqual({name: round(value, 9) for name, value in values.items()}, {
            'requests_per_second': 10618.08, 'latency_p50': 719e-6, 'latency_p75': 800e-6,
            'latency_p90': 0.0009, 'latency_p99': 0.00126, 'latency_max': 0.00326,
            'requests': 22310, 'errors': 11})

    def test_what_our_script_adds(self):
        values = wrk.parse(WRK + 'zgc-ab latency p50 718 p99.9 2391 p99.99 3001 max 3260\n')
        self.assertEqual((values['latency_p50'], values['latency_p999'], values['latency_p9999']),
                         (718e-6, 2391e-6, 3001e-6))

    def test_command(self):
        self.assertEqual(wrk.command('wrk -d1 u')[:4], ['wrk', '-s', wrk.LUA, '--latency'])
        self.assertEqual(wrk.command('wrk -s my.lua --latency u'),
                         ['wrk', '-s', 'my.lua', '--latency', 'u'])


SERVER = '''
import atexit, gc, http.server, signal, sys, time
live = [[[]] for _ in range(100000)]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with open(sys.argv[2], "a") as out: out.write("x")
        # One write: with two, Nagle's algorithm waits 40 ms for the client.
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    def log_message(self, *a): pass
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
gc.collect()
began = time.process_time()
def tell():
    with open(sys.argv[2] + ".cpu", "a") as out: out.write("%f " % (time.process_time() - began))
atexit.register(tell)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
'''


def free_port():
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


@requires('wrk')
class Servers(ToolCase):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.url = 'http://127.0.0.1:%d/' % self.port

    def serve(self, command, *more, pairs=1):
        return self.run_tool('zgc-ab', '-n', pairs, '--warmup', 0, '--json', '-', '--serve',
                             command, '--ready', self.url, '--load',
                             'wrk -t1 -c1 -d1 ' + self.url, *more)

    def test_requests_against_the_server_s_own_count(self):
        server = self.write('server.py', SERVER)
        done = self.serve('%s %s %d %s' % (PYTHON, server, self.port, self.path('count')),
                          '--a', 'stock', '--b', 'stock')
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        rows = {row['metric']: row for row in said['rows']}
        counted = sum(said['runs'][side][0]['requests'] for side in 'ab')
        # One request more on each side asks whether the server is ready, and one may be under
        # way when wrk stops.
        self.assertLessEqual(abs(os.path.getsize(self.path('count')) - counted - 2), 2)
        self.assertEqual(rows['errors']['a'], [0])
        self.assertGreater(rows['pause_max']['a'][0], 1e-4)
        self.assertLessEqual(rows['latency_p50']['a'][0], rows['latency_p999']['a'][0])
        with open(self.path('count.cpu')) as source:
            served = sorted(float(word) for word in source.read().split())
        measured = sorted(said['runs'][side][0]['cpu_per_request']
                          * said['runs'][side][0]['requests'] for side in 'ab')
        for cpu, own in zip(measured, served):
            self.assertNear(cpu, own, 0.1, floor=0.04)

    def test_reasons(self):
        stock = ['--a', 'stock', '--b', 'stock']
        done = self.serve('%s -c "raise SystemExit(\'no config\')"' % PYTHON, *stock)
        self.assertEqual(done.returncode, 2)
        self.assertIn('ended before it was ready', done.stderr)
        self.assertIn('no config', done.stderr)
        done = self.serve('sleep 60', *stock, '--ready-timeout', 0.3)
        self.assertIn('no answer from', done.stderr)
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', self.port))
            taken.listen()
            done = self.serve('sleep 60', *stock, '--ready', 'tcp://127.0.0.1:%d' % self.port)
        self.assertIn('answers at', done.stderr)

    def test_gunicorn_with_preforked_workers(self):
        """Flask with a live heap, as it is deployed; Debian's packages, else skipped."""
        python = '/usr/bin/python3'
        if subprocess.run([python, '-c', 'import flask, gunicorn'],
                          stderr=subprocess.DEVNULL).returncode:
            self.skipTest('python3-flask and gunicorn are not installed')
        self.write('app.py', '''
import os, flask
live = [{"i": i, "l": [i]} for i in range(200000)]
app = flask.Flask(__name__)
@app.route("/")
def index():
    a = []; a.append(a)
    return "ok %d" % len(live)
''')
        sides = [] if LIB else ['--a', 'stock', '--b', 'stock']
        done = self.serve('%s -m gunicorn -w 2 --preload --chdir %s -b 127.0.0.1:%d app:app' % (
            python, self.dir, self.port), *sides, *(['--lib', LIB] if LIB else []))
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        rows = {row['metric']: row for row in said['rows']}
        self.assertEqual(said['runs']['a'][0]['processes'], 3)
        self.assertEqual(rows['errors']['b'], [0])
        # Preforked workers share the heap: counted once it is far below the sum.
        self.assertLess(rows['pss']['a'][0], rows['rss_sum']['a'][0] * 0.7)
        self.assertGreater(rows['pss']['a'][0], rows['rss']['a'][0] * 0.8)
        left = subprocess.run(['ps', '-eo', 'args'], stdout=subprocess.PIPE, text=True).stdout
        self.assertNotIn(self.dir, left)


if __name__ == '__main__':
    unittest.main()
