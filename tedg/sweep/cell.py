"""One cell of a sweep: which run it is, where it lies, and how it stands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tedg.config.compose import Composed
from tedg.errors import ConfigError, StorageError
from tedg.run.held_out import known_and_missing
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
    score: float | None = None
    seconds: float = 0.0  # that its processes ran, in all commands
    earlier_attempts: int = 0  # in earlier commands
    started: float = 0.0  # on the monotonic clock, while it runs
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
        self.run_id = start.run_id

    def take_result(self) -> bool:
        """Take over the result that lies in its directory; False where there is none yet.

        A result that cannot be read is a failure.
        """
        try:
            result = read_result(self.directory)
        except StorageError as error:
            self.state, self.reason = State.FAILED, str(error)
            return True
        if result is None:
            return False
        self._show(result)
        diverged = result["status"] == "diverged"
        self.state = State.DIVERGED if diverged else State.DONE
        self.reason = str(result.get("reason") or "") if diverged else ""
        return True

    def has_nothing_to_do(self) -> bool:
        """Whether it is settled before anything is started: no game is missing, and no check is asked for."""
        before = self.state
        if not self.take_result():
            return False
        config = self.composed.config
        if self.state is State.DONE and (config.check is not None or self._misses_games()):
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
        self.env_steps = result.get("env_steps")
        self.score = policy.get("mean_score", self.score)
