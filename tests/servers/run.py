#!/usr/bin/env python3
"""Servers and engines under load, with and without the library: one table.

    python3 -m venv VENV && VENV/bin/pip install -r tests/servers/requirements.txt
    VENV/bin/python tests/servers/run.py [--seconds N] [--only NAME ...] [--lib LIB]

Runs with the Python that shall be tested. Celery needs redis-server. Each server is started as a user
would, the second time through scripts/zgc-run, gets requests from four clients for N seconds, is told
to reload in the middle where it can (SIGHUP), recycles its workers (max_requests and the like), and is
ended with SIGTERM.

    hours      what the answers would be of, with a request a second from each of four users
    failed     requests without the right answer
    again      connections that an ending worker closed without an answer; asked again, as a proxy does
    workers    processes seen in all: recycling works
    stuck      workers of those wanted that answered nothing after the load
    RSS        of all its processes, MB: in the middle, at the end
    stop       seconds from SIGTERM to the end, and the exit status
    left       processes that were still there
    GC, faults from the logs: full collections; failures of the library and crashes

Seconds of load are those in which this process ran, too: a machine that stood still meanwhile is no
load and no time-out. Exit status 1 when the library's side has failed requests that stock has not, grows
by over a tenth more than stock does, has a worker stuck, does not end cleanly, leaves processes behind or
logs a failure.
"""

import argparse
import glob
import http.client
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.path.dirname(sys.executable)
KEYS = 4500         # of requests; the application's cache holds fewer
CLIENTS = 4
CLUSTER_WORKERS = 3
STOP_S = 60
READY_S = 180
PATIENCE_S = 240    # until an answer counts as none: longer than the machine stands still
STEP_S = 0.25
STUCK_S = 30
GROWTH = 1.10
FLOOR_MB = 4        # growth below this is noise
CRASH = "Fatal Python error"        # faulthandler's


def program(name):
    path = os.path.join(BIN, name)
    if not os.path.exists(path):
        sys.exit(f"run.py: {path} is missing: pip install -r {HERE}/requirements.txt")
    return path


class Processes:
    """A command and everything it starts, which share a session."""

    def __init__(self, command, env, folder):
        self.output = open(os.path.join(folder, "output"), "w+")
        self.popen = subprocess.Popen(command, env=env, cwd=HERE, stdout=self.output,
                                      stderr=subprocess.STDOUT, start_new_session=True)
        self.seen = set()

    def pids(self):
        found = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.popen.pid and fields[0] != "Z":
                found.append(int(path.split("/")[2]))
        self.seen.update(found)
        return found

    def rss(self):
        total = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/statm") as file:
                    total += int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:
                pass
        return total / 2**20

    def stop(self):
        """Seconds it took, exit status, processes left. Then those end, too."""
        start = time.monotonic()
        self.popen.terminate()
        try:
            status = self.popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            status = "none"
        took = time.monotonic() - start
        time.sleep(0.5)
        left = self.pids()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return took, status, len(left)

    def text(self):
        self.output.seek(0)
        return self.output.read()


# -- the clients ------------------------------------------------------------------------------------------

class HttpClient:
    """One connection per request, so that every worker gets some."""

    count = 1

    def __init__(self, port, may_close):
        self.port, self.may_close, self.workers, self.again = port, may_close, set(), 0

    def ask(self, key):
        try:
            return self.request(key)
        except (ConnectionResetError, BrokenPipeError):
            if not self.may_close:
                raise
            self.again += 1
            return self.request(key)

    def request(self, key):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", f"/item/{key}")
            answer = json.load(connection.getresponse())
            self.workers.add(answer["pid"])
            return answer["key"] == key and answer["rows"] == 40
        finally:
            connection.close()


class CeleryClient:
    count = 20      # tasks at a time
    again = 0

    def __init__(self, redis_url):
        self.workers = set()
        os.environ["REDIS_URL"] = redis_url
        sys.path.insert(0, HERE)
        import application
        self.application = application.make_celery()    # one each: their results are not for threads
        self.application.set_current()

    def ask(self, key):
        tasks = [self.application.send_task("item" if i % 4 else "sort", (key,))
                 for i in range(self.count)]
        answers = [task.get(timeout=PATIENCE_S) for task in tasks]
        texts = [json.loads(a) for i, a in enumerate(answers) if i % 4]
        self.workers.update(text["pid"] for text in texts)
        return all(a is True for a in answers[::4]) and all(text["key"] == key for text in texts)


class Load(threading.Thread):
    def __init__(self, client, seed):
        super().__init__(daemon=True)
        self.client, self.rng, self.done = client, random.Random(seed), threading.Event()
        self.answers = self.failed = 0

    def run(self):
        while not self.done.is_set():
            try:
                good = self.client.ask(self.rng.randrange(KEYS))
            except Exception as error:      # a refused connection, a time-out, half an answer
                good, self.problem = False, error
            self.answers += self.client.count * good
            self.failed += self.client.count * (not good)


