"""Standard output and error that never fail: what a command prints changes neither what it does nor its end.

A reader may have gone (`| head`), a disk may be full, the stream closed or unable to show a letter. Libraries
print too, and so does Python itself when it ends, so it is the streams that are made safe and not each call.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


def secure() -> None:
    """Replace sys.stdout and sys.stderr, and open what is closed of the standard input, output and error.

    A file that is opened later would get the number of a closed one, and what is meant for the terminal.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number: this one
    sys.stdout = sys.__stdout__ = lenient(1, sys.stdout)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = lenient(2, sys.stderr)  # type: ignore[misc]


def lenient(number: int, like: TextIO | None = None) -> io.TextIOWrapper[Any]:
    """A stream to the file `number`, which stays open; it drops what cannot be written, and never raises.

    It buffers and encodes as `like` does, but writes letters out that this encoding lacks, as in `\\xfc`.
    """
    unbuffered = bool(getattr(like, "write_through", False))
    raw: Any = _Lenient(number)
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=bool(getattr(like, "line_buffering", number == 2)),
        write_through=unbuffered,
    )


class _Lenient(io.RawIOBase):
    def __init__(self, number: int) -> None:
        self._number = number
        self.name = f"<{number}>"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:
                left = left[os.write(self._number, left) :]
        except OSError:
            pass  # the rest is lost, and the next call tries anew: a disk may be full for a while
        return size
