"""A build without a GIL: the library is passive there, says so, and changes nothing."""

import json
import os
import unittest

from zgctest import main, requires_lib, run

CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
PYTHON = os.path.join(CACHE, "zgcpreload/interpreters/freethreaded/bin/python3.13t")

# Every public name, called with no argument or one: what comes of it.
CALLS = """
    import json, sys, zgc
    outcome = {}
    for name in sorted(n for n in dir(zgc) if not n.startswith("_")) + ["Object", "List", "Dict", "i8"]:
        try:
            thing = getattr(zgc, name)
            try:
                thing()
            except TypeError:
                thing(3)
            outcome[name] = "works"
        except Exception as e:
            outcome[name] = type(e).__name__ + ": " + str(e)
    print(json.dumps(outcome))
"""


@requires_lib
@unittest.skipUnless(os.access(PYTHON, os.X_OK), f"needs {PYTHON} (scripts/zgc-interpreters build)")
class FreeThreaded(unittest.TestCase):
    def run_there(self, code, **how):
        return run(code, python=PYTHON, flags=("-X", "faulthandler", "-W", "error"), preload=True, **how)

    def test_status_says_passive_and_why(self):
        result = self.run_there("import json, zgc; print(json.dumps(zgc.status()))")
        status = json.loads(result.out)
        self.assertFalse(status["active"])
        self.assertIn("free-threaded build", status["reason"])
        self.assertEqual((status["collector"], status["binding"]), ("stock", "none"))
        self.assertEqual(result.err, "")

    def test_what_tells_works_and_the_rest_says_why_it_does_not(self):
        outcome = json.loads(self.run_there(CALLS).out)
        for name in ("status", "stats", "prometheus", "options"):
            self.assertEqual(outcome.pop(name), "works", name)
        outcome.pop("pause_histogram")          # of no pauses
        self.assertGreaterEqual(len(outcome), 12)
        for name, what in outcome.items():
            self.assertRegex(what, "^RuntimeError: .*free-threaded", name)

    def test_the_gil_stays_off(self):
        self.assertEqual(self.run_there("import zgc, sys; print(sys._is_gil_enabled())").out, "False\n")

    def test_threads_ask_and_import_again(self):
        result = self.run_there("""
            import gc, importlib, sys, threading
            def ask():
                for _ in range(200):
                    import zgc
                    zgc.status(); zgc.stats(); zgc.prometheus()
                    importlib.reload(zgc)
                    sys.modules.pop("zgc", None)
                    [[] for _ in range(100)]
            threads = [threading.Thread(target=ask) for _ in range(4)]
            for t in threads: t.start()
            for t in threads: t.join()
            gc.collect()
            print("end")
        """)
        self.assertEqual(result.out, "end\n")


if __name__ == "__main__":
    main()
