"""What the dynamic loader is short of, the library does not take."""

import os
import shutil
import tempfile
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


@zgctest.requires_active
class Copies(unittest.TestCase):
    """Two copies of the library, say one that pip has installed and one of the image: the first one works."""

    def test_second_copy_sleeps(self):
        with tempfile.TemporaryDirectory(prefix="zgc-loader-") as folder:
            other = shutil.copy(zgctest.LIB, os.path.join(folder, "libother.so"))
            for first, second in ((zgctest.LIB, other), (other, zgctest.LIB)):
                with self.subTest(first=first):
                    result = zgctest.run("""
                        import gc, zgc
                        keep = [[i] for i in range(150_000)]
                        for i in range(1000):
                            ring = []
                            ring.append(ring)
                        del ring
                        found = gc.collect() + zgc.collect()
                        maps = {line.split()[-1] for line in open("/proc/self/maps") if "libother.so" in line or
                                "libzgcpreload.so" in line}
                        print(zgc.status()["active"], found > 0, zgc.verify() > 0, len(maps))
                    """, env={"LD_PRELOAD": f"{first}:{second}"})
                    self.assertEqual((result.out, result.err), ("True True True 2\n", ""), result.describe())


if __name__ == "__main__":
    zgctest.main()
