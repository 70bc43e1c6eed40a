"""Objects that do not start where they are expected in their blocks: behind a header that somebody's
allocator puts before each block, in slabs, and in blocks that an extension keeps when the object dies."""

import unittest

import zgctest

HELPER = zgctest.helper("blocks")
RAW, MEM, OBJ = 1, 2, 4

# Cycles that die, blocks of every size that replace them, and a check that what is held stays as it is.
PROGRAM = """
import ctypes, gc, sys
blocks = ctypes.PyDLL(sys.argv[1])
blocks.wrap.argtypes = [ctypes.c_int, ctypes.c_size_t]
try:
    import zgc
except ImportError:
    zgc = None
class Node: pass
class Slots:
    __slots__ = ("a", "__weakref__")
def make(i):
    node, slots = Node(), Slots()
    node.me = node
    slots.a = [node, (slots, {"k": slots}), {slots}]
def churn(rounds):
    for i in range(rounds):
        for j in range(1000):
            make(j)
        kept[i * 7 % len(kept)] = [i, {"k": i}, (i, [i]), type("T", (), {"i": i})]
        buffers = [bytearray(48 + 16 * k % 3000) for k in range(300)]
        if i % 8 == 7:
            gc.collect()
def check():
    gc.collect()
    for k in kept:
        assert k[0] == k[1]["k"] == k[2][0] == k[2][1][0] == k[3].i, k
    if zgc:
        zgc.collect()
        zgc.verify()
kept = [[i, {"k": i}, (i, [i]), type("T", (), {"i": i})] for i in range(1000)]
more = [[i, (i, [i])] for i in range(30000)]
"""

LATE = PROGRAM + """
churn(8)
blocks.wrap(int(sys.argv[2]), int(sys.argv[3]))
churn(12)
check()
blocks.unwrap()
churn(12)
check()
del more
check()
print("done", len(gc.get_objects()) < 100000)
"""

EARLY = PROGRAM + """
churn(25)
check()
print("done")
"""

# `live` instances are kept all the time; the others are cycles: with themselves, or through a list.
SLABS = """
import ctypes, gc, sys
blocks = ctypes.PyDLL(sys.argv[1])
blocks.slab_type.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_bool]
blocks.slab_type.restype = ctypes.py_object
Node = blocks.slab_type(*map(int, sys.argv[2:6]))
more = [[i] for i in range(40000)]
live = [Node().set([i]) for i in range(5000)]
most = 0
for round in range(32):
    for i in range(1000):
        node = Node()
        node.set(node)
        Node().set([Node().set(node)])
        other = Node()
        other.set([other])
        if i % 20 == 0:
            live[(round * 50 + i) % len(live)] = Node().set([i])
    buffers = [b"x" * (1000 + 5 * i) for i in range(200)]
    more[round * 100:round * 100 + 100] = [[0] for i in range(100)]
    most = max(most, blocks.slab_live())
    if round % 16 == 15:
        del node, other
        gc.collect()
        assert blocks.slab_live() == len(live), blocks.slab_live()
try:
    import zgc
    zgc.collect()
    zgc.verify()
except ImportError:
    pass
del live[2500:]
gc.collect()
print("done", blocks.slab_live(), most)
"""

# Types share slabs, and die and are made again while instances of others live there; with "wrap", the slabs themselves
# get a header on the way.
TYPES = """
import ctypes, gc, sys
blocks = ctypes.PyDLL(sys.argv[1])
blocks.wrap.argtypes = [ctypes.c_int, ctypes.c_size_t]
blocks.slab_type.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_bool]
blocks.slab_type.restype = ctypes.py_object
shape = [int(a) for a in sys.argv[2:6]]
types = [blocks.slab_type(*shape) for i in range(3)]
live = [types[i % 3]().set([i]) for i in range(3000)]
for round in range(24):
    if sys.argv[6] == "wrap" and round == 8:
        blocks.wrap(4, 16)
    types[round % 3] = blocks.slab_type(*shape)
    for i in range(1000):
        one, two, three = types[0](), types[1](), types[2]()
        one.set([two.set([three.set(one)])])
        three = types[2]().set([i])
        if i % 10 == 0:
            live[(round * 100 + i) % len(live)] = three
    buffers = [b"x" * (1000 + 5 * i) for i in range(200)]
    if round % 8 == 7:
        del one, two, three
        gc.collect()
        assert blocks.slab_live() == len(live), blocks.slab_live()
try:
    import zgc
    zgc.collect()
    zgc.verify()
except ImportError:
    pass
del live[1500:], types[:]
gc.collect()
print("done", blocks.slab_live())
"""

