"""Runs a server once on one side: start, wait until ready, load, stop."""

import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from . import measure, proctree, wrk
from .tool import ToolError

POLL_SECONDS = 0.02


class Plan:
    """What to do with the server, the same on both sides."""

    def __init__(self, serve, ready, load, warmup=None, ready_timeout=60.0, stop_timeout=30.0):
        self.serve = serve                # command, list
        self.ready = ready                # http(s)://... or tcp://host:port
        self.load = load                  # command, list
        self.warmup = warmup              # command or None
        self.ready_timeout = ready_timeout
        self.stop_timeout = stop_timeout


def answers(url):
    """Whether the server does its work at url: any HTTP status below 500, or an open port."""
    parts = urllib.parse.urlsplit(url)
    try:
        if parts.scheme == 'tcp':
            socket.create_connection((parts.hostname, parts.port), timeout=2).close()
            return True
        # No proxy from the environment: the server is ours and near.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=10) as reply:
            return reply.status < 500
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False


def wait_ready(launched, plan):
    began = time.perf_counter()
    while not answers(plan.ready):
        if launched.process.poll() is not None:
            raise ToolError('the server ended before it was ready\n' + launched.tail())
        if time.perf_counter() - began > plan.ready_timeout:
            raise ToolError('no answer from %s within %g s\n%s'
                            % (plan.ready, plan.ready_timeout, launched.tail()))
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - began


def run_load(command):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    except OSError as error:
        raise ToolError('cannot run %s: %s' % (command[0], error.strerror))
    output = done.stdout.decode('utf-8', 'replace')
    if done.returncode:
        raise ToolError('%s failed with status %d\n%s'
                        % (command[0], done.returncode, output.strip()))
    return output


def stop(launched, plan):
    """SIGTERM to the server; True when it ended by itself."""
    launched.signal_command(signal.SIGTERM)
    try:
        launched.process.wait(plan.stop_timeout)
        return True
    except subprocess.TimeoutExpired:
        return False


def load_and_watch(launched, plan, values):
    if plan.warmup:
        run_load(plan.warmup)
    before_cpu = proctree.cpu_seconds(launched.pids())
    before = proctree.counters(launched.pids())
    values.update(wrk.parse(run_load(plan.load)))
    pids = launched.pids()
    used = proctree.cpu_seconds(pids) - before_cpu
    if values.get('requests'):
        values['cpu_per_request'] = used / values['requests']
    for name, number in proctree.counters(pids).items():
        # A worker that was replaced meanwhile took its counts with it.
        values[name] = max(number - before[name], 0)
    values['rss_sum'] = proctree.resident(pids)
    values['pss'] = proctree.proportional(pids)
    values['processes'] = len(pids)


def once(plan, side, meter=True):
    if answers(plan.ready):
        raise ToolError('something answers at %s already; stop it first' % plan.ready)
    with measure.Workspace() as work:
        launched = measure.Launched(plan.serve, side, work, meter)
        run = measure.Run()
        try:
            run.values['start'] = wait_ready(launched, plan)
            load_and_watch(launched, plan, run.values)
            clean = stop(launched, plan)
        finally:
            if launched.process.poll() is None:
                launched.kill()
        if not clean:
            raise ToolError('the server did not stop within %g s of SIGTERM on side %s\n%s'
                            % (plan.stop_timeout, side.key.upper(), launched.tail()))
        measure.finish(run, launched, plan.serve)
        run.output = None
        if meter:
            measure.add_pauses(run, work)
        return run