def steps(seconds):
    """Yields the seconds that have passed, some times a second, and leaves out those in which this
    process did not run either."""
    passed, before = 0, time.monotonic()
    while passed < seconds:
        yield passed
        time.sleep(STEP_S)
        now = time.monotonic()
        passed, before = passed + min(now - before, 4 * STEP_S), now


def stuck_workers(scenario):
    """Of the workers wanted, how many answer none of the requests made until all have answered."""
    clients = [Load(scenario.client(), 100 + i) for i in range(CLIENTS)]
    for one in clients:
        one.start()
    for _ in steps(STUCK_S):
        answered = set().union(*(one.client.workers for one in clients))
        if len(answered) >= scenario.workers:
            break
    for one in clients:
        one.done.set()
    for one in clients:
        one.join(PATIENCE_S)
    return max(scenario.workers - len(answered), 0)


# -- the scenarios ----------------------------------------------------------------------------------------------

class Scenario:
    reloads = True
    may_close = False       # a connection without an answer

    def __init__(self, folder):
        self.folder = folder
        self.port = random.randrange(20000, 30000)

    def environment(self):
        return {}

    def client(self):
        return HttpClient(self.port, self.may_close)

    def close(self):
        pass


class GunicornPreload(Scenario):
    name = "gunicorn preload_app"
    workers = 3

    def command(self):
        return [program("gunicorn"), "-w", "3", "--timeout", str(PATIENCE_S), "--preload", "--max-requests", "1500",
                "--max-requests-jitter", "300", "-b", f"127.0.0.1:{self.port}",
                "--log-level", "warning", "application:wsgi"]


class GunicornThreads(Scenario):
    name = "gunicorn gthread"
    workers = 2

    def command(self):
        return [program("gunicorn"), "-w", "2", "--timeout", str(PATIENCE_S), "-k", "gthread", "--threads", "4",
                "-b", f"127.0.0.1:{self.port}", "--log-level", "warning", "application:wsgi"]


class Uvicorn(Scenario):
    name = "uvicorn --workers"
    workers = 2
    may_close = True        # a worker that has its --limit-max-requests closes those it has accepted

    def command(self):
        return [program("uvicorn"), "application:asgi", "--workers", "2", "--port", str(self.port),
                "--limit-max-requests", "8000", "--log-level", "warning"]


class Celery(Scenario):
    name = "celery, redis"
    workers = 3
    reloads = False

    def __init__(self, folder):
        super().__init__(folder)
        server = shutil.which("redis-server") or sys.exit("run.py: redis-server is missing")
        self.socket = os.path.join(folder, "redis")
        self.redis = subprocess.Popen([server, "--port", "0", "--unixsocket", self.socket, "--save", "",
                                       "--dir", folder], stdout=subprocess.DEVNULL)

    def environment(self):
        return {"REDIS_URL": f"redis+socket://{self.socket}"}

    def command(self):
        return [program("celery"), "-A", "application:celery", "worker", "-P", "prefork", "-c", "3",
                "--max-tasks-per-child", "1500", "-l", "ERROR", "--without-mingle"]

    def client(self):
        return CeleryClient(self.environment()["REDIS_URL"])

    def close(self):
        self.redis.terminate()
        self.redis.wait()


SERVERS = {"gunicorn": GunicornPreload, "gthread": GunicornThreads, "uvicorn": Uvicorn,
           "celery": Celery}


# -- one run -----------------------------------------------------------------------------------------------------

