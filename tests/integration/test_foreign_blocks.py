"""Blocks that are not of the heap, freed and resized as if they were: CPython takes them, for its larger blocks are
malloc's, and extensions have come to rely on it."""

import unittest

import zgctest

PROGRAM = """
import ctypes
libc, api = ctypes.CDLL(None), ctypes.pythonapi
address, size = ctypes.c_void_p, ctypes.c_size_t
makers = libc.malloc, api.PyMem_RawMalloc
freers = api.PyMem_Free, api.PyObject_Free
resizers = api.PyMem_Realloc, api.PyObject_Realloc
for f in makers: f.restype, f.argtypes = address, [size]
for f in freers: f.restype, f.argtypes = None, [address]
for f in resizers: f.restype, f.argtypes = address, [address, size]
libc.free.restype, libc.free.argtypes = None, [address]

def filled(block, n):
    ctypes.memset(block, 0x5a, n)
    return block

held = []
for n in (1, 100, 512, 513, 5000, 70000, 3000000):
    for make in makers:
        for free in freers:
            for i in range(20):
                free(filled(make(n), n))
        for resize, free in zip(resizers, freers):
            for more in (n // 2 + 1, n, n * 3):
                block = resize(filled(make(n), n), more)
                assert ctypes.string_at(block, min(n, more)) == b"\\x5a" * min(n, more)
                free(block)
    held.append(filled(libc.malloc(n), n))
    held.append([[] for i in range(300)])
for block in held[::2]:
    api.PyObject_Free(block)
import gc
gc.collect()
print("taken")
"""


@zgctest.requires_lib
class ForeignBlocks(unittest.TestCase):

    def test_stock_takes_them(self):
        self.assertEqual(zgctest.run(PROGRAM, preload=False).out, "taken\n")

    def test_they_are_taken(self):
        self.assertEqual(zgctest.run(PROGRAM).out, "taken\n")


@zgctest.requires_active
class Shortage(unittest.TestCase):

    def test_where_the_heap_is_exhausted(self):
        """What the heap cannot give is malloc's, like the strangers."""
        result = zgctest.run(PROGRAM + """
import zgc
objects = [(i, [i], "x%d" % i) for i in range(40000)]
print(zgc.stats()["fallback_blocks"] > 0, all(a == (i, [i], "x%d" % i) for i, a in enumerate(objects)))
""", options={"FAULT": "commit=3+"})
        self.assertEqual(result.out, "taken\nTrue True\n")


if __name__ == "__main__":
    zgctest.main()
