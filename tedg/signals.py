"""Turns signals into a flag that training looks at between updates."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from tedg.startup import EXIT_CODES, announces, leave


@dataclass(slots=True)
class StopFlag:
    """Whether somebody asked the run to stop, with which exit code, or only to save itself."""

    requested: bool = False
    exit_code: int = 0
    save: bool = False

    def request(self, signum: int) -> None:
        """Ask for the end, as the signal `signum` would."""
        self.requested = True
        self.exit_code = EXIT_CODES[signal.Signals(signum)]


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """A StopFlag that the first SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 raises; a second one ends the process.

    SIGINT and SIGTERM end in 128 + their number. Cluster schedulers send SIGUSR1 or SIGUSR2 before they take
    the machine away: these end in PREEMPTED. In a job of submitit on SLURM, SIGTERM may only announce such a
    signal, or the end: the run saves itself and goes on.

    The handler only sets the flag, so that a checkpoint is never written from inside a signal. Outside the
    main thread, where Python allows no handlers, the flag is never raised.
    """
    flag = StopFlag()

    def handle(signum: int, frame: FrameType | None) -> None:
        if announces(signum):
            flag.save = True
            return
        if flag.requested:
            leave(EXIT_CODES[signal.Signals(signum)])
        flag.request(signum)

    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {signum: signal.signal(signum, handle) for signum in EXIT_CODES}
    try:
        yield flag
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
