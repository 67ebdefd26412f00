"""What a run has spent with all runs before it: those whose weights it began from, back to a fresh start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tedg.config.run_config import RunConfig
from tedg.learn.stages import make_schedule
from tedg.store.results import read_result


def spent_before(weights_of: Path | None) -> dict[str, Any]:
    """Env steps, episodes and budget ({unit: number}) up to the weights of `weights_of`; None: a fresh start.

    Each is None where nobody can say: of weights without a result, and of results that do not have it.
    Raises StorageError for a damaged result.
    """
    if weights_of is None:
        return {"env_steps": 0, "episodes": 0, "budget": {}}
    result = read_result(weights_of)
    if result is None or result["status"] != "finished":
        return dict.fromkeys(("env_steps", "episodes", "budget"))
    # Results of earlier versions have no totals; a run that began fresh is its own total.
    own = result if "parent" in result and result["parent"] is None else {}
    return {
        "env_steps": result.get("total_env_steps", own.get("env_steps")),
        "episodes": result.get("total_episodes", own.get("episodes")),
        "budget": result.get("total_budget"),
    }


def totals(config: RunConfig, outcome: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What result.json says of a run and all before it; None where what was before is not known."""
    spent = make_schedule(config)[1]
    budget = before["budget"]
    if budget is not None:
        budget = {**budget, spent.unit: budget.get(spent.unit, 0) + spent.total}
    return {
        "total_env_steps": _sum(outcome.get("env_steps"), before["env_steps"]),
        "total_episodes": _sum(outcome.get("episodes"), before["episodes"]),
        "total_budget": budget,
    }


def _sum(own: int | None, before: int | None) -> int | None:
    return None if own is None or before is None else own + before
