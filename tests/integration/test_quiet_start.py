"""The library gets to work wherever the program happens to be, and nobody notices: the proofs of the
walkers depend on no frame, name, hook or stack of the program's, and show in none."""

import sys
import unittest

from zgctest import main, requires_lib, run

GROW = """
    import gc, sys
    keep = []
    def grow(count=100_000):
        for i in range(count):
            keep.append([i])
    def proven():
        import zgc
        stats = zgc.stats()
        assert stats["types_registered"] > 3, stats
        assert stats["types_deferred"] * 2 < stats["types_registered"], stats
"""


def grown(code, **how):
    return run(GROW + code, preload=True, options={"STRESS": 0, "VERIFY": 0}, **how)


@requires_lib
class AnyPlace(unittest.TestCase):
    """The walkers are proven all the same."""

    def test_a_frame_without_builtins(self):
        grown("""
    from collections import namedtuple
    Point = namedtuple("Point", "x y z")       # whose __new__ has empty builtins
    for i in range(100_000):
        keep.append(Point(i, i, i))
    proven()
        """)

    def test_restricted_exec(self):
        grown("""
    exec("for i in range(100_000): keep.append([i])",
         {"__builtins__": {"range": range}, "keep": keep})
    proven()
        """)

    def test_builtins_that_are_the_programs_own(self):
        grown("""
    import builtins
    called = []
    plain = setattr
    for name in ("setattr", "str", "range", "property", "classmethod", "__build_class__", "__import__"):
        original = getattr(builtins, name)
        def own(*args, name=name, original=original, **kw):
            called.append(name)
            return original(*args, **kw)
        plain(builtins, name, own)
    i = 0
    while i < 100_000:
        keep.append([i])
        i += 1
    assert not called, called
    proven()
        """)

    def test_modules_that_are_the_programs_own(self):
        grown("""
    class Trap:
        def __getattr__(self, name):
            raise AssertionError(name)
    saved = dict(sys.modules)
    for name in ("_collections", "_functools", "_weakref", "collections", "functools", "weakref", "gc",
                 "builtins", "sys", "importlib", "_frozen_importlib"):
        sys.modules[name] = Trap()
    class Finder:
        def find_spec(self, name, path=None, target=None):
            raise AssertionError(name)
    sys.meta_path.insert(0, Finder())
    grow()
    sys.meta_path.pop(0)
    sys.modules.update(saved)
    proven()
        """)

    def test_near_the_recursion_limit(self):
        for left in (0, 1, 2, 4, 8):
            with self.subTest(frames_left=left):
                result = grown(f"""
    def dive():
        global keep
        try:
            left = dive()
        except RecursionError:
            left = 0
        if left == {left}:
            i = 0
            while i < 100_000:
                keep += [[i]]
                i += 1
        return left + 1
    dive()
    grow(20_000)
    proven()
                """)
                self.assertEqual(result.err, "")

    def test_a_thread_with_a_small_stack(self):
        grown("""
    import threading
    threading.stack_size(53248 if sys.version_info >= (3, 14) else 32768)
    thread = threading.Thread(target=grow)
    thread.start()
    thread.join()
    assert len(keep) == 100_000
    grow(20_000)
    proven()
        """)

    def test_a_metaclass_and_hooks_of_object(self):
        grown("""
    class Meta(type):
        def __call__(cls, *args):
            raise AssertionError
    class Base(metaclass=Meta):
        def __init_subclass__(cls):
            raise AssertionError
    subclasses = object.__subclasses__()
    grow()
    assert [c.__name__ for c in object.__subclasses__()] == [c.__name__ for c in subclasses]
    proven()
        """)

    def test_types_of_modules_that_are_met_late(self):
        # Each is proven when the first of its instances is met, subclasses before their bases.
        grown("""
    grow()
    import collections, functools, types, weakref, zgc
    class Thing: pass
    class Deque(collections.deque): pass
    class Partial(functools.partial): pass
    class Default(collections.defaultdict): pass
    class Ordered(collections.OrderedDict): pass
    before = zgc.stats()["types_deferred"]
    def closure():
        thing = Thing()
        return lambda: thing
    for i in range(2_000):
        keep.extend([Deque([Thing()]), Partial(closure(), Thing()), Default(list, {Thing(): Thing()}),
                     Ordered({Thing(): Thing()}), collections.deque([Thing()]), weakref.ref(Thing),
                     types.SimpleNamespace(a=Thing()), property(closure()), classmethod(closure()),
                     staticmethod(closure()), Thing().__init__, {Thing()}, frozenset([Thing()])])
    grow()
    zgc.collect()
    assert zgc.stats()["types_deferred"] <= before + 1, zgc.stats()
    del keep[:]
    assert zgc.verify() > 0
        """)


