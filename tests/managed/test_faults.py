"""Shortage of memory, failing threads and commits: nothing is lost, and the program goes on."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import zgctest                                                          # noqa: E402

NODE = """
import gc, threading, zgc
class Node(zgc.Object):
    next: "Node"
    key: zgc.i64
    tag: object
def check(head, n):
    while head is not None:
        assert head.key == n and head.tag == (n if n % 5 else str(n)), (n, head)
        head, n = head.next, n - 1
    assert n == -1, n
def build(n):
    head = None
    for i in range(n):
        head = Node(head, i, i if i % 5 else str(i))
    return head
"""

CHURN = NODE + """
head = build(30000)
for i in range(4):
    garbage = build(5000)
    zgc.collect("young")
    check(head, 29999)
zgc.collect("full")
check(head, 29999)
del head, garbage
zgc.collect("full")
print("done", zgc.stats()["managed"]["python_references"])
"""


class Faults(unittest.TestCase):

    def run_churn(self, **options):
        result = zgctest.run(CHURN, preload=True, options={"VERIFY": 1, **options})
        self.assertEqual(result.out.strip(), "done 0", result.describe())
        return result

    def test_no_thread_at_all(self):
        self.run_churn(FAULT="thread=1+")

    def test_first_threads_fail(self):
        self.run_churn(FAULT="thread=2-4")

    def test_each_commit_fails_once(self):
        for n in range(1, 8):
            with self.subTest(n=n):
                zgctest.run(CHURN, preload=True, status=None, options={"FAULT": f"commit={n}"})

    def test_moving_in_place(self):
        result = zgctest.run(CHURN.replace("python_references", "in_place_pages"), preload=True,
                             options={"VERIFY": 1, "FAULT": "move=1+"})
        self.assertGreater(int(result.out.split()[1]), 0)

    def test_some_copies_fail(self):
        self.run_churn(FAULT="move=2-3")

    def test_tables_fail(self):
        for n in range(20, 60, 3):
            with self.subTest(n=n):
                result = zgctest.run(CHURN, preload=True, status=None,
                                     options={"FAULT": f"table={n}-{n + 2}"})
                self.assertIn(result.status, (0, 1), result.describe())
                if result.status == 1:
                    self.assertRegex(result.err, "MemoryError|RuntimeError")

    def test_several_collector_threads(self):
        self.run_churn(MANAGED_THREADS=3)

    def test_stress(self):
        self.run_churn(STRESS=1)

    def test_out_of_memory(self):
        code = NODE + """
head, n = None, 0
try:
    while True:
        head = Node(head, n, n if n % 5 else str(n))
        n += 1
except MemoryError:
    pass
assert n > 100000, n
check(head, n - 1)
stats = zgc.stats()["managed"]
assert stats["allocation_stalls"] >= 1, stats
head = None
head = build(100000)
check(head, 99999)
print("served", n)
"""
        result = zgctest.run(code, preload=True, options={"MANAGED_MAX": "16M"})
        self.assertIn("served", result.out)
        stalls = [line for line in zgctest.parse_log(result.log) if "Allocation Stall" in line.text
                  and "<string>" in line.text]
        self.assertTrue(stalls, result.log[-2000:])

    def test_limit_with_garbage_only_stalls(self):
        code = NODE + """
for i in range(40):
    build(100000)
print("done", zgc.stats()["managed"]["allocation_stalls"])
"""
        result = zgctest.run(code, preload=True, options={"MANAGED_MAX": "24M"})
        self.assertIn("done", result.out)

    def test_array_larger_than_the_heap(self):
        code = """
import zgc
for n in (1 << 22, 1 << 40, 1 << 60):
    try:
        zgc.allocate(n)
    except MemoryError:
        pass
    else:
        raise AssertionError(n)
print(len(zgc.allocate(1000)))
"""
        result = zgctest.run(code, preload=True, options={"MANAGED_MAX": "16M"})
        self.assertEqual(result.out.strip(), "1000")

    def test_nothing_starts_before_use(self):
        code = """
import threading, os, zgc
tasks = set(os.listdir("/proc/self/task"))
assert "managed" not in zgc.stats()
class Node(zgc.Object):
    key: zgc.i64
Node()
assert "managed" in zgc.stats()
print(open("/proc/self/maps").read().count("zgc"))
"""
        zgctest.run(code, preload=True)

    def test_exit_during_a_collection(self):
        for code in ("import threading; threading.Thread(target=zgc.collect, args=('full',), daemon=True)"
                     ".start()", "import os; os._exit(0)", "raise SystemExit"):
            zgctest.run(NODE + "head = build(50000)\n" + code, preload=True)


if __name__ == "__main__":
    unittest.main()
