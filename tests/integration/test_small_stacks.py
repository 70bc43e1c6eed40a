"""A thread of C code with a stack of a few KB enters Python: where stock has room enough, the library has, too,
and garbage is collected there."""

import unittest

from zgctest import helper, main, requires_lib, run

# Threads of the size given run the function named.
PROGRAM = """
    import ctypes, gc, mmap, sys
    libc = ctypes.CDLL(None)
    start_t = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)

    def in_thread(size, function):
        stack = mmap.mmap(-1, 2 * size)
        address = ctypes.addressof(ctypes.c_char.from_buffer(stack))
        assert libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), 0) == 0      # a guard below
        attributes = ctypes.create_string_buffer(128)
        libc.pthread_attr_init(attributes)
        assert libc.pthread_attr_setstack(attributes, ctypes.c_void_p(address + size), ctypes.c_size_t(size)) == 0
        ended = []
        @start_t
        def start(argument):
            function()
            ended.append(True)
            return 0
        thread = ctypes.c_ulong()
        assert libc.pthread_create(ctypes.byref(thread), attributes, start, None) == 0
        libc.pthread_join(thread, None)
        assert ended

    keep = []
    class Thing:
        pass
    def grow():
        for i in range(60_000):
            keep.append([i])
    def rings(count=60_000):
        for i in range(count):
            thing = Thing()
            thing.me = thing
            keep.append([i])
    def collect():
        ring = []
        ring.append(ring)
        del ring
        assert gc.collect() == 1
    size = int(sys.argv[1]) << 10
"""


@requires_lib
class SmallStacks(unittest.TestCase):
    def check(self, code):
        for size in (16, 20, 32, 64):
            stock = run(PROGRAM + code, size, preload=False, status=None)
            if stock.status != 0:
                continue
            with self.subTest(size=size):
                run(PROGRAM + code, size, preload=True, options={"STRESS": 0, "VERIFY": 0})

    def test_growing_there(self):
        self.check("""
    in_thread(size, grow)
    in_thread(size, grow)
        """)

    def test_growing_elsewhere_before(self):
        self.check("""
    grow()
    in_thread(size, grow)
    in_thread(size, rings)
    in_thread(size, collect)
        """)

    def test_garbage_is_collected(self):
        self.check("""
    grow()
    def old_rings():
        for _ in range(8):
            some = [[] for _ in range(20_000)]
            for one in some:
                one.append(some)
            keep.append([None] * 10)
            grow()
            del one, some
    in_thread(size, old_rings)
    assert len(gc.get_objects()) < 900_000, len(gc.get_objects())
        """)


# Prints the size of the smallest alternate stack on which the function named runs in a signal handler.
LEAST = """
    import ctypes, gc, os, sys
    helper = ctypes.PyDLL(sys.argv[1])
    helper.run_on_alternate_stack.restype = ctypes.py_object
    helper.run_on_alternate_stack.argtypes = [ctypes.c_size_t, ctypes.c_void_p, ctypes.py_object]
    call = ctypes.cast(ctypes.pythonapi.PyObject_CallNoArgs, ctypes.c_void_p)
    class Thing:
        pass
    keep = []
    def grow(count):
        for i in range(count):
            keep.append([i])
    def rings():
        for i in range(5000):
            thing = Thing()
            thing.me = thing
            keep.append([i])
        return 7
    def collect():
        ring = []
        ring.append(ring)
        del ring
        gc.collect()
        return 7
    function = globals()[sys.argv[2]]
    grow(60_000)
    gc.collect()
    least = None
    for size in range(9 << 10, 2 << 10, -512):
        if os.fork() == 0:
            os._exit(helper.run_on_alternate_stack(size, call, function) != 7)
        if os.wait()[1] != 0:
            break
        least = size
    print(least)
"""


@requires_lib
@unittest.skipUnless(helper("altstack"), "needs the test helpers of the build")
class SignalStacks(unittest.TestCase):
    """A handler of C code runs Python on a stack of its own. The library finds out, and does nothing there."""

    def check(self, function):
        stock, ours = (int(run(LEAST, helper("altstack"), function, flags=("-W", "ignore"), preload=preload,
                               options={"STRESS": 0, "VERIFY": 0}).out) for preload in (False, True))
        self.assertLessEqual(ours, stock + 1536)

    def test_allocating_there(self):
        self.check("rings")

    def test_collecting_there(self):
        self.check("collect")


if __name__ == "__main__":
    main()
