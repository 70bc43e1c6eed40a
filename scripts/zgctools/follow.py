"""Reads files as they grow, through rotation and truncation, like tail -F."""

import os
import time

POLL_SECONDS = 0.2


class Tail:
    """Whole lines of one file as they appear; waits for a file that is not there yet."""

    def __init__(self, path):
        self.path = path
        self.source = None
        self.rest = b''

    def lines(self):
        """What has been added since the last call."""
        found = []
        if self.source is not None:
            found += self.complete_lines()
            if self.replaced():
                # Read on to the end of the old file before leaving it: done above.
                self.source.close()
                self.source, self.rest = None, b''
        if self.source is None:
            try:
                self.source = open(self.path, 'rb')
            except OSError:
                return found
            found += self.complete_lines()
        return found

    def complete_lines(self):
        data = self.rest + self.source.read()
        lines = data.split(b'\n')
        self.rest = lines.pop()
        return lines

    def replaced(self):
        """Renamed away, or emptied in place."""
        try:
            now = os.stat(self.path)
        except OSError:
            return False        # not recreated yet; the open file may still grow
        mine = os.fstat(self.source.fileno())
        return (now.st_ino, now.st_dev) != (mine.st_ino, mine.st_dev) or (
            now.st_size < self.source.tell())


def follow(paths, feed, idle=lambda: False):
    """Calls feed(line) for each new line until idle() says to stop or Ctrl-C."""
    tails = [Tail(path) for path in paths]
    try:
        while True:
            new = [line for tail in tails for line in tail.lines()]
            for line in new:
                feed(line)
            if not new:
                if idle():
                    return
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        pass
