"""Everything a run records per update, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tedg.config.run_config import LoggerConfig
from tedg.envs.observation import EpisodeEnd
from tedg.errors import StorageError
from tedg.store.tables import EpisodesLog, MetricsLog, read_metrics
from tedg.store.tensorboard import TensorBoard
from tedg.store.trackers import Tracker, Trackers
from tedg.store.wandb import WeightsAndBiases


class RunLog:
    """metrics.jsonl, timing.jsonl and episodes.csv of a run directory, mirrored to the trackers of `logger`.

    What depends on the clock is in timing.jsonl alone, so that the other files of two equal runs are
    equal. Raises StorageError when a file cannot be written; a tracker only warns.
    """

    def __init__(
        self, run_dir: Path, update: int, env_steps: int, logger: LoggerConfig, warn: Callable[[str], None]
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
        # A stage's curve begins where its parent's ended.
        self._step = rows[-1].get("total_env_steps", env_steps) if update else 0
        self._trackers = Trackers(_makers(run_dir, logger, self._step + 1 if update else None), warn)

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
        self._step = metrics.get("total_env_steps", env_steps)
        self._trackers.write(self._step, {**metrics, **timing})

    def note_held_out(self, players: Mapping[str, Mapping[str, Any]]) -> None:
        """Show the trackers what every player's held-out games say; the tables have them elsewhere."""
        figures = {
            f"held_out/{player}/{name}": value
            for player, row in players.items()
            for name, value in row.items()
        }
        self._trackers.write(self._step, figures)

    def sync(self) -> None:
        """Force all rows to the disk; called before a checkpoint that counts on them."""
        for log in self._logs:
            log.sync()

    def close(self) -> None:
        """Give the trackers some seconds to end; the tables are never left open."""
        self._trackers.close()


def _makers(run_dir: Path, logger: LoggerConfig, resume_step: int | None) -> dict[str, Callable[[], Tracker]]:
    """What makes each tracker that is wanted, by the name that users know."""
    makers: dict[str, Callable[[], Tracker]] = {}
    if logger.tensorboard:
        makers["TensorBoard"] = lambda: TensorBoard(run_dir / "tensorboard", resume_step)
    if (settings := logger.wandb) is not None:
        makers["Weights & Biases"] = lambda: WeightsAndBiases(run_dir, settings)
    return makers
