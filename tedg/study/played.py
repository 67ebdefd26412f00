"""Held-out games as rows of a table: one for each player and way of playing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tedg.store.conditions import Games
from tedg.study import text

NAMED = 3  # so many runs are named in a line or get lines of their own; more are counted


@dataclass(frozen=True, slots=True)
class Row:
    """The games of one player under one set of conditions."""

    run: str
    player: str
    weights: str  # "" for a player without learning, as mode
    mode: str
    cap: int
    said: str  # of the weights, in words
    stage: str | None
    table: str
    figures: dict[str, Any]


def figures(games: Games, seeds: range) -> dict[str, Any]:
    """What these games say, but for the lost ones. The interval is over games, above the least score."""
    from tedg.statistics.skewed import mean_of_games  # imports scipy

    asked = [games[seed] for seed in seeds]
    played = [game for game in asked if game.end != "lost"]
    found: dict[str, Any] = {"games": len(played), "lost": len(asked) - len(played)}
    if not played:
        return found
    scores = np.array([game.score for game in played], float)
    mean = mean_of_games(scores, least=min(0.0, float(scores.min())))
    deaths = [game for game in played if game.end == "death"]
    return found | {
        "mean_score": mean.value,
        # Of very few games there is no interval.
        "low": None if np.isnan(mean.low) else mean.low,
        "high": None if np.isnan(mean.high) else mean.high,
        "median_score": float(np.median(scores)),
        "best_score": float(scores.max()),
        "mean_return": float(np.mean([game.episode_return for game in played])),
        "mean_length": float(np.mean([game.length for game in played])),
        "deepest": max(game.depth for game in played),
        "deaths": len(deaths),
        "causes": dict(Counter(game.cause for game in deaths if game.cause)),
    }


def content(row: Row) -> dict[str, Any]:
    """A row for JSON."""
    own = {name: getattr(row, name) for name in ("run", "player", "weights", "mode", "cap", "said", "stage")}
    return {**own, **row.figures, "table": row.table}


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table for people."""
    header = (
        "run",
        "player",
        "mode",
        "cap",
        "games",
        "mean score",
        "95 % interval",
        "median",
        "length",
        "deaths",
    )
    yield from text.rows(header, [_cells(row) for row in rows])
    runs_of: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.said:
            runs_of.setdefault(f"{row.said}, under the settings of stage {row.stage}", {})[row.run] = None
    for said, runs in runs_of.items():
        yield f"{', '.join(runs) if len(runs) <= NAMED else f'{len(runs)} runs'}: {said}"


def _cells(row: Row) -> tuple[str, ...]:
    found = row.figures
    own = (row.run or "all", row.player, row.mode or "-", str(row.cap), str(found["games"]))
    if not found["games"]:
        return (*own, *"-----")
    interval = "-" if found["low"] is None else f"{found['low']:.1f} to {found['high']:.1f}"
    means = (
        f"{found['mean_score']:.1f}",
        interval,
        f"{found['median_score']:g}",
        f"{found['mean_length']:.0f}",
    )
    return (*own, *means, str(found["deaths"]))
