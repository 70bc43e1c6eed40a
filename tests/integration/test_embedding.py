"""A C program that initialises and finalises the interpreter several times, with objects that outlive
each one."""

import os
import sys
import sysconfig
import unittest

from zgctest import ACTIVE, LIB, main, run_command

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EMBED = os.path.join(os.path.dirname(LIB) if LIB else os.path.join(ROOT, "build"), "tests", "embed")


def find_libpython():
    name = sysconfig.get_config_var("INSTSONAME") or ""
    folders = [sysconfig.get_config_var("LIBDIR") or "",
               os.path.join("/usr/lib", sysconfig.get_config_var("MULTIARCH") or "")]
    if not name.startswith("libpython") or ".so" not in name:
        name = f"libpython{sysconfig.get_config_var('LDVERSION')}.so.1.0"
    return next((p for p in (os.path.join(f, name) for f in folders) if os.path.exists(p)), None)


LIBPYTHON = find_libpython()
CODE = """
import gc, sys, weakref
try:
    import zgc
except ImportError:
    zgc = None
if zgc: assert zgc.status()["active"], zgc.status()
class Node:
    def __init__(self, **k): self.__dict__.update(k)
keep = [Node(me=None, at=i, rest=[{i: (i, str(i))}]) for i in range(2000)]
for node in keep: node.me = node; node.all = keep
gone = []
for i in range(2000):
    a = Node(); a.b = Node(a=a); a.c = [a, {"a": a}]
    gone.append(weakref.ref(a))
del a
zgc.collect() if zgc else gc.collect()
assert not [r for r in gone if r() is not None]
gc.collect()
classes = [type(f"C{i}", (), {"__slots__": ("x",) * (i % 2) + ("y",)}) for i in range(50)]
ends = [c() for c in classes]
for e in ends: e.y = e
del e, classes, ends, gone
if zgc: assert zgc.verify() > 2000
left = [Node() for i in range(100)]
for node in left: node.me = node
"""


@unittest.skipUnless(os.path.exists(EMBED), "needs build/tests/embed")
@unittest.skipUnless(LIBPYTHON, "no shared libpython of this interpreter")
class Embedding(unittest.TestCase):
    def embed(self, rounds, code, **how):
        preload = f"{LIB} {LIBPYTHON}" if ACTIVE else LIBPYTHON
        env = {"LD_PRELOAD": preload, **how.pop("env", {})}
        result = run_command([EMBED, str(rounds), code], env=env, **how)
        self.assertEqual(result.out, "end\n", result.describe())
        return result

    def test_once(self):
        self.embed(1, CODE)

    def test_many_times(self):
        self.embed(8, CODE)

    def test_small_programs_in_between(self):
        self.embed(20, "keep = [[]]; keep[0].append(keep)")

    @unittest.skipIf(sys.version_info[:2] == (3, 12), "stock 3.12.1 forgets where they lie")
    def test_objects_that_die_in_a_later_life(self):
        self.embed(4, CODE + """
later = [str(i) * 9 for i in range(3000)], bytes(range(256)) * 9, 1.5, bytes(5_000_000)
""")

    @unittest.skipUnless(ACTIVE, "asks zgc")
    def test_each_life_is_bound_as_the_first(self):
        self.embed(4, """
import os, zgc
binding = zgc.status()["binding"]
assert os.environ.setdefault("EMBED_BINDING", binding) == binding, zgc.status()
keep = []
""")

    def test_dev_mode_in_the_first_life_alone(self):
        self.embed(4, 'import os; os.environ.pop("PYTHONDEVMODE", None)' + CODE,
                   env={"PYTHONDEVMODE": "1"})

    @unittest.skipIf(sys.version_info < (3, 12), "stock: the hooks find blocks of the first life")
    def test_dev_mode_from_the_second_life_on(self):
        self.embed(4, 'import os; os.environ["PYTHONDEVMODE"] = "1"' + CODE)

    def test_collections_under_way_at_the_end(self):
        self.embed(6, CODE + "if zgc: zgc.collect(wait=False)\n")

    def test_threads_and_stress(self):
        self.embed(4, CODE + """
import threading
def work(): [[[]] for _ in range(20000)]
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
""", options={"STRESS": 1} if ACTIVE else None)

    def test_dev_mode(self):
        self.embed(3, CODE, env={"PYTHONDEVMODE": "1"})


if __name__ == "__main__":
    main()