def environment(side, lib, folder, more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ZGC_", "LD_PRELOAD"))}
    env.update(more)
    env["PATH"] = BIN + os.pathsep + env["PATH"]
    env["PYTHONFAULTHANDLER"] = "1"
    return env


def started(command, side, lib, folder):
    if side == "stock":
        return command
    return [sys.executable, os.path.join(ROOT, "scripts", "zgc-run"), "--lib", lib,
            "--log", os.path.join(folder, "gc.%p.log"), "--", *command]


def logged(folder):
    """(full collections, failures) of all processes."""
    text = ""
    for path in glob.glob(os.path.join(folder, "gc.*")):
        with open(path) as file:
            text += file.read()
    return (len(re.findall(r"Pause Full|\] GC\(\d+\) Full Collection .* found", text)),
            len(re.findall(r"\[gc,fault", text)))


def wait_ready(client, processes):
    end = time.monotonic() + READY_S
    while time.monotonic() < end and processes.popen.poll() is None:
        try:
            if client.ask(1):
                return
        except Exception:
            time.sleep(0.2)
    processes.stop()
    sys.exit(f"run.py: the server does not answer\n{processes.text()}")


def window(samples, begin, end):
    """Median of a part of the run."""
    return statistics.median(samples[int(len(samples) * begin):max(int(len(samples) * end), 1)])


def serve(kind, side, arguments):
    with tempfile.TemporaryDirectory(prefix="zgc-servers-") as folder:
        scenario = kind(folder)
        processes = Processes(started(scenario.command(), side, arguments.lib, folder),
                              environment(side, arguments.lib, folder, scenario.environment()), folder)
        client = scenario.client()
        wait_ready(client, processes)
        clients = [Load(scenario.client(), i) for i in range(CLIENTS)]
        for one in clients:
            one.start()
        samples, told = [], not scenario.reloads
        for passed in steps(arguments.seconds):
            samples.append(processes.rss())
            if not told and passed > arguments.seconds * 0.3:
                told = True
                processes.popen.send_signal(signal.SIGHUP)
        for one in clients:
            one.done.set()
        for one in clients:
            one.join(PATIENCE_S)
        hung = sum(one.is_alive() for one in clients)
        stuck = stuck_workers(scenario)
        took, status, left = processes.stop()
        scenario.close()
        collections, faults = logged(folder)
        faults += processes.text().count(CRASH)
        row = {"name": kind.name, "side": side, "answers": sum(c.answers for c in clients),
               "failed": sum(c.failed for c in clients) + hung,
               "again": sum(c.client.again for c in clients), "workers": len(processes.seen),
               "stuck": stuck,
               "middle": window(samples, 0.45, 0.65), "end": window(samples, 0.8, 1),
               "stop": took, "status": status, "left": left, "GC": collections, "faults": faults}
        if row["failed"] or stuck or left:
            print(f"{kind.name}, {side}: {[str(getattr(c, 'problem', '')) for c in clients]}\n"
                  f"{processes.text()[-3000:]}", file=sys.stderr)
        return row


def cluster(side, arguments):
    """dask.distributed: the client is part of it, and it ends by itself."""
    with tempfile.TemporaryDirectory(prefix="zgc-servers-") as folder:
        command = [sys.executable, os.path.join(HERE, "cluster.py"), str(arguments.seconds)]
        processes = Processes(started(command, side, arguments.lib, folder),
                              environment(side, arguments.lib, folder, {}), folder)
        samples = []
        while processes.popen.poll() is None:
            samples.append(processes.rss())
            time.sleep(0.25)
        took, status, left = processes.stop()
        collections, faults = logged(folder)
        faults += processes.text().count(CRASH)
        answer = next((json.loads(line) for line in processes.text().splitlines()
                       if line.startswith('{"answers"')), {"answers": 0, "wrong": 1})
        if answer["wrong"] or left:
            print(f"dask, {side}:\n{processes.text()[-3000:]}", file=sys.stderr)
        return {"name": "dask.distributed", "side": side, "answers": answer["answers"],
                "failed": answer["wrong"], "again": 0, "workers": len(processes.seen),
                "stuck": CLUSTER_WORKERS - answer.get("workers", 0),
                "middle": window(samples, 0.45, 0.65), "end": window(samples, 0.75, 0.9),
                "stop": took, "status": status, "left": left, "GC": collections, "faults": faults}


# -- the table ----------------------------------------------------------------------------------------------------

HEAD = (f"{'server':22}{'side':9}{'answers':>9}{'hours':>7}{'failed':>8}{'again':>7}{'workers':>9}{'stuck':>7}{'RSS':>14}"
        f"{'stop':>13}{'left':>6}{'GC':>6}{'faults':>8}")


def line(row):
    return (f"{row['name']:22}{row['side']:9}{row['answers']:9}{row['answers'] / (CLIENTS * 3600):7.1f}{row['failed']:8}"
            f"{row['again']:7}{row['workers']:9}{row['stuck']:7}"
            f"{row['middle']:7.0f}{row['end']:7.0f}{row['stop']:7.1f} s {str(row['status']):>4}"
            f"{row['left']:6}{row['GC']:6}{row['faults']:8}")


def problems(stock, ours):
    if ours["failed"] > stock["failed"]:
        yield f"{ours['failed']} requests failed, with stock {stock['failed']}"
    if ours["status"] != stock["status"]:
        yield f"it ended with {ours['status']}, stock with {stock['status']}"
    if ours["stuck"]:
        yield f"{ours['stuck']} workers answered nothing at the end"
    if ours["left"]:
        yield f"{ours['left']} processes were left"
    if ours["faults"]:
        yield f"{ours['faults']} failures or crashes were logged"
    growth = max(stock["end"] / stock["middle"], 1)
    if ours["end"] > ours["middle"] * growth * GROWTH + FLOOR_MB:
        yield f"it grew from {ours['middle']:.0f} to {ours['end']:.0f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of load, each side of each server")
    parser.add_argument("--only", action="append", choices=[*SERVERS, "dask"])
    parser.add_argument("--lib", default=os.environ.get("ZGC_LIB") or
                        os.path.join(ROOT, "build", "libzgcpreload.so"))
    arguments = parser.parse_args()
    print(HEAD, flush=True)
    bad = []
    for name in arguments.only or [*SERVERS, "dask"]:
        rows = []
        for side in ("stock", "preload"):
            rows.append(cluster(side, arguments) if name == "dask" else
                        serve(SERVERS[name], side, arguments))
            print(line(rows[-1]), flush=True)
        bad += [f"{name}: {text}" for text in problems(*rows)]
    for text in bad:
        print(f"PROBLEM {text}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
