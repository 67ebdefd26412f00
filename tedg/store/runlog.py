"""Everything a run records per update, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tedg.envs.observation import EpisodeEnd
from tedg.errors import StorageError
from tedg.store.tables import EpisodesLog, MetricsLog, read_metrics
from tedg.store.tensorboard import TensorBoardMirror


class RunLog:
    """metrics.jsonl, timing.jsonl and episodes.csv of a run directory, mirrored to TensorBoard if wanted.

    What depends on the clock is in timing.jsonl alone, so that the other files of two equal runs are
    equal. Raises StorageError when a file cannot be written; the mirror only warns.
    """

    def __init__(
        self, run_dir: Path, update: int, env_steps: int, tensorboard: bool, warn: Callable[[str], None]
    ) -> None:
        """Take up the run at its checkpoint after `update` (0: a fresh run); later rows are dropped."""
        self._metrics = MetricsLog(run_dir / "metrics.jsonl")
        self._timing = MetricsLog(run_dir / "timing.jsonl")
        self._episodes = EpisodesLog(run_dir / "episodes.csv")
        self._logs = (self._metrics, self._timing, self._episodes)
        for log in self._logs:
            log.truncate_after(update)
        rows = read_metrics(run_dir / "metrics.jsonl")
        if update and (not rows or rows[-1]["update"] != update):
            raise StorageError(
                f"{run_dir / 'metrics.jsonl'} does not reach update {update}, from where the run goes on: "
                f"it has {len(rows)} rows; bring back the file that belongs to the checkpoints"
            )
        self._mirror: TensorBoardMirror | None = None
        if tensorboard:
            resume_step = rows[-1].get("total_env_steps", env_steps) + 1 if update else None
            self._mirror = TensorBoardMirror(run_dir / "tensorboard", warn, resume_step)

    def append(
        self,
        update: int,
        env_steps: int,
        metrics: Mapping[str, Any],
        timing: Mapping[str, Any],
        episodes: Iterable[EpisodeEnd],
    ) -> None:
        """Record one update; `env_steps` is the run's total after it.

        What cannot be written now, for which StorageError is raised, is written with a later one.
        """
        place = {"update": update, "env_steps": env_steps}
        self._metrics.add({**place, **metrics})
        self._timing.add({**place, **timing})
        self._episodes.add(update, env_steps, episodes)
        for log in self._logs:
            log.flush()
        if self._mirror is not None:
            # A stage's curve begins where its parent's ended.
            self._mirror.write(metrics.get("total_env_steps", env_steps), {**metrics, **timing})

    def sync(self) -> None:
        """Force all rows to the disk; called before a checkpoint that counts on them."""
        for log in self._logs:
            log.sync()

    def close(self) -> None:
        """Close the mirror; the tables are never left open."""
        if self._mirror is not None:
            self._mirror.close()
