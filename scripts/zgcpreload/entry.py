"""The console scripts of the wheel."""

import importlib

from .zgctools import tool


def start(name, module):
    tool.run(name, importlib.import_module('.zgctools.' + module, __package__).main)


def zgcpreload():
    start('zgcpreload', 'command')


def zgc_ab():
    start('zgc-ab', 'cmd_ab')


def zgc_log():
    start('zgc-log', 'cmd_log')


def zgc_perf():
    start('zgc-perf', 'cmd_perf')


def zgc_run():
    start('zgc-run', 'cmd_run')


def zgc_stat():
    start('zgc-stat', 'cmd_stat')
