"""The hand-overs without a lock under the C11 memory model, by herd7: each *.litmus beside this file is one, with what
must not happen. As it is written it never happens; with any of its orders weaker it may, so that a model that shows
nothing is found.

herd7 is Debian's (herdtools7), or the one that scripts/zgc-chroots puts into forky. Skipped without it.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'support'))
import chroots  # noqa: E402

MODELS = sorted(glob.glob(os.path.join(HERE, '*.litmus')))
ORDER = re.compile(r'memory_order_(acq_rel, memory_order_acquire|acq_rel|acquire|release|seq_cst)')
# Where relaxed would show nothing that acq_rel does not.
WEAKER = {'acq_rel, memory_order_acquire': 'relaxed, memory_order_relaxed'}
BELOW_SEQ_CST = {'store': 'release', 'load': 'acquire'}


def find_herd():
    """The command, or None."""
    if shutil.which('herd7'):
        return ['herd7']
    root = chroots.path_of('forky')
    if root and os.path.exists(root + '/opt/herd/herd7'):
        return [root + '/lib64/ld-linux-x86-64.so.2', '--library-path', root + '/usr/lib/x86_64-linux-gnu',
                root + '/opt/herd/herd7', '-set-libdir', root + '/opt/herd/lib']
    return None


HERD = find_herd()


def happens(path):
    """Whether the model's exists clause may become true, or two threads race for what is no atomic."""
    done = subprocess.run([*HERD, '-model', 'rc11.cat', path], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    said = re.search(r'^Observation \S+ (Never|Sometimes|Always)', done.stdout, re.M)
    if done.returncode or not said or 'Warning' in done.stdout:
        raise AssertionError(f'herd7 {path}: {done.stdout}')
    return said.group(1) != 'Never' or 'Flag' in done.stdout


def weaker(match, text, is_stronger):
    order = match.group(1)
    if order != 'seq_cst' or is_stronger:
        return 'memory_order_' + WEAKER.get(order, 'relaxed')
    call = re.findall(r'atomic_(store|load|\w+)_explicit', text[:match.start()])[-1]
    return 'memory_order_' + BELOW_SEQ_CST.get(call, 'acq_rel')


def variants(text):
    """(number, text) with one order weaker. What the file itself names as stronger than it needs is left out or, where
    it is sequentially consistent, made relaxed at once."""
    stronger = re.search(r'Stronger than this needs:([ \d]+)', text)
    stronger = set(map(int, stronger.group(1).split())) if stronger else set()
    for number, match in enumerate(ORDER.finditer(text), 1):
        if number not in stronger or match.group(1) == 'seq_cst':
            yield number, text[:match.start()] + weaker(match, text, number in stronger) + text[match.end():]


@unittest.skipUnless(HERD, 'needs herd7 (Debian: herdtools7, or scripts/zgc-chroots build forky)')
class Models(unittest.TestCase):

    def test_what_must_not_happen_never_does(self):
        self.assertGreater(len(MODELS), 10)
        for path in MODELS:
            with self.subTest(os.path.basename(path)):
                self.assertFalse(happens(path))

    def test_each_order_is_needed(self):
        with tempfile.TemporaryDirectory() as folder:
            for path in MODELS:
                with open(path, encoding='utf-8') as source:
                    text = source.read()
                for number, changed in variants(text):
                    name = os.path.join(folder, f'{number}-{os.path.basename(path)}')
                    with open(name, 'w', encoding='utf-8') as out:
                        out.write(changed)
                    with self.subTest(os.path.basename(path), order=number):
                        self.assertTrue(happens(name), changed)


if __name__ == '__main__':
    unittest.main()
