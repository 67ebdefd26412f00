"""What the process of a cell tells its driver: lines of JSON through a pipe that never blocks either side."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

_SECONDS = 0.5  # least time between two lines about progress
_LONGEST = 1000  # characters of a message; a line is then written whole or not at all


class Report(Protocol):
    """Where a cell tells how it fares. No method ever raises."""

    def progress(self, fraction: float, env_steps: int, score: float | None) -> None:
        """Tell how far it is."""
        ...

    def ended(self, kind: str, message: str) -> None:
        """Tell why it ends; `kind` is the error's class."""
        ...


class Reporter:
    """In the cell."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._told_at: float | None = None

    def progress(self, fraction: float, env_steps: int, score: float | None) -> None:
        """Tell how far it is, unless it just did."""
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= _SECONDS:
            self._told_at = now
            self._tell({"fraction": fraction, "env_steps": env_steps, "score": score})

    def ended(self, kind: str, message: str) -> None:
        """Tell why it ends; `kind` is the error's class."""
        self._tell({"kind": kind, "message": message[-_LONGEST:]})

    def _tell(self, content: dict[str, Any]) -> None:
        with suppress(OSError):  # nobody reads, or not fast enough: the next line is as good
            os.write(self._pipe, (json.dumps(content) + "\n").encode())


class Reading:
    """In the driver."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._rest = b""

    def lines(self) -> Iterator[dict[str, Any]]:
        """What was told since the last call."""
        with suppress(BlockingIOError):
            while block := os.read(self._pipe, 1 << 16):
                self._rest += block
        *whole, self._rest = self._rest.split(b"\n")
        yield from map(json.loads, whole)

    def close(self) -> None:
        """Nothing more is read."""
        os.close(self._pipe)
