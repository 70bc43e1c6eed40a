"""What the dynamic loader is short of, the library does not take."""

import sys
import unittest

import zgctest

AUDITOR = zgctest.helper("audit")


@zgctest.requires_lib
@unittest.skipUnless(AUDITOR, "needs the test helpers of the build")
class Auditor(unittest.TestCase):
    """With LD_AUDIT the program has 1.6 KB of static TLS for everything that is loaded."""

    def test_python_starts(self):
        result = zgctest.run("import zgc; print(zgc.collect() >= 0)", env={"LD_AUDIT": AUDITOR})
        self.assertEqual((result.out, result.err), ("True\n", ""))

    def test_other_programs_start(self):
        result = zgctest.run_command(["/bin/ls", "-d", "/"], env={"LD_AUDIT": AUDITOR, "LD_PRELOAD": zgctest.LIB})
        self.assertEqual((result.out, result.err), ("/\n", ""))


if __name__ == "__main__":
    zgctest.main()
