"""A result as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# Shown elsewhere, or too long for a line.
_HIDDEN = (
    "run_id",
    "status",
    "reason",
    "num_actions",
    "parameters",
    "flops",
    "training",
    "evaluation",
    "warnings",
    "liveness",
)


def result_lines(values: Mapping[str, Any]) -> Iterator[str]:
    """What a run reached: totals, then a table of the players on the held-out games."""
    yield f"status {values.get('status')}"
    alone = values.get("total_env_steps") == values.get("env_steps")
    for key, value in values.items():
        if alone and key.startswith("total_"):
            continue
        if key not in _HIDDEN and value is not None:
            yield f"{key.replace('_', ' ')}: {_text(value)}"
    players = values.get("evaluation")
    if isinstance(players, Mapping) and players:
        yield f"{'player':<16}{'games':>7}{'mean score':>12}{'95 % interval':>18}{'best':>8}{'deepest':>9}"
        for name, row in players.items():
            yield _player(name, row)
    warnings = values.get("warnings")
    if warnings:
        yield f"warnings: {len(warnings)}, listed in result.json"


def _player(name: str, row: Mapping[str, Any]) -> str:
    interval = f"{_number(row.get('low'))} to {_number(row.get('high'))}"
    return (
        f"{name:<16}{row.get('games', 0):>7}{_number(row.get('mean_score')):>12}{interval:>18}"
        f"{_number(row.get('best_score')):>8}{row.get('deepest', 0):>9}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_text(item) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
