"""Where libzgcpreload.so is, in a source tree, in a wheel and under an installation prefix."""

import glob
import os
import re

from .tool import ToolError

NAME = 'libzgcpreload.so'
HERE = os.path.dirname(os.path.abspath(__file__))


def beside(name, *places):
    """Where a file that was built may be: we run from SITE-PACKAGES/zgcpreload/zgctools, from
    SOURCE/scripts/zgctools or from PREFIX/share/zgcpreload/zgctools. places: patterns below PREFIX."""
    package = os.path.dirname(HERE)
    if os.path.basename(package) == 'zgcpreload':
        yield os.path.join(package, name)
    yield os.path.join(os.path.dirname(package), 'build', name)
    prefix = os.path.dirname(os.path.dirname(package))
    for pattern in places:
        yield from sorted(glob.glob(os.path.join(glob.escape(prefix), pattern, name)))


def find(given=None):
    """Path of the library: the one given, $ZGC_LIB, or the one these tools belong to."""
    named = given or os.environ.get('ZGC_LIB')
    if named:
        if not os.path.isfile(named):
            raise ToolError('no library at %s' % named)
        return os.path.abspath(named)
    for path in beside(NAME, 'lib', 'lib64', 'lib/*'):
        if os.path.isfile(path):
            return path
    raise ToolError('%s not found; build it (cmake -B build && cmake --build build) '
                    'or name it with --lib PATH' % NAME)


def of_malloc(name):
    """What LD_PRELOAD must name for this malloc: the file given, or the soname of an installed library."""
    if os.sep in name:
        if not os.path.isfile(name):
            raise ToolError('no library at %s' % name)
        return os.path.abspath(name)
    import ctypes.util          # slow to import, and seldom needed
    found = ctypes.util.find_library(name)
    if not found:
        raise ToolError('lib%s is not installed (Debian: jemalloc is libjemalloc2, mimalloc is libmimalloc2.0); '
                        '--malloc takes a file, too' % name)
    return found


def without(preload):
    """An LD_PRELOAD value with our library taken out."""
    parts = (preload or '').replace(' ', ':').split(':')
    return ':'.join(part for part in parts if part and os.path.basename(part) != NAME)


def preloading(path, preload):
    """An LD_PRELOAD value with our library, once, behind whatever is there."""
    if re.search(r'[\s:]', path):
        raise ToolError('LD_PRELOAD cannot name %s: blanks and colons separate its entries; copy the '
                        'library or make a link to it elsewhere, and name that with --lib' % path)
    others = without(preload)
    return (others + ':' if others else '') + path
