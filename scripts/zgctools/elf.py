"""The little that matters of an ELF file: whether it is a Python, and for which machine."""

import mmap
import struct

from .tool import ToolError

# Any interpreter offers this one, static or shared, since 3.4.
PYTHON_SYMBOL = b"PyMem_SetAllocator"
# PyInstaller's programs hold this, and load the libpython that they bring along.
PYINSTALLER_MARK = b"MEI\014\013\012\013\016"


class Elf:
    """The little that matters of a 64-bit ELF file: machine, and the names it links by."""

    PT_LOAD, PT_DYNAMIC = 1, 2
    DT_NEEDED, DT_STRTAB, DT_STRSZ = 1, 5, 10

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self.data[:6] != b"\x7fELF\x02\x01":
            raise ToolError(f"{path} is not a 64-bit little-endian ELF file")
        self.machine, = struct.unpack_from("<H", self.data, 18)
        self.load, dynamic = [], None
        for kind, offset, address, size in self.segments():
            if kind == self.PT_LOAD:
                self.load.append((address, offset, size))
            elif kind == self.PT_DYNAMIC:
                dynamic = offset, size
        self.strings, self.needed = b"", []
        if dynamic:
            self.read_dynamic(*dynamic)

    def segments(self):
        table, = struct.unpack_from("<Q", self.data, 32)
        entry, count = struct.unpack_from("<HH", self.data, 54)
        for index in range(count):
            kind, _, offset, address, _, size = struct.unpack_from(
                "<IIQQQQ", self.data, table + index * entry)
            yield kind, offset, address, size

    def read_dynamic(self, offset, size):
        tags = list(struct.iter_unpack("<qQ", self.data[offset:offset + size // 16 * 16]))
        values = dict(tags)
        start = self.file_offset(values[self.DT_STRTAB])
        self.strings = self.data[start:start + values[self.DT_STRSZ]]
        for tag, value in tags:
            if tag == 0:
                return
            if tag == self.DT_NEEDED:
                self.needed.append(self.strings[value:].partition(b"\0")[0])

    def file_offset(self, address):
        for start, offset, size in self.load:
            if start <= address < start + size:
                return address - start + offset
        raise ValueError("address outside of all segments")

    def is_python(self):
        return (any(name.startswith(b"libpython") for name in self.needed)
                or b"\0" + PYTHON_SYMBOL + b"\0" in self.strings
                or self.data.rfind(PYINSTALLER_MARK) >= 0)


def read(path):
    try:
        return Elf(path)
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise ToolError(f"{path} is not a sound ELF file: {error}") from None
