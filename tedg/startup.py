"""What a command does before its imports, which take seconds. Imports next to nothing itself.

Python's own answer to Ctrl-C is an exception, and libraries that are being imported pass it on, swallow it or
abort. A command of ours leaves with the signal's exit code instead, until it handles signals in its own way.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import NoReturn

from tedg import slurm, streams
from tedg.errors import INTERRUPTED, PREEMPTED, TERMINATED

EXIT_CODES = {
    signal.SIGINT: INTERRUPTED,
    signal.SIGTERM: TERMINATED,
    signal.SIGUSR1: PREEMPTED,
    signal.SIGUSR2: PREEMPTED,
}
_SCRIPTS = ("tedg-train", "tedg-bench", "tedg-evaluate", "tedg-study")

before_leaving: list[Callable[[], None]] = []  # called by `leave`, the newest first


def begin_command(argv: Sequence[str], original: Sequence[str]) -> None:
    """Make printing safe and answer signals, where this process is a command of ours; otherwise do nothing.

    `argv` is sys.argv as it is when the package is imported, `original` is sys.orig_argv.
    """
    name = os.path.basename(argv[0]) if argv else ""
    if name != "-m" and name not in _SCRIPTS:  # "-m": Python is still looking for the module that it will run
        return
    # Only a run can go on after SIGUSR1. For other commands the signal is no request to make room.
    resumes = name == "tedg-train" or "tedg.train" in original
    leave_on_signals(EXIT_CODES if resumes else (signal.SIGINT, signal.SIGTERM))
    streams.secure()


def leave_on_signals(signals: Iterable[int] = tuple(EXIT_CODES)) -> None:
    """Answer these signals by leaving at once with their exit codes, until others handle them."""
    for signum in signals:
        signal.signal(signum, _leave)


def announces(signum: int) -> bool:
    """Whether a signal is none of its own: in a job of submitit on SLURM, SIGTERM comes ahead of others."""
    return signum == signal.SIGTERM and os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def leave(code: int) -> NoReturn:
    """End the process at once, without its temporary files."""
    try:
        for clean in reversed(before_leaving):
            clean()
    finally:
        os._exit(code)


def _leave(signum: int, frame: FrameType | None) -> None:
    if announces(signum):
        return
    code = EXIT_CODES[signal.Signals(signum)]
    try:
        if code == PREEMPTED:  # nothing is begun or everything saved: the same command goes on
            slurm.requeue(_say)
    finally:
        leave(code)


def _say(text: str) -> None:
    """As print does, which must not be called again while it is at work."""
    try:
        os.write(1, f"{text}\n".encode())
    except OSError:
        return
