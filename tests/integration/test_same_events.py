"""What a program tells its hooks is what it tells them without the library: for programs of every kind, the
sequence of audit events (from before initialisation), of functions and code objects made, of signals and of
exceptions, output and exit status are stock's."""

import difflib
import os
import re
import tempfile
import textwrap
import unittest

import zgctest
from zgctest import helper, main, requires_lib, run

# Long enough for the library to take part, wherever the program is.
GROW = """
import sys
keep = []
def grow(count=60_000):
    for i in range(count):
        keep.append([i])
"""

PROGRAMS = {
    "nothing": "",
    "growing": "grow()",
    "collecting": """
grow()
import gc
ring = []
ring.append(ring)
del ring
print(gc.collect(), gc.get_threshold(), gc.callbacks, gc.isenabled(), gc.get_debug(), gc.garbage)
""",
    "modules": """
print("gc" in sys.modules, "atexit" in sys.modules)
grow()
import gc, importlib
print(gc.get_threshold())
del sys.modules["gc"]
import gc as other
print(other is gc, other.callbacks is gc.callbacks, other.garbage is gc.garbage, other.get_threshold())
other.callbacks.append(len)
print(gc.callbacks)
other.callbacks.clear()
importlib.reload(other)
print(other.callbacks is gc.callbacks, other.get_threshold())
other.set_threshold(1234, 12, 13)
print(gc.get_threshold(), other.collect.__self__ is other, gc.collect.__self__ is gc)
ring = []
ring.append(ring)
del ring
print(other.collect())
other.freeze()
print(gc.get_freeze_count() > 60_000)
gc.unfreeze()
print(gc.get_freeze_count())
""",
    "named tuples": """
from collections import namedtuple
Point = namedtuple("Point", "x y")
for i in range(60_000):
    keep.append(Point(i, i))
""",
    "classes": """
class Meta(type):
    def __new__(cls, name, bases, members):
        print("new", name)
        return super().__new__(cls, name, bases, members)
class Base(metaclass=Meta):
    def __init_subclass__(cls):
        print("subclass", cls.__name__)
for i in range(60_000):
    keep.append([i])
    if i % 10_000 == 0:
        type(Base)(f"Class{i}", (Base,), {})
        def function(a=i): return lambda: a
        keep.append(function())
""",
    "generators": """
def numbers():
    for i in range(60_000):
        keep.append([i])
        yield i
print(sum(numbers()))
async def wait(n):
    keep.append([n])
    return n
async def all_of_them():
    return sum([await wait(i) for i in range(60_000)])
coroutine = all_of_them()
try:
    coroutine.send(None)
except StopIteration as end:
    print(end.value)
""",
    "threads": """
import threading
threading.stack_size(65536)
for _ in range(3):
    thread = threading.Thread(target=grow)
    thread.start()
    thread.join()
print(len(keep))
""",
    "signals": """
import os, signal
got = []
class Signalled(Exception): pass
def handler(number, frame):
    got.append(number)
    raise Signalled
signal.signal(signal.SIGUSR1, handler)
for i in range(60_000):
    keep.append([i])
    if i % 100 == 0:
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            keep.append([i])
            print("late", i)
        except Signalled:
            pass
print(len(got))
""",
    "recursion": """
def dive(depth):
    keep.append([depth])
    try:
        return dive(depth + 1)
    except RecursionError as error:
        keep.extend([[i] for i in range(1000)])
        return depth, str(error), error.__context__, error.__cause__
for _ in range(60):
    found = dive(0)
print(found)
def through_c(depth):
    keep.append([depth])
    return max([depth], key=lambda _: through_c(depth + 1))
for _ in range(60):
    try:
        through_c(0)
    except RecursionError as error:
        keep.extend([[i] for i in range(1000)])
        print(error)
""",
    "exceptions": """
def fail(i):
    try:
        try:
            raise KeyError(i)
        finally:
            keep.append([i for i in range(5)])
    except KeyError as error:
        keep.append([error])
        raise ValueError(i) from error
for i in range(20_000):
    try:
        fail(i)
    except ValueError as error:
        keep.append([error.__cause__.args, error.__context__.args, sys.exc_info()[1] is error])
print(all(k[2] for k in keep if len(k) == 3))
class Wrong:
    def __del__(self):
        raise OSError("del")
for i in range(60_000):
    keep.append([i])
    if i % 20_000 == 0:
        Wrong()
""",
    "restricted": """
names = {"__builtins__": {"range": range}, "keep": keep}
exec("for i in range(60_000): keep.append([i])", names)
print(sorted(names))
""",
    "hooks": """
import builtins
events = []
sys.addaudithook(lambda event, arguments: events.append(event))
plain = builtins.__import__
def own(name, *rest, **more):
    print("import", name)
    return plain(name, *rest, **more)
builtins.__import__ = own
class Finder:
    def find_spec(self, name, path=None, target=None):
        print("find", name)
sys.meta_path.insert(0, Finder())
grow()
import colorsys
builtins.__import__ = plain
print(events)
""",
    "tracing": """
events = []
def trace(frame, event, argument):
    events.append((event, frame.f_lineno))
    return trace
sys.settrace(trace)
grow(30_000)
sys.settrace(None)
calls = []
sys.setprofile(lambda frame, event, argument: calls.append(event))
grow(30_000)
sys.setprofile(None)
print(len(events), len(calls))
""",
    "fork": """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)     # of 3.12 and later: our thread is one, too
grow()
child = os.fork()
if child == 0:
    grow()
    os._exit(len(keep) % 100)
print(os.waitpid(child, 0)[1])
""",
    "exit": """
import atexit, weakref
class Thing: pass
thing = Thing()
weakref.finalize(thing, print, "finalized")
atexit.register(print, "bye")
atexit.register(grow)
grow()
sys.exit(3)
""",
    "weak references": """
import weakref
class Thing: pass
seen = []
for i in range(60_000):
    thing = Thing()
    keep.append(weakref.ref(thing, seen.append))
    del thing
print(len(seen))
""",
    "interpreters": """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
grow()
code = '''
import gc
print(gc.get_threshold(), gc.callbacks, gc.get_freeze_count())
keep = [[i] for i in range(60_000)]
ring = []
ring.append(ring)
del ring
print(gc.collect(), flush=True)
'''
one = interpreters.create()
print(interpreters.run_string(one, code))
interpreters.destroy(one)
grow()
""",
}


