"""Says how far something is that is counted, once it takes more than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

FIRST = 1.0  # seconds without a word on a terminal
FIRST_IN_LOG, EVERY_IN_LOG = 5.0, 30.0
EVERY = 0.1


class Composing:
    """A line on a terminal that counts, and goes again; in a log a plain line now and then."""

    def __init__(
        self,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        text: str = "composed {:,} of {:,} jobs",
    ) -> None:
        """`stream` is the standard error if it is not given."""
        self._text, self._stream, self._clock = text, stream or sys.stderr, clock
        self._live = self._stream.isatty()
        self._next = clock() + (FIRST if self._live else FIRST_IN_LOG)
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` are there."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + (EVERY if self._live else EVERY_IN_LOG)
        text = self._text.format(done, total)
        print(
            f"\r\x1b[K{text}" if self._live else text,
            end="" if self._live else "\n",
            file=self._stream,
            flush=True,
        )
        self._shown = self._live

    def close(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._shown = False
