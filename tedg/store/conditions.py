"""Held-out games that were played after a run's end, one table for each way of playing them.

A run's own lie in its directory: `evaluation/<weights>-<mode>-<cap>.csv`. Those of players without learning
lie beside the runs, for all of them: `yardsticks/<game>-<mask>-<cap>-<digest>.csv`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedg.envs.observation import EpisodeEnd
from tedg.errors import StorageError
from tedg.store.games import GamesByPlayer, read_table, write_table

EVALUATION = "evaluation"
YARDSTICKS = "yardsticks"
_FILE = re.compile(r"(last|best|\d+)-(sample|greedy)-(\d+)\.csv")
# How many games there are at once says nothing about any of them.
_NOT_THE_GAME = ("num_envs", "num_workers", "max_episode_steps")

Games = dict[int, EpisodeEnd]  # by the game's seed


@dataclass(frozen=True, slots=True)
class Condition:
    """With which weights a policy plays, how it chooses, and when a game is cut off."""

    weights: str = "last"  # last, best, or the number of env steps of a milestone
    mode: str = "sample"  # sample or greedy
    cap: int = 0  # env steps

    def table(self, run_dir: Path) -> Path:
        """The file of its games."""
        return run_dir / EVALUATION / f"{self.weights}-{self.mode}-{self.cap}.csv"


def conditions(run_dir: Path) -> list[Condition]:
    """Those that the run has a table of, in the order of their files' names."""
    folder = run_dir / EVALUATION
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found = [match for name in names if (match := _FILE.fullmatch(name))]
    return [Condition(match[1], match[2], int(match[3])) for match in found]


def read_condition(run_dir: Path, condition: Condition) -> tuple[str | None, Games]:
    """The stage whose settings the policy played under, and the games so far; None and none without any.

    Raises StorageError.
    """
    path = condition.table(run_dir)
    table = read_table(path, "stage") or {}
    if len(table) > 1:
        raise StorageError(
            f"{path} has games of two stages: {', '.join(table)}; remove it to play them again"
        )
    return next(iter(table.items()), (None, {}))


def write_condition(run_dir: Path, condition: Condition, stage: str, games: Games) -> None:
    """Write the whole table. Raises StorageError."""
    _make(run_dir / EVALUATION)
    write_table(condition.table(run_dir), "stage", {stage: games})


def yardsticks(run_dir: Path, env: Mapping[str, Any], cap: int) -> Path:
    """The table that all runs beside this one with the same game, mask and cap share; `env`: its node."""
    node = {key: value for key, value in env.items() if key not in _NOT_THE_GAME}
    digest = hashlib.sha256(json.dumps(node, sort_keys=True).encode()).hexdigest()[:8]
    game = node.get("task") or node["_target_"].rpartition(".")[2]
    name = f"{game}-{node.get('action_mask', 'legal')}-{cap}-{digest}.csv"
    return run_dir.absolute().parent / YARDSTICKS / name


def read_yardsticks(path: Path) -> GamesByPlayer:
    """The games so far of each player. Raises StorageError."""
    return read_table(path, "player") or {}


def write_yardsticks(path: Path, games: GamesByPlayer) -> None:
    """Write the whole table. Raises StorageError."""
    _make(path.parent)
    write_table(path, "player", games)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}") from None


def budget_of(budget: Mapping[str, Any], stage: Mapping[str, Any]) -> dict[str, int]:
    """A run's budget by its unit, {"env_steps": n} or {"episodes": n}, from these nodes of config.yaml."""
    for unit in ("env_steps", "episodes"):
        if budget.get(unit) is not None:
            return {unit: int(budget[unit])}
    phases = stage["phases"].values() if "phases" in stage else (stage,)
    return {"episodes": sum(int(phase["episodes"]) for phase in phases)}


def in_words(weights: str, budget: Mapping[str, int]) -> str:
    """Which weights these are. Those of a milestone are never those of a run with a smaller budget.

    The borders of stages scale with the budget, so a run of 500,000 steps and one of 1,000,000 after 500,000
    have learnt under other settings.
    """
    ((unit, total),) = budget.items()
    whole = f"{total:,} {unit.replace('_', ' ')}"
    if weights in ("last", "best"):
        return f"{weights} weights at a budget of {whole}"
    done = f"{int(weights):,}"
    return f"after {done} of {whole}" if unit == "env_steps" else f"after {done} env steps of {whole}"
