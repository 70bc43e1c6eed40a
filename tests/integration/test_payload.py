"""Few objects that hold much memory: their garbage does not pile up, however many live objects stand beside it."""

import unittest

from zgctest import main, requires_active, run

# Requests are rings that live for `keep` others, beside a heap whose full collections take long. Shows the most
# bytes that the heap has handed out beyond the live heap and the requests that live, in those of one request.
PROGRAM = """
import collections, zgc

class Node:
    pass

def request(make):
    ring = [Node() for _ in range(20)]
    for i, node in enumerate(ring):
        node.next = ring[i - 1]
    node.buffer = make()
    return node

def excess(make, size, keep, requests, live):
    heap = [[i] for i in range(live)]
    base, most = zgc.stats()["heap_used"], 0
    living = collections.deque(maxlen=keep)
    for _ in range(requests):
        living.append(request(make))
        most = max(most, zgc.stats()["heap_used"])
    return (most - base) / size - keep
"""

BUFFERS = {
    "bytes": "lambda: bytes(100_000)",
    "bytearray": "lambda: bytearray(100_000)",
    "str": "lambda: 'x' * 100_000",
    "many middle ones": "lambda: [bytes(5_000) for _ in range(20)]",
}

# As an extension's array: malloc's memory, which the heap knows nothing of. Shows the most that were alive.
OUTSIDE = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
alive = most_alive = 0

class Array:
    def __init__(self):
        global alive, most_alive
        self.data = libc.malloc(100_000)
        alive += 1
        most_alive = max(most_alive, alive)
    def __del__(self, free=libc.free):
        global alive
        alive -= 1
        free(self.data)
"""

STOCK = 350  # requests that CPython's generations 0 and 1 hold, 700 times 11 objects in all


class Payload(unittest.TestCase):

    def excess(self, make, keep):
        program = PROGRAM + f"print(excess({make}, 100_000, {keep}, 2_500, 200_000))"
        return float(run(program, preload=True, options={"STRESS": 0}).out)

    @requires_active
    def test_no_more_garbage_than_cpython_lets_pile_up(self):
        for name, make in BUFFERS.items():
            with self.subTest(buffers=name):
                self.assertLess(self.excess(make, 30), STOCK)

    @requires_active
    def test_requests_that_live_longer(self):
        self.assertLess(self.excess(BUFFERS["bytes"], 300), 3 * STOCK)

    @requires_active
    def test_buffers_of_malloc(self):
        program = PROGRAM + OUTSIDE + "excess(Array, 1, 30, 4_000, 200_000)\nprint(most_alive - 30)"
        self.assertLess(int(run(program, preload=True, options={"STRESS": 0}).out), 2 * STOCK)

    @requires_active
    def test_requests_that_are_few(self):
        self.assertLess(self.excess(BUFFERS["bytes"], 3), STOCK)


if __name__ == "__main__":
    main()