@requires_lib
@unittest.skipUnless(helper("event_log"), "its helper was not built")
class SameEvents(unittest.TestCase):
    maxDiff = None

    def outcome(self, code, preload):
        with tempfile.TemporaryDirectory(prefix="zgctest-") as folder:
            log = os.path.join(folder, "events")
            preloaded = f"{helper('event_log')}:{zgctest.LIB}" if preload else helper("event_log")
            result = run(GROW + textwrap.dedent(code), preload=False, status=None, flags=(),
                         env={"EVENT_LOG": log, "LD_PRELOAD": preloaded, "PYTHONHASHSEED": "0",
                              "PYTHONDONTWRITEBYTECODE": "1"})
            with open(log, errors="replace") as f:
                events = f.read()
        text = f"status {result.status}\n{result.out}\n{result.err}\n{events}"
        return re.sub(r"0x[0-9a-f]+", "ADDRESS", text)

    def compare(self, code):
        stock, ours = self.outcome(code, False), self.outcome(code, True)
        if stock != ours:
            changes = list(difflib.unified_diff(stock.splitlines(), ours.splitlines(), "stock", "preloaded",
                                                lineterm="", n=1))
            self.fail("\n".join(changes[:60]))
        self.assertIn("audit cpython.run_command", stock)


def case(code):
    return lambda self: self.compare(code)


for title, program in PROGRAMS.items():
    setattr(SameEvents, "test_" + title.replace(" ", "_"), case(program))


if __name__ == "__main__":
    main()
