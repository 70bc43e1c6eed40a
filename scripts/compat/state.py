"""Results on disk: one JSON file per unit, beside the log of its last run."""

import contextlib
import hashlib
import json
import os
from typing import NamedTuple


class Unit(NamedTuple):
    """One process: a test of a suite, on an interpreter, without the library or with it."""
    python: object
    suite: str
    test: str
    side: str               # "stock", "preload", or "preload" and the options set

    def __str__(self):
        return f'{self.python.name} {self.suite} {self.test} {self.side}'

    @property
    def is_preload(self):
        return self.side != 'stock'


class State:
    def __init__(self, folder, lib):
        self.folder = os.path.abspath(folder)
        with open(lib, 'rb') as f:
            self.lib = hashlib.sha256(f.read()).hexdigest()[:16]

    def path(self, unit, ending):
        folder = os.path.join(self.folder, unit.python.name, unit.suite)
        os.makedirs(folder, exist_ok=True)
        side = unit.side.replace(' ', '-').replace('/', '_')
        return os.path.join(folder, f'{unit.test}.{side}.{ending}')

    def identity(self, unit):
        """What a result depends on: with another of these it is of no use."""
        same = [unit.python.root, unit.python.path, list(unit.python.version)]
        return [*same, self.lib] if unit.is_preload else same

    def load(self, unit, any_library=False):
        """The stored result, or None. A report may be made from the results of an older library."""
        with contextlib.suppress(OSError, ValueError):
            with open(self.path(unit, 'json')) as f:
                result = json.load(f)
            if any_library or result['identity'] == self.identity(unit):
                return result
        return None

    def is_current(self, unit, result):
        return result['identity'] == self.identity(unit)

    def store(self, unit, result):
        """`runs` remembers of every run what did not pass."""
        before = self.load(unit)
        result['identity'] = self.identity(unit)
        bad = [name for name, outcome in result['cases'].items() if outcome == 'failed']
        result['runs'] = (before['runs'] if before else []) + [[result['outcome'], bad]]
        path = self.path(unit, 'json')
        with open(path + '.new', 'w') as f:
            json.dump(result, f, indent=1)
        os.replace(path + '.new', path)
