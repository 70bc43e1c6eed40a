"""Runs one workload in a process of its own, with or without the preload."""

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections import deque
from pathlib import Path

LIBRARY_NAME = "libzgcpreload.so"
ROOT = Path(__file__).resolve().parent.parent
WORKLOADS = Path(__file__).resolve().parent / "workloads"
DEFAULT_LIBRARY = ROOT / "build" / LIBRARY_NAME
STDERR_LINES = 20


class RunFailed(Exception):
    """The process crashed, hung, gave no result, or ran without the collector it was to measure."""

    def __init__(self, what, stderr_tail=()):
        super().__init__(what)
        self.what = what
        self.stderr_tail = list(stderr_tail)


def environment(library=None, options=None):
    """This process's environment with our library in LD_PRELOAD, or certainly without it."""
    env = dict(os.environ)
    preloads = [entry for entry in env.pop("LD_PRELOAD", "").replace(":", " ").split()
                if not entry.endswith("/" + LIBRARY_NAME)]
    if library:
        preloads.append(str(library))
    if preloads:
        env["LD_PRELOAD"] = ":".join(preloads)
    # The two sides of a pair must make the same objects in the same order.
    env["PYTHONHASHSEED"] = "0"
    env.update(options or {})
    return env


def busy_note():
    """A warning where other work disturbs the figures; "" on a quiet machine."""
    load, cpus = os.getloadavg()[0], os.cpu_count()
    if load < cpus / 2:
        return ""
    return f"note: this machine is busy (load {load:.1f} on {cpus} CPUs); times are not reliable"


def how_it_ended(returncode):
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"exit status {returncode}"


def run(python, workload, arguments=(), library=None, options=None, timeout=900, on_progress=None):
    """Run perf/workloads/<workload>.py and return its result, or raise RunFailed."""
    with tempfile.TemporaryDirectory(prefix="zgc-bench-") as folder:
        options = {name: value.format(folder=folder) for name, value in (options or {}).items()}
        output = Path(folder) / "result.json"
        command = [str(python), str(WORKLOADS / f"{workload}.py"), *arguments,
                   "--json", str(output), "--progress"]
        process = subprocess.Popen(command, env=environment(library, options),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True, errors="replace")
        tail = deque(maxlen=STDERR_LINES)
        reader = threading.Thread(target=follow, args=(process.stderr, tail, on_progress))
        reader.start()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"not done after {timeout} s, killed", tail) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            reader.join()
            process.stderr.close()
        if process.returncode != 0:
            raise RunFailed(how_it_ended(process.returncode), tail)
        if not output.exists():
            raise RunFailed("ended without a result", tail)
        result = json.loads(output.read_text())
    if library:
        require_active(result, tail)
    return result


def follow(stream, tail, on_progress):
    """Pass `progress:` lines on and keep the last of the others."""
    for line in stream:
        kind, _, text = line.rstrip("\n").partition("progress: ")
        if text and not kind:
            if on_progress:
                on_progress(text)
        else:
            tail.append(line.rstrip("\n"))


def require_active(result, tail):
    status = result["zgc_status"]
    if status is None:
        raise RunFailed("the library was not loaded: `import zgc` failed", tail)
    if not status["active"]:
        raise RunFailed(f"the library was passive: {status['reason']}", tail)
