"""Where a cell of a sweep speaks: plain lines in its log, and its progress to the driver."""

from __future__ import annotations

import sys

from tedg.sweep.report import Report
from tedg.watch.console import PlainConsole, Progress


class CellConsole(PlainConsole):
    """The console of a run whose output is a file, which tells its driver how far it is as well."""

    def __init__(self, reporter: Report, title: str) -> None:
        super().__init__(sys.stdout, title=title)
        self._reporter = reporter

    def update(self, progress: Progress) -> None:
        """Log it, and tell it."""
        super().update(progress)
        score = progress.metrics.get("rollout/mean_score")
        self._reporter.progress(progress.fraction, progress.env_steps, score)
