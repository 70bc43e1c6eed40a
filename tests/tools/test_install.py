"""Every tool: help, any directory, installed under a prefix."""

import os
import shutil
import unittest

from toolcase import PYTHON, SCRIPTS, ToolCase

TOOLS = ('zgc-ab', 'zgc-log', 'zgc-stat', 'zgc-perf')


class Help(ToolCase):
    def test_help_has_an_example(self):
        for tool in TOOLS:
            said = self.succeed(tool, '--help')
            self.assertRegex(said, r'examples:\n  ' + tool)


class Installed(ToolCase):
    """bin/zgc-* with share/zgcpreload/zgctools and lib/libzgcpreload.so, and links to them."""

    def setUp(self):
        super().setUp()
        for name in ('bin', 'lib', 'share', 'links'):
            os.makedirs(self.path('prefix', name))
        shutil.copytree(os.path.join(SCRIPTS, 'zgctools'),
                        self.path('prefix', 'share', 'zgcpreload', 'zgctools'))
        for tool in TOOLS:
            shutil.copy(os.path.join(SCRIPTS, tool), self.path('prefix', 'bin', tool))
            os.symlink(self.path('prefix', 'bin', tool), self.path('prefix', 'links', tool))
        self.places = self.path('prefix', 'bin'), self.path('prefix', 'links')

    def test_every_tool_starts(self):
        for place in self.places:
            for tool in TOOLS:
                self.assertRegex(self.succeed(tool, '--help', scripts=place), 'examples:')

    def test_files_beside_the_tools_are_found(self):
        said = self.succeed('zgc-ab', '-n', 1, '--a', 'stock', '--b', 'stock', '--', PYTHON, '-c',
                            'import gc; gc.collect()', scripts=self.places[1])
        self.assertRegex(said, r'longest GC pause +\S')

    def test_the_library_of_the_prefix_is_found(self):
        self.assertIn('not found; build it', self.refuse('zgc-ab', '--', 'true',
                                                         scripts=self.places[0],
                                                         env={'ZGC_LIB': ''}))
        for folder in ('lib', 'lib/x86_64-linux-gnu'):
            library = self.path('prefix', folder, 'libzgcpreload.so')
            os.makedirs(os.path.dirname(library), exist_ok=True)
            with open(library, 'wb'):
                pass
            said = self.refuse('zgc-ab', '-n', 1, '--', 'true', scripts=self.places[1],
                               env={'ZGC_LIB': ''})
            self.assertIn(library, said)
            self.assertIn('cannot be preloaded', said)
            os.unlink(library)


if __name__ == '__main__':
    unittest.main()
