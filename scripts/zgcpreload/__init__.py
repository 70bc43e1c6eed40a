"""libzgcpreload.so and its tools, as `pip install` brings them. The library itself is loaded with LD_PRELOAD, by
`zgcpreload run`; importing this package changes nothing."""

from .zgctools.version import VERSION as __version__


def path() -> str:
    """The library's path, for LD_PRELOAD."""
    from .zgctools import library
    return library.find()


__all__ = ['__version__', 'path']
