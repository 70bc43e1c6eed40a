"""A libpython that the program loads itself, when the constructor has seen none."""

import os
import subprocess
import sys
import textwrap
import unittest

from test_embedding import CODE, EMBED, LIBPYTHON
from test_second_gil import INTERPRETERS
from zgctest import LIB, main, requires_active, run_command

STATUS = 'import zgc; s = zgc.status(); print(s["active"], s["reason"]); keep = []'


@requires_active
@unittest.skipUnless(os.path.exists(EMBED), "needs build/tests/embed")
@unittest.skipUnless(LIBPYTHON, "no shared libpython of this interpreter")
class LatePython(unittest.TestCase):

    def embed(self, code, rounds=1, how="GLOBAL", options=None, **env):
        env = {"LD_PRELOAD": LIB, f"EMBED_{how}": LIBPYTHON, **env}
        result = run_command([EMBED, str(rounds), code], env=env, options=options)
        self.assertTrue(result.out.endswith("end\n"), result.describe())
        return result

    def test_active(self):
        self.assertEqual(self.embed(STATUS).out, "True None\nend\n")

    def test_everything_at_work(self):
        self.embed("import zgc\n" + CODE, rounds=4)

    @unittest.skipIf(sys.version_info < (3, 12), "needs a GIL per interpreter (3.12)")
    def test_interpreters_with_a_gil_of_their_own(self):
        """Thread-local variables of such a libpython lie apart from ours, at another distance in each thread."""
        self.embed(textwrap.dedent(INTERPRETERS) + textwrap.dedent("""
            import threading
            keep = [threading.Thread(target=live) for _ in range(3)]
            for t in keep: t.start()
            for t in keep: t.join()
        """))

    def test_own_allocators_stay(self):
        result = self.embed(STATUS, EMBED_ALLOCATOR="1")
        self.assertRegex(result.out, "^False .*has set allocators of its own")

    def test_names_out_of_reach(self):
        result = self.embed(STATUS, how="LOCAL", options={"LOG": "stderr"})
        self.assertRegex(result.out, "^False .*without RTLD_GLOBAL")
        self.assertRegex(result.err, "passive: .*without RTLD_GLOBAL")

    def test_switched_off(self):
        self.assertEqual(self.embed(STATUS, options={"ENABLE": 0}).out, "False ZGC_ENABLE=0\nend\n")

    def test_dev_mode(self):
        self.assertEqual(self.embed(STATUS, PYTHONDEVMODE="1").out, "True None\nend\n")


@unittest.skipUnless(LIB, "needs the library")
class OtherPrograms(unittest.TestCase):
    def test_setlocale_is_libcs(self):
        counted = subprocess.run(["wc", "-m"], input="\u00e4\u00f6\u00fc".encode(), stdout=subprocess.PIPE,
                                 env={"LC_ALL": "C.UTF-8", "LD_PRELOAD": LIB, "PATH": os.environ["PATH"]}, check=True)
        self.assertEqual(int(counted.stdout), 3)


class AnotherAllocator(unittest.TestCase):
    @unittest.skipUnless(LIB, "needs the library")
    def test_is_named(self):
        result = run_command([sys.executable, "-c", STATUS], env={"LD_PRELOAD": LIB, "PYTHONMALLOC": "pymalloc"})
        self.assertRegex(result.out, "^False PYTHONMALLOC=pymalloc asks for another allocator")


if __name__ == "__main__":
    main()
