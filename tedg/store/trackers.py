"""Trackers: mirrors of a run's metrics that people look at, each behind a thread of its own.

Training hands rows to a bounded queue and goes on. Whatever becomes of a tracker (an error, a full disk, a
server that is gone, a call that never returns) costs rows there, and one warning. metrics.jsonl has all rows.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

MOST_WAITING = 1000  # rows of a tracker that is slow; about half a megabyte
SILENT_SECONDS = 60.0  # that one call may take before it is worth a warning
CLOSE_SECONDS = 10.0  # that the end of a run waits for all of its trackers together

Warn = Callable[[str], None]


class Ended(Exception):
    """A tracker has ended by itself; the message says it all."""


class Tracker(Protocol):
    """One kind of tracker. Made, written to and closed in its thread, where it may block and raise."""

    def write(self, step: int, wall_time: float, figures: Mapping[str, float]) -> None:
        """Take the finite figures of one update; `wall_time` is in seconds since 1970, `step` env steps."""
        ...

    def close(self) -> None:
        """Hand over what is left."""
        ...

    def abandon(self) -> None:
        """Called from another thread while `close` or `write` blocks: end what would outlive the run."""
        ...


class Trackers:
    """All trackers of a run. No method raises, or waits for one of them, but for `close`."""

    def __init__(self, makers: Mapping[str, Callable[[], Tracker]], warn: Warn) -> None:
        """`makers` by the name that a warning calls the tracker."""
        self._all = [_Behind(name, make, warn) for name, make in makers.items()]

    def write(self, step: int, row: Mapping[str, Any]) -> None:
        """Mirror the finite numbers of a row at `step` (env steps)."""
        if not self._all:
            return
        numbers = {name: float(x) for name, x in row.items() if isinstance(x, int | float)}
        figures = {name: x for name, x in numbers.items() if math.isfinite(x)}
        for one in self._all:
            one.write((step, time.time(), figures))

    def close(self) -> None:
        """Wait up to CLOSE_SECONDS for what was written to arrive; may be called twice."""
        deadline = time.monotonic() + CLOSE_SECONDS
        for one in self._all:
            one.end()
        for one in self._all:
            one.wait(deadline)
        self._all = []


_Row = tuple[int, float, Mapping[str, float]]


class _Behind:
    """A tracker behind its thread and queue. Warnings are given in the caller's thread, at its next call."""

    def __init__(self, name: str, make: Callable[[], Tracker], warn: Warn) -> None:
        self._name, self._make, self._warn = name, make, warn
        self._rows: queue.Queue[_Row | None] = queue.Queue(MOST_WAITING)
        self._tracker: Tracker | None = None
        self._busy_since: float | None = time.monotonic()  # none while the tracker waits for a row
        self._failure: str | None = None
        self._warned = False
        self._thread = threading.Thread(target=self._serve, name=f"tracker {name}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads on this machine
            self._failure = str(error)

    def write(self, row: _Row) -> None:
        self._look()
        if self._failure is None:
            try:
                self._rows.put_nowait(row)
            except queue.Full:
                self._say(f"cannot keep up, so rows are missing there from env step {row[0]:,} on")

    def end(self) -> None:
        """Ask the thread to close the tracker after the rows that wait."""
        with suppress(queue.Full):
            self._rows.put_nowait(None)
            return
        with suppress(queue.Empty):  # the oldest row makes room: nobody else adds any
            self._rows.get_nowait()
        self._rows.put_nowait(None)

    def wait(self, deadline: float) -> None:
        """Wait for the end of the thread; a tracker that takes longer is left alone."""
        if self._thread.is_alive():
            self._thread.join(max(deadline - time.monotonic(), 0.0))
        if not self._thread.is_alive():
            self._look()
            return
        self._say(f"did not take its last rows within {CLOSE_SECONDS:g} s, so they are missing there")
        if self._tracker is not None:
            with suppress(Exception):
                self._tracker.abandon()

    def _look(self) -> None:
        since = self._busy_since
        if self._failure is not None:
            self._say(f"is off: {self._failure}")
        elif since is not None and time.monotonic() - since > SILENT_SECONDS:
            self._say(f"has not answered for {SILENT_SECONDS:g} s")

    def _say(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"{self._name} {what}; training goes on, and metrics.jsonl has every row")

    def _serve(self) -> None:
        try:
            self._tracker = self._make()
            self._busy_since = None
            while (row := self._rows.get()) is not None:
                self._busy_since = time.monotonic()
                self._tracker.write(*row)
                self._busy_since = None
            self._busy_since = time.monotonic()
            self._tracker.close()
        except BaseException as error:  # a library may well raise SystemExit
            if self._tracker is not None:
                with suppress(BaseException):
                    self._tracker.close()
            self._failure = str(error) if isinstance(error, Ended) else f"{type(error).__name__}: {error}"
        finally:
            self._busy_since = None
