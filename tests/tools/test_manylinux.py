"""The wheel that zig builds for older C libraries: its tag, and what its programs need."""

import glob
import os
import re
import subprocess
import unittest
import zipfile

from test_wheel import BUILDER, clean, has_builder
from toolcase import ROOT, ToolCase

NEWEST = 28     # of glibc 2.x


def has_zig():
    return has_builder() and subprocess.run([BUILDER, '-c', 'import ziglang, auditwheel'],
                                            stderr=subprocess.DEVNULL).returncode == 0


@unittest.skipUnless(has_zig(), 'needs ziglang and auditwheel beside scikit-build-core (scripts/setup)')
class Manylinux(ToolCase):

    def test_an_old_glibc_is_enough(self):
        done = subprocess.run([os.path.join(ROOT, 'scripts', 'manylinux'), '--out', self.dir], env=clean(), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        wheel, = glob.glob(self.path('*.whl'))
        tag = re.search(r'-py3-none-manylinux_2_(\d+)_\w+\.whl$', wheel)
        self.assertLessEqual(int(tag.group(1)), NEWEST)
        with zipfile.ZipFile(wheel) as archive:
            programs = [archive.read(name) for name in archive.namelist() if name.endswith(('.so', 'zgc-options'))]
        self.assertEqual(len(programs), 2)
        for text in programs:
            versions = set(map(int, re.findall(rb'GLIBC_2\.(\d+)', text)))
            self.assertLessEqual(max(versions), NEWEST)
            self.assertNotIn(ROOT.encode() + b'/collector', text)


if __name__ == '__main__':
    unittest.main()
