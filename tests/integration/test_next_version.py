"""A version of CPython that is not known yet: passive with the reason, and stock otherwise."""

import json
import unittest

from zgctest import LIB, helper, main, requires_active, run

HELPER = helper("next_version")

PROGRAM = """
    import gc, sys, weakref
    class Node: pass
    alive = []
    for i in range(30000):
        node = Node()
        node.me = node
        alive.append(weakref.ref(node))
    del node
    gc.collect()
    print(sum(ref() is not None for ref in alive), gc.get_threshold(), len(gc.garbage))
"""


@requires_active
@unittest.skipUnless(HELPER, "needs the library's build folder")
class NextVersion(unittest.TestCase):

    def run_there(self, code, *argv):
        return run(code, *argv, preload=False, env={"LD_PRELOAD": f"{HELPER} {LIB}"})

    def setUp(self):
        seen = json.loads(self.run_there("import json, zgc; print(json.dumps(zgc.status()))").out)
        if "3.16" not in seen["interpreter"]:
            self.skipTest("a static build asks itself")
        self.status = seen

    def test_status_says_passive_and_why(self):
        self.assertFalse(self.status["active"])
        self.assertRegex(self.status["reason"], r"CPython 3\.16\.0a1 .* is not one of those served")
        self.assertEqual((self.status["collector"], self.status["binding"]), ("stock", "none"))

    def test_a_program_runs_as_on_stock(self):
        there, stock = self.run_there(PROGRAM), run(PROGRAM, preload=False)
        self.assertEqual((there.out, there.err), (stock.out, stock.err))

    def test_what_collects_says_why_it_does_not(self):
        said = self.run_there("""
            import zgc
            for name in "collect", "census", "verify":
                try:
                    print(name, getattr(zgc, name)())
                except RuntimeError as e:
                    print(name, "3.16" in str(e))
        """)
        self.assertEqual(said.out, "collect True\ncensus True\nverify True\n")


if __name__ == "__main__":
    main()
