"""Writes down what a run has done, update by update, and saves it when that is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tedg.config.run_config import RunConfig
from tedg.envs.observation import EpisodeEnd
from tedg.errors import StorageError
from tedg.store.rundir import CHECKPOINTS
from tedg.store.runlog import RunLog
from tedg.store.tables import read_metrics

MAX_FAILURES = 3  # updates in a row whose rows or checkpoint could not be written


class Recorder:
    """The tables of a run and its checkpoints.

    A disk may be full for a while: what could not be written is warned about and tried again after the next
    update, and StorageError is raised after MAX_FAILURES updates in a row.
    """

    def __init__(
        self,
        run_dir: Path,
        config: RunConfig,
        update: int,
        env_steps: int,
        save: Callable[[bool], None],
        warn: Callable[[str], None],
    ) -> None:
        """Take up the run at its checkpoint after `update` (0: there is none).

        `save` writes a checkpoint of the run as it is; it is told whether that is one which every run of
        this configuration writes, wherever it is stopped. Raises StorageError when tables and checkpoint do
        not belong together.
        """
        self._every = config.checkpoint.every_updates
        self._save, self._warn = save, warn
        self._saved = update
        self._failures = 0
        self.seconds = 0.0  # spent on the last update
        if not update:
            _require_new(run_dir, self._every)
        self._log = RunLog(run_dir, update, env_steps, config.logger, warn)

    def note(
        self,
        update: int,
        env_steps: int,
        metrics: Mapping[str, Any],
        timing: Mapping[str, Any],
        episodes: list[EpisodeEnd],
        urgent: bool,
    ) -> None:
        """Write an update's rows, and a checkpoint when one is due or `urgent`."""
        start = time.monotonic()
        due = update // self._every > self._saved // self._every
        try:
            self._log.append(update, env_steps, metrics, timing, episodes)
            if due or urgent:
                self.save(update, scheduled=due)
        except StorageError as error:
            self._failures += 1
            count = f"{self._failures} of {MAX_FAILURES} times in a row"
            if self._failures == MAX_FAILURES:
                raise StorageError(f"{error} ({count})") from error
            self._warn(f"{error} ({count}); training goes on and tries again after the next update")
        else:
            self._failures = 0
        self.seconds = time.monotonic() - start

    def save(self, update: int, scheduled: bool) -> None:
        """Save the run after `update`, unless it is saved already. Raises StorageError."""
        if update == self._saved:
            return
        self._log.sync()
        self._save(scheduled)
        self._saved = update

    def note_held_out(self, players: Mapping[str, Mapping[str, Any]]) -> None:
        """Show the figures of held-out games, by player, where the curves are shown."""
        self._log.note_held_out(players)

    def close(self) -> None:
        """Close the tables, and wait some seconds for trackers."""
        self._log.close()


def _require_new(run_dir: Path, every: int) -> None:
    """A run without a checkpoint may have recorded no more than what comes before the first one."""
    path = run_dir / "metrics.jsonl"
    rows = len(read_metrics(path)) if path.exists() else 0
    if rows >= every + MAX_FAILURES:
        raise StorageError(
            f"{path} has {rows} updates, but {run_dir / CHECKPOINTS} has no checkpoint: "
            f"bring it back, or remove {run_dir} to start from scratch"
        )