# Nobody asks for a collection: what cannot be old must still be found.
AUTOMATIC = """
import ctypes, sys
blocks = ctypes.PyDLL(sys.argv[1])
blocks.slab_type.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_bool]
blocks.slab_type.restype = ctypes.py_object
Node = blocks.slab_type(100, 16, 48, False)
more = [[i] for i in range(30000)]
most = 0
recent = [None] * 3000       # they grow old before they die
for i in range(200000):
    node = Node()
    recent[i % len(recent)] = node.set([node])
    if i % 1000 == 0:
        most = max(most, blocks.slab_live())
print(most)
"""


@unittest.skipUnless(HELPER, "needs the test helpers of the build")
class Headers(unittest.TestCase):

    def late(self, domains, header, **how):
        self.assertIn("done True", zgctest.run(LATE, HELPER, domains, header, **how).out)

    def early(self, domains, header, first, **how):
        libraries = [HELPER, zgctest.LIB] if first else [zgctest.LIB, HELPER]
        env = {"LD_PRELOAD": ":".join(libraries), "ZGCTEST_WRAP": f"{domains} {header}"}
        self.assertIn("done", zgctest.run(EARLY, HELPER, env=env, **how).out)

    @zgctest.requires_active
    def test_set_by_a_library_preloaded_before_and_after_ours(self):
        for first in (True, False):
            for domains, header in (RAW | MEM | OBJ, 16), (OBJ, 48), (MEM, 32), (RAW, 16):
                with self.subTest(domains=domains, header=header, first=first):
                    self.early(domains, header, first)

    def test_set_late_and_taken_off_again(self):
        for domains, header in (RAW | MEM | OBJ, 16), (OBJ, 64), (MEM, 16), (RAW, 32):
            with self.subTest(domains=domains, header=header):
                self.late(domains, header)

    def test_header_that_is_no_multiple_of_an_objects_alignment(self):
        self.late(OBJ, 8)

    def test_under_the_debug_hooks(self):
        self.late(OBJ, 16, flags=("-X", "dev"))

    def test_with_tracemalloc_over_it(self):
        self.late(MEM | OBJ, 16, flags=("-X", "tracemalloc=2"))

    @zgctest.requires_active
    def test_with_a_profile_of_ours(self):
        self.late(OBJ, 16, options={"PROFILE": "/dev/null"})


@unittest.skipUnless(HELPER, "needs the test helpers of the build")
class Slabs(unittest.TestCase):

    def slabs(self, count, header, slot, pool=0):
        out = zgctest.run(SLABS, HELPER, count, header, slot, pool).out.split()
        self.assertEqual(out[:2], ["done", "2500"])

    def test_at_places_with_a_bit_of_their_own(self):
        self.slabs(100, 16, 48)

    def test_at_places_without(self):
        self.slabs(100, 24, 56)

    def test_small_slabs_among_other_blocks(self):
        self.slabs(4, 16, 48)

    def test_larger_than_a_page(self):
        self.slabs(5000, 32, 64)

    def test_a_pool_that_uses_the_blocks_of_the_dead_for_other_things(self):
        self.slabs(1, 0, 48, pool=1)
        self.slabs(1, 16, 48, pool=1)

    def test_a_pool_within_slabs(self):
        self.slabs(50, 16, 48, pool=1)

    def test_types_that_share_slabs_and_die(self):
        for how in "plain", "wrap":
            for count, header, slot in (100, 16, 48), (4, 24, 56), (1, 16, 48):
                with self.subTest(how, count=count):
                    out = zgctest.run(TYPES, HELPER, count, header, slot, 0, how).out
                    self.assertEqual(out, "done 1500\n")

    def test_cycles_are_found_without_being_asked_for(self):
        self.assertLess(int(zgctest.run(AUTOMATIC, HELPER).out), 120000)


if __name__ == "__main__":
    zgctest.main()
