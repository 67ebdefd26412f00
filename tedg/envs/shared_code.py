"""Lets all games run the same pages of machine code, though each has a library of its own.

NetHack keeps a game in global variables, so NLE loads a copy of libnethack.so for each. The copies' code is
the same to the last byte, but it lies in different memory: games that take turns push each other's code out
of the processor's caches, and with 32 of them a step of NetHack takes twice as long. Here what a copy only
reads is mapped anew, at the same addresses, from the one file that the copies were made of.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nle.nethack import nethack as nle_nethack

# Of <elf.h>, <dlfcn.h> and <sys/mman.h>.
_ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
_PT_LOAD, _PF_X, _PF_W = 1, 1, 2
_RTLD_DI_LINKMAP = 2
_MAP_FIXED = 0x10


class _Segment(NamedTuple):
    """A part of the library that nobody writes to once it is loaded."""

    address: int  # relative to where the library begins in memory
    offset: int  # in the file
    size: int  # bytes
    protection: int


class _Original(NamedTuple):
    """The file that NLE copies; it stays open."""

    file: int
    content: npt.NDArray[np.uint8]
    segments: list[_Segment]


class SharedCode:
    """The code of one game's copy of the library, which NLE loads by the name `path`."""

    def __init__(self, path: str) -> None:
        self._path = path.encode()
        self._compared = False

    def share(self) -> bool:
        """Map the copy's code from the original; NLE loads the copy anew for every game, so call it then.

        Returns False and changes nothing where that cannot be done: on anything but 64-bit Linux with
        glibc, or if one byte differs. They are compared once, for nobody writes to the copy later.
        """
        libc, original = _libc(), _original()
        base = None if libc is None else _base(libc, self._path)
        if libc is None or original is None or base is None:
            return False
        if not self._compared and not all(_same(base, segment, original) for segment in original.segments):
            return False
        self._compared = True
        return all(_map(libc, base, segment, original.file) for segment in original.segments)


@cache
def _libc() -> Any:
    """The C library's functions used here, or None where it has not all of them."""
    try:
        libc = ctypes.CDLL(None)
        libc.dlopen.argtypes, libc.dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        libc.dlclose.argtypes = (ctypes.c_void_p,)
        libc.dlinfo.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
        libc.mmap.argtypes = (
            *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
        )
        libc.mmap.restype = ctypes.c_void_p
    except (AttributeError, OSError, TypeError):
        return None
    return libc


@cache
def _original() -> _Original | None:
    """The original, or None if it is no library of the expected kind."""
    try:
        file = os.open(nle_nethack.DLPATH, os.O_RDONLY)
        content = np.frombuffer(mmap.mmap(file, 0, prot=mmap.PROT_READ), np.uint8)
    except (OSError, ValueError):
        return None
    segments = _read_only_segments(content[:4096].tobytes())
    return _Original(file, content, segments) if segments else None


def _read_only_segments(head: bytes) -> list[_Segment]:
    """The program headers that describe them, from a library's first bytes; nothing for other files."""
    if not head.startswith(_ELF64_LITTLE_ENDIAN):
        return []
    (table,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    segments = []
    for header in range(table, table + size * count, size):
        kind, flags, offset, address, _, in_file, in_memory = struct.unpack_from("<IIQQQQQ", head, header)
        aligned = offset % mmap.PAGESIZE == address % mmap.PAGESIZE == 0
        if kind == _PT_LOAD and not flags & _PF_W and aligned and in_file == in_memory:
            protection = mmap.PROT_READ | (mmap.PROT_EXEC if flags & _PF_X else 0)
            segments.append(_Segment(address, offset, in_file, protection))
    return segments


def _base(libc: Any, path: bytes) -> int | None:
    """Where the library of that name begins in memory; None if it is not loaded."""
    handle = libc.dlopen(path, os.RTLD_LAZY | os.RTLD_NOLOAD)
    if not handle:
        return None
    link_map = ctypes.POINTER(ctypes.c_size_t)()  # struct link_map begins with the address
    failed = libc.dlinfo(handle, _RTLD_DI_LINKMAP, ctypes.byref(link_map))
    libc.dlclose(handle)  # or NLE's own dlclose would leave the library, and with it the old game
    return None if failed else link_map[0]


def _same(base: int, segment: _Segment, original: _Original) -> bool:
    loaded = np.ctypeslib.as_array((ctypes.c_uint8 * segment.size).from_address(base + segment.address))
    return np.array_equal(loaded, original.content[segment.offset : segment.offset + segment.size])


def _map(libc: Any, base: int, segment: _Segment, file: int) -> bool:
    address, flags = base + segment.address, mmap.MAP_PRIVATE | _MAP_FIXED
    mapped: int = libc.mmap(address, segment.size, segment.protection, flags, file, segment.offset)
    return mapped == address
