"""TensorBoard as a tracker: an event file in the run's directory."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path


class TensorBoard:
    """Writes scalars to an event file. Raises OSError and what tensorboardX raises.

    The event file is written directly, without tensorboardX's SummaryWriter: that one hands events to a
    thread of its own through a bounded queue, and once the thread has died of a full disk the queue blocks.
    """

    def __init__(self, directory: Path, resume_step: int | None = None) -> None:
        """`resume_step` hides what an earlier process wrote from that step on."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary

        self._event, self._summary = Event, Summary
        directory.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(directory / "events"), f".{os.getpid()}")
        if resume_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(step=resume_step, wall_time=time.time(), session_log=start))

    def write(self, step: int, wall_time: float, figures: Mapping[str, float]) -> None:
        """One event with all figures, on the disk at once."""
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in figures.items()]
        event = self._event(step=step, wall_time=wall_time, summary=self._summary(value=values))
        self._writer.write_event(event)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()

    def abandon(self) -> None:
        """Nothing outlives the run."""
