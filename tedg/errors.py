"""The ways a command can end early, each with its exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DONE = 0
FAILED = 1
CONFIG = 2
DIVERGED = 3
STORAGE = 4
CHECK = 5
PREEMPTED = 75  # stopped to make room, state saved: start it again (EX_TEMPFAIL of sysexits.h)
INTERRUPTED = 130  # SIGINT
TERMINATED = 143  # SIGTERM


class TedgError(Exception):
    """Ends a command with a message for the user instead of a traceback."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[Any, ...]:
        # Launchers pass exceptions between processes; pickle's default would call __init__ with the message.
        return (_restore, (type(self), self.args, self.__dict__))


class ConfigError(TedgError):
    """The configuration or the way a command was called is wrong; nothing was started."""

    def __init__(self, message: str) -> None:
        super().__init__(message, CONFIG)


class InUse(ConfigError):
    """Another process owns the run directory now."""


class DivergedError(TedgError):
    """Training hit non-finite losses or gradients too often; `result` is what the last good state reached."""

    def __init__(self, message: str, result: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, DIVERGED)
        self.result = dict(result or {})


class StorageError(TedgError):
    """A file that the run depends on cannot be written or read."""

    def __init__(self, message: str) -> None:
        super().__init__(message, STORAGE)


class CheckFailed(TedgError):
    """A run finished, and its check found something wrong with it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, CHECK)


class Stopped(TedgError):
    """A signal asked for the end; the run's state is saved and it can be resumed."""

    def __init__(self, exit_code: int, message: str = "stopped by a signal, state saved") -> None:
        super().__init__(message, exit_code)


def _restore(cls: type[TedgError], args: tuple[Any, ...], state: dict[str, Any]) -> TedgError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error
