"""One cell of a sweep: which run it is, where it lies, and how it stands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tedg.config.compose import Composed
from tedg.errors import ConfigError, StorageError
from tedg.run.held_out import known_and_missing
from tedg.run.kept import kept_result
from tedg.run.starts import place
from tedg.store.games import POLICY
from tedg.store.results import read_result
from tedg.store.study import LOGS


class State(StrEnum):
    """How a cell stands. The first five can still change while the sweep runs."""

    QUEUED = "queued"
    WAITING = "waiting"  # for its parent
    PENDING = "pending"  # in the queue of a cluster
    RUNNING = "running"
    ELSEWHERE = "elsewhere"  # another process trains it
    DONE = "done"
    DIVERGED = "diverged"  # for good: the same numbers would diverge again
    FAILED = "failed"  # ended with an error
    LOST = "lost"  # was killed
    STOPPED = "stopped"  # with the sweep; saved
    PRUNED = "pruned"  # alone, by a search: it promised little; saved
    BLOCKED = "blocked"  # its parent has no weights to begin from


OPEN = frozenset({State.QUEUED, State.WAITING, State.PENDING, State.RUNNING, State.ELSEWHERE})


@dataclass(slots=True, eq=False)
class Cell:
    """A run within a sweep."""

    composed: Composed
    label: str  # what tells it from the other cells: `fusion=concat seed=3`
    run_id: str
    directory: Path
    parent: Cell | None = None  # the cell whose weights it begins from
    state: State = State.QUEUED
    reason: str = ""
    attempts: int = 0  # in this command
    check_failed: bool = False
    fraction: float = 0.0  # of the budget
    env_steps: int | None = None
    total_env_steps: int | None = None  # with the stages before it, once that is known
    score: float | None = None
    seconds: float = 0.0  # that its processes ran, in all commands
    earlier_attempts: int = 0  # in earlier commands
    started: float = 0.0  # on the monotonic clock, while it runs
    kept: Path | None = None  # where its result is kept without its weights, and counts
    place: str = ""  # among the cells of its sweep: `3 of 12`
    job: str = ""  # that SLURM has for it, while it has one

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.composed.root / LOGS / f"{self.directory.name}.log"

    @property
    def elapsed(self) -> float:
        """Seconds that its processes ran, the present one included."""
        return self.seconds + (time.monotonic() - self.started if self.state is State.RUNNING else 0)

    def settle(self) -> None:
        """Find its directory, now that its parent is done; raises ConfigError and StorageError."""
        start, self.directory = place(self.composed)
        self.run_id, self.kept = start.run_id, start.kept

    def take_result(self) -> bool:
        """Take over the result that lies in its directory, or is kept; False where there is none yet.

        A result that cannot be read is a failure, and so is one that is kept and has less than is asked for.
        """
        try:
            result = read_result(self.directory)
            if result is None and self.kept is not None:
                result, self.check_failed = kept_result(self.composed.config, self.kept)
            else:
                self.kept = None
        except (ConfigError, StorageError) as error:
            self.state, self.reason = State.FAILED, str(error)
            return True
        if result is None:
            return False
        self._show(result)
        diverged = result["status"] == "diverged"
        self.state = State.DIVERGED if diverged else State.DONE
        self.reason = str(result.get("reason") or "") if diverged else ""
        if self.kept is not None and not diverged:
            self.reason = f"its result is kept in {self.kept}"
        return True

    def train_anew(self, child: Cell) -> None:
        """Forget that its result is kept: `child` needs its weights. Raises ConfigError and StorageError."""
        paths = replace(self.composed.config.paths, experiments_dir=None)
        self.composed = replace(self.composed, config=replace(self.composed.config, paths=paths))
        self.reason = f"{self.reason} without weights, which {child.label} needs"
        self.state = State.QUEUED if self.parent is None else State.WAITING
        self.kept, self.check_failed, self.fraction, self.score = None, False, 0.0, None
        self.env_steps = self.total_env_steps = None
        if self.parent is None and self.run_id not in (
            (start := place(self.composed)[0]).run_id,
            start.earlier_id,
        ):
            raise ConfigError(f"{self.reason}; it began from its parent stage: let the sweep have that too")
        self.reason += ": it is trained anew"

    def has_nothing_to_do(self) -> bool:
        """Whether it is settled before anything is started: no game is missing, and no check is asked for."""
        before = self.state
        if not self.take_result():
            return False
        config = self.composed.config
        ready = self.state is State.DONE and self.kept is None
        if ready and (config.check is not None or self._misses_games()):
            self.state = before
            return False
        return True

    def _misses_games(self) -> bool:
        try:
            result = read_result(self.directory)
            return result is not None and bool(
                known_and_missing(self.composed.config, self.directory, result)[1]
            )
        except (ConfigError, StorageError):
            return True  # its own process will say what is wrong

    def _show(self, result: Mapping[str, Any]) -> None:
        policy = (result.get("evaluation") or {}).get(POLICY) or {}
        self.fraction = 1.0
        self.env_steps, self.total_env_steps = result.get("env_steps"), result.get("total_env_steps")
        self.score = policy.get("mean_score", self.score)