NOTICED = """
    def check(what):
        assert not what, what
        proven()
"""


@requires_lib
class Unnoticed(unittest.TestCase):
    def test_by_audit_hooks(self):
        grown(NOTICED + """
    events = []
    def hook(event, arguments):
        if not quiet:
            events.append(event)
    quiet = True
    sys.addaudithook(hook)
    i = 0
    quiet = False
    while i < 100_000:
        keep.append([i])
        i += 1
    quiet = True
    check(events)
        """)

    def test_by_an_audit_hook_that_refuses(self):
        grown(NOTICED + """
    def hook(event, arguments):
        if armed and event != "gc.get_objects":
            raise RuntimeError(event)
    armed = False
    sys.addaudithook(hook)
    armed = True
    grow()
    armed = False
    check(None)
        """)

    def test_by_tracers_and_monitors(self):
        grown(NOTICED + """
    seen = []
    def see(frame, event, argument):
        if frame.f_code not in expected:
            seen.append((event, frame.f_code))
        return see
    expected = {grow.__code__, sys._getframe().f_code}
    sys.settrace(see)
    sys.setprofile(see)
    grow()
    sys.settrace(None)
    sys.setprofile(None)
    check(seen)
        """)

    def test_by_signal_handlers(self):
        # Each exception of the handler arrives where the program is, none in the midst of our work.
        grown(NOTICED + """
    import signal
    raised = caught = 0
    armed = False
    class Alarm(Exception): pass
    def handler(number, frame):
        global raised, armed
        if armed:
            armed = False
            raised += 1
            raise Alarm
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    i = 0
    lost = []
    def part():
        global i, armed
        armed = True
        while i < 150_000:
            i += 1
            keep.append({"a": [i]})
            if not armed:
                lost.append(i)
                break
        armed = False
    while i < 150_000:
        try:
            part()
        except Alarm:
            caught += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    check(lost)
        """)

    def test_by_watchers(self):
        if sys.version_info < (3, 13):
            self.skipTest("watchers are shown to Python from 3.13 on")
        result = grown(NOTICED + """
    try:
        import _testcapi as capi
    except ImportError:
        print("none")
        sys.exit()
    functions = []
    code = capi.add_code_watcher(0)
    made = capi.get_code_watcher_num_created_events(0)
    function = capi.add_func_watcher(lambda *a: functions.append(a[0]))
    grow()
    check([capi.get_code_watcher_num_created_events(0) - made,
           capi.get_code_watcher_num_destroyed_events(0), len(functions)] != [0, 0, 0])
        """)
        if result.out == "none\n":
            self.skipTest("no _testcapi")

    def test_by_who_looks_at_all_objects(self):
        grown(NOTICED + """
    def kinds():
        return {(type(o).__name__, getattr(o, "__name__", None)) for o in gc.get_objects()
                if isinstance(o, type)}
    before = kinds()
    grow()
    check(kinds() - before)
        """)

    def test_a_collection_of_the_programs_counts_its_own_only(self):
        grown("""
    for i in range(200):
        gc.collect()
        grow(500)
        assert gc.collect() == 0
    grow()
    assert gc.collect() == 0
    ring = []
    ring.append(ring)
    del ring
    assert gc.collect() == 1
    proven()
        """)


if __name__ == "__main__":
    main()
