#!/usr/bin/env python3
"""The command zgcpreload; see --help."""

import os
import sys

if __package__:
    from .zgctools import command, tool
else:
    HERE = os.path.dirname(os.path.realpath(__file__))
    # zgctools lies beside this folder in the source tree, under share/ when this file is bin/zgcpreload.
    sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), 'share', 'zgcpreload')]
    from zgctools import command, tool

tool.run('zgcpreload', command.main)
