"""How a training went, for its record: figures of its updates over env steps, and its first episodes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tedg.store.record import EPISODE_FIGURES, MOST_TRAINING_POINTS, Training

Rows = Sequence[Mapping[str, Any]]

# Columns of metrics.jsonl that a record keeps, where a run has them; beside them all of router/usage_<k>.
_COLUMNS = (
    *("router/entropy", "router/usage_entropy", "router/specialisation", "router/dead_experts"),
    *("attention/sparsity", "attention/sparsity_0.01", "attention/effective_keys", "attention/entropy"),
    "attention/kept_similarity",
    *("policy/entropy", "train/kl", "train/clip_fraction", "train/explained_variance"),
    *("gradient/norm", "gradient/W_Q", "gradient/W_K", "gradient/router"),
    *("loss/value", "loss/alignment", "router/soft_entropy", "loss/load_balance", "loss/diversity"),
    *("loss/semantic", "loss/temporal", "loss/overlap"),
    *("rollout/episode_length", "rollout/deepest"),
)
_EXPERT = re.compile(r"router/usage_(\d+)")
_DIGITS = 5  # of a figure; a record is small, and drawn


def training(rows: Rows, env_steps: int) -> Training:
    """What the updates said, each row being one of metrics.jsonl, oldest first; empty for no rows.

    There are at most as many points as updates, so that each has one.
    """
    if not rows:
        return Training()
    count = min(MOST_TRAINING_POINTS, len(rows), env_steps)
    points = np.arange(1, count + 1) * env_steps // count
    place = np.searchsorted(points, [row["env_steps"] for row in rows])
    experts = {int(match[1]): match[0] for row in rows for name in row if (match := _EXPERT.fullmatch(name))}
    names = (*(name for _, name in sorted(experts.items())), *_COLUMNS)
    found = {name: _means([row.get(name) for row in rows], place, count) for name in names}
    begins = [0, *(row["env_steps"] for row in rows[:-1])]
    stages: list[tuple[str, int]] = []
    for row, begin in zip(rows, begins, strict=True):
        name = row.get("stage")  # which the first versions did not tell
        if name is not None and (not stages or stages[-1][0] != name):
            stages.append((name, begin))
    return Training(
        tuple(points.tolist()),
        {name: values for name, values in found.items() if any(value is not None for value in values)},
        tuple(stages),
    )


def first_episodes(episodes: Rows) -> dict[str, dict[str, float]]:
    """`EPISODE_FIGURES` of the first 100, the first 300 and all episodes, rows of episodes.csv.

    Raw game units; `nonzero_share` is the share with a score above 0. `episodes` is how many these really
    are, where fewer have ended. As in result.json, an episode that was lost with its process counts with
    what it had reached. Empty for no episodes.
    """
    windows = {"100": episodes[:100], "300": episodes[:300], "all": episodes}
    return {name: _of_episodes(own) for name, own in windows.items()} if episodes else {}


def _of_episodes(episodes: Rows) -> dict[str, float]:
    returns, scores = ([one[name] for one in episodes] for name in ("episode_return", "score"))
    values = (np.mean(returns), max(returns), np.mean(scores), max(scores), np.mean(np.array(scores) > 0))
    return dict(zip(EPISODE_FIGURES, [*map(float, values), len(episodes)], strict=True))


def _means(values: list[Any], place: Any, count: int) -> tuple[float | None, ...]:
    sums, numbers = np.zeros(count), np.zeros(count, int)
    for value, point in zip(values, place, strict=True):
        if value is not None and point < count:
            sums[point] += value
            numbers[point] += 1
    return tuple(
        float(f"{total / number:.{_DIGITS}g}") if number else None
        for total, number in zip(sums, numbers, strict=True)
    )
