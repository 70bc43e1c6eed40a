"""One side of a comparison: a name and the environment it runs in."""

import os
import re
import shlex

from . import library
from .tool import ToolError

SETTING = re.compile(r'[A-Za-z_][A-Za-z_0-9]*=')


class Side:
    """`settings` are what the launcher takes: NAME=VALUE sets, NAME unsets."""

    def __init__(self, key, label, settings, preloaded):
        self.key = key
        self.label = label
        self.settings = settings
        self.preloaded = preloaded


def make(key, text, find_library):
    """A side from what the user wrote: 'stock', or settings that go with the preload ('' for none).

    find_library is called only if the preload is needed, so that two stock sides compare without
    a library.
    """
    preload = os.environ.get('LD_PRELOAD', '')
    if text.strip() == 'stock':
        return Side(key, 'stock', ['LD_PRELOAD=' + library.without(preload)], False)
    try:
        settings = shlex.split(text)
    except ValueError as error:
        raise ToolError('--%s %r: %s' % (key, text, error))
    for setting in settings:
        if not SETTING.match(setting):
            raise ToolError("--%s: %r is not NAME=VALUE (or the single word 'stock')"
                            % (key, setting))
    path = find_library()
    label = 'preload' + ''.join(' ' + setting for setting in settings)
    return Side(key, label, ['LD_PRELOAD=' + library.preloading(path, preload)] + settings, True)
