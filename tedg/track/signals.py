"""Turns SIGINT and SIGTERM into a flag that training looks at between updates."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class StopFlag:
    """Whether somebody asked the run to stop, and the exit code that this ends in (128 + signal)."""

    requested: bool = False
    exit_code: int = 0

    def request(self, signum: int) -> None:
        """Ask for the end, as the signal `signum` would."""
        self.requested = True
        self.exit_code = 128 + signum


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """A StopFlag that the first SIGINT or SIGTERM raises; a second one ends the process at once.

    The handler only sets the flag, so that a checkpoint is never written from inside a signal. Outside the
    main thread, where Python allows no handlers, the flag is never raised.
    """
    flag = StopFlag()

    def handle(signum: int, frame: FrameType | None) -> None:
        if flag.requested:
            os._exit(128 + signum)
        flag.request(signum)

    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(signum, handle) for signum in signals]
    try:
        yield flag
    finally:
        for signum, handler in zip(signals, before, strict=True):
            signal.signal(signum, handler)
