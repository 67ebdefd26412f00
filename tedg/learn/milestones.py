"""Weights that a run keeps for later evaluation: those after so many env steps of its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tedg.errors import StorageError
from tedg.store import checkpoint
from tedg.store.rundir import MILESTONES

_ALL = 1 << 30  # of them are kept


class Milestones:
    """Takes the weights of the first update at or after each of the env steps that are asked for.

    They are written just before the run's next checkpoint, so a run that goes on from a checkpoint has all
    that came before it, and makes the others again. Weights alone: a run cannot go on from them.
    """

    def __init__(self, run_dir: Path, wanted: Sequence[int], meta: Mapping[str, Any], env_steps: int) -> None:
        """Take up the run at its checkpoint after `env_steps` (0: there is none). Raises StorageError."""
        self._directory, self._meta = run_dir / MILESTONES, meta
        checkpoint.drop_after(self._directory, env_steps)
        self._left = sorted(steps for steps in wanted if steps > env_steps)
        self._waiting: list[tuple[int, dict[str, Tensor], dict[str, Any]]] = []
        # Asked for when the run was past them.
        self.missed = [
            steps for steps in sorted(wanted) if steps <= env_steps and milestone_in(run_dir, steps) is None
        ]

    def note(self, env_steps: int, update: int, stage: str, done: int, policy: nn.Module) -> None:
        """Take the weights after an update of `stage`, if one is due; `done` is in the budget's unit."""
        while self._left and self._left[0] <= env_steps:
            place = {"env_steps": env_steps, "update": update, "stage": stage, "done": done}
            weights = {name: value.detach().cpu().clone() for name, value in policy.state_dict().items()}
            self._waiting.append((self._left.pop(0), weights, place))

    def write(self) -> None:
        """Write what was taken. Raises StorageError; the rest waits for the next call then."""
        while self._waiting:
            steps, weights, place = self._waiting[0]
            checkpoint.save(self._directory, steps, {"model": weights}, place, self._meta, keep=_ALL)
            self._waiting.pop(0)


def milestone_in(run_dir: Path, steps: int) -> Path | None:
    """Where a run keeps the weights of this milestone; None where it does not."""
    path = checkpoint.place(run_dir / MILESTONES, steps)
    return path if path.is_dir() else None


def stage_of(path: Path) -> tuple[str, float]:
    """The stage that the weights of a milestone were made in, and how much of the budget was spent then.

    Raises StorageError.
    """
    state = checkpoint.load(path).state
    try:
        return str(state["stage"]), float(state["done"])
    except (KeyError, TypeError, ValueError):
        raise StorageError(f"{path} does not say which stage its weights were made in") from None
