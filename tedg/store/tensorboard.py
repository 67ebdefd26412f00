"""TensorBoard as a mirror of the metrics: useful to look at, unable to stop or slow a run."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class TensorBoardMirror:
    """Writes scalars to an event file; the first failure is one warning and turns the mirror off.

    The event file is written directly, without tensorboardX's SummaryWriter: that one hands events to
    a thread through a bounded queue, and once the thread has died of a full disk the queue blocks.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None], resume_step: int | None = None) -> None:
        """`resume_step` hides what an earlier process wrote from that step on."""
        self._warn = warn
        self._writer: Any = None
        try:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog
            from tensorboardX.proto.summary_pb2 import Summary

            self._event, self._summary = Event, Summary
            directory.mkdir(parents=True, exist_ok=True)
            self._writer = EventsWriter(str(directory / "events"), f".{os.getpid()}")
            if resume_step is not None:
                start = SessionLog(status=SessionLog.START)
                self._writer.write_event(Event(step=resume_step, wall_time=time.time(), session_log=start))
        except Exception as error:
            self._fail(error)

    def write(self, step: int, row: Mapping[str, Any]) -> None:
        """Mirror the finite numbers of a row at `step` (env steps)."""
        if self._writer is None:
            return
        try:
            numbers = {tag: float(x) for tag, x in row.items() if isinstance(x, int | float)}
            values = [
                self._summary.Value(tag=tag, simple_value=x) for tag, x in numbers.items() if math.isfinite(x)
            ]
            summary = self._summary(value=values)
            self._writer.write_event(self._event(step=step, wall_time=time.time(), summary=summary))
            self._writer.flush()
        except Exception as error:
            self._fail(error)

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            try:
                self._writer.close()
            except Exception as error:
                self._fail(error)
            self._writer = None

    def _fail(self, error: Exception) -> None:
        self._writer = None
        self._warn(f"TensorBoard mirror off, training goes on: {type(error).__name__}: {error}")
