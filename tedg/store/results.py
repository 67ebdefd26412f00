"""result.json as it is read back: what a run ended with, or an error with the file's name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tedg.errors import StorageError
from tedg.files import read_json
from tedg.store.rundir import RESULT

STATUSES = ("finished", "diverged")
_COUNTS = ("updates", "rollbacks", "env_steps", "episodes", "num_actions")
_ROW = ("games", "mean_score", "standard_error")  # what every player's row has


def read_result(run_dir: Path) -> dict[str, Any] | None:
    """What the run ended with; None where it has not ended.

    Raises StorageError where the file does not say how, or holds what no run writes: such a run is not done.
    """
    path = run_dir / RESULT
    content = read_json(path)
    if content is None:
        return None
    for fault in result_faults(content):
        raise StorageError(
            f"{path} is damaged: {fault}; put back a copy of it, or remove it: then the run goes on from its "
            "newest checkpoint and writes it again"
        )
    return content


def result_faults(content: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong, the most basic first; keys that an earlier version did not have may be missing."""
    status = content.get("status")
    if status not in STATUSES:
        yield f"its status is {status!r} and not one of {', '.join(STATUSES)}"
    for key in _COUNTS:
        if key in content and not _count(content[key]):
            yield f"{key} is no count"
    for key in ("total_env_steps", "total_episodes"):
        if not (content.get(key) is None or _count(content[key])):
            yield f"{key} is no count"
    budget = content.get("total_budget")
    if budget is not None and not (isinstance(budget, Mapping) and all(map(_count, budget.values()))):
        yield "total_budget is no group of counts"
    if not isinstance(content.get("warnings", []), list):
        yield "warnings is no list"
    players = content.get("evaluation", {})
    if not isinstance(players, Mapping):
        yield "evaluation is no group of players"
        return
    for player, row in players.items():
        if not isinstance(row, Mapping) or not all(map(_number, row.values())):
            yield f"evaluation.{player} is no row of numbers"
        elif any(key not in row for key in _ROW) or row["games"] is None or row["mean_score"] is None:
            yield f"evaluation.{player} lacks one of {', '.join(_ROW)}"
    figures = content.get("liveness") or {}
    if not isinstance(figures, Mapping) or not all(
        isinstance(value, str) if name == "missing" else _number(value) for name, value in figures.items()
    ):
        yield "liveness is no row of numbers"
    modality = content.get("modality") or {}
    if not isinstance(modality, Mapping) or not all(map(_number, modality.values())):
        yield "modality is no row of numbers"


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _number(value: Any) -> bool:
    """A finite number, or None, which stands for one that could not be computed."""
    return value is None or (type(value) in (int, float) and math.isfinite(value))
