"""Where libzgcpreload.so is, in a source tree and when installed."""

import glob
import os

from .tool import ToolError

NAME = 'libzgcpreload.so'
HERE = os.path.dirname(os.path.abspath(__file__))


def candidates():
    """PREFIX/share/zgcpreload/zgctools and SOURCE/scripts/zgctools are the places we run from."""
    source = os.path.dirname(os.path.dirname(HERE))
    yield os.path.join(source, 'build', NAME)
    prefix = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
    for pattern in ('lib', 'lib64', 'lib/*-linux-*', 'lib/zgcpreload', 'lib64/zgcpreload'):
        yield from sorted(glob.glob(os.path.join(prefix, pattern, NAME)))


def find(given=None):
    """Path of the library: the one given, $ZGC_LIB, or the one these tools belong to."""
    named = given or os.environ.get('ZGC_LIB')
    if named:
        if not os.path.isfile(named):
            raise ToolError('no library at %s' % named)
        return os.path.abspath(named)
    for path in candidates():
        if os.path.isfile(path):
            return path
    raise ToolError('%s not found; build it (cmake -B build && cmake --build build) '
                    'or name it with --lib PATH' % NAME)


def without(preload):
    """An LD_PRELOAD value with our library taken out."""
    parts = (preload or '').replace(' ', ':').split(':')
    return ':'.join(part for part in parts if part and os.path.basename(part) != NAME)


def preloading(path, preload):
    """An LD_PRELOAD value with our library behind whatever is there, as zgc-run does it."""
    others = without(preload)
    return (others + ':' if others else '') + path
