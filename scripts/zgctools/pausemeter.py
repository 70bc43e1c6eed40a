"""Times every collection inside a measured program, through gc.callbacks.

Loaded by inject/sitecustomize.py into any Python program, with and without the preload alike, so
it stands alone and stays small. The counts live in a shared mapping of a file: they survive
os._exit and SIGKILL, take the same few pages however long the program runs, and each forked child
gets a file of its own.

File: 8-byte words, native order. 0 magic, 1 pid, 2 count, 3 total ns, 4 longest ns, 5..7 unused,
then the buckets of histogram.py.
"""

import atexit
import gc
import mmap
import os
import sys
import time

MAGIC = 0x315554454d43475a          # "ZGCMETU1"
WORDS = 8
SIZE = (WORDS + (64 << 5)) * 8
DIRECTORY = 'ZGC_METER_DIR'

_state = {}


def open_cells(directory):
    """A zeroed file of this process (or of this sub-interpreter), mapped as words."""
    number = 0
    while True:
        path = os.path.join(directory, '%d-%d.pauses' % (os.getpid(), number))
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            break
        except FileExistsError:
            number += 1
    try:
        os.ftruncate(fd, SIZE)
        cells = memoryview(mmap.mmap(fd, SIZE)).cast('Q')
    finally:
        os.close(fd)
    cells[1] = os.getpid()
    cells[0] = MAGIC
    return path, cells


def make_callback(cells, now=time.perf_counter_ns):
    began = 0

    def on_collection(phase, info):
        nonlocal began
        if phase == 'start':
            began = now()
            return
        if not began:
            return
        ns = now() - began
        began = 0
        shift = ns.bit_length() - 6
        if shift < 0:
            shift = 0
        cells[8 + (shift << 5) + (ns >> shift)] += 1
        cells[2] += 1
        cells[3] += ns
        if ns > cells[4]:
            cells[4] = ns

    return on_collection


def own_cost(rounds=500):
    """Nanoseconds that one start/stop pair of the callback takes here."""
    scratch = make_callback(memoryview(bytearray(SIZE)).cast('Q'))
    began = time.perf_counter_ns()
    for _ in range(rounds):
        info = {'generation': 0, 'collected': 0, 'uncollectable': 0}
        scratch('start', info)
        scratch('stop', info)
    return (time.perf_counter_ns() - began) / rounds


def write_summary():
    """Last words of the process: what the meter cost, and what zgc says of itself."""
    if gc.callbacks and _state['callback'] in gc.callbacks:
        gc.callbacks.remove(_state['callback'])
    said = {'callback_ns': own_cost()}
    # Not just an import: the program may have a folder called zgc in its path.
    if 'zgc' in sys.builtin_module_names:
        import zgc
        said['status'] = zgc.status()
        said['stats'] = zgc.stats()
    with open(_state['path'][:-len('pauses')] + 'summary', 'w', encoding='utf-8') as out:
        out.write(repr(said))


def begin(directory):
    path, cells = open_cells(directory)
    callback = make_callback(cells)
    if 'callback' in _state and _state['callback'] in gc.callbacks:
        gc.callbacks[gc.callbacks.index(_state['callback'])] = callback
    else:
        gc.callbacks.append(callback)
    _state.update(path=path, callback=callback)


def start():
    directory = os.environ.get(DIRECTORY)
    if not directory or not os.path.isdir(directory):
        return
    begin(directory)
    atexit.register(write_summary)
    os.register_at_fork(after_in_child=lambda: begin(directory))
