"""What stands beside the verdicts: arms with their cost, players that learn nothing, curves, missing arms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tedg.compare.arms import Arms
from tedg.compare.report import Arm, Control, Curves
from tedg.compare.scores import Measure
from tedg.compare.unlike import RunPair
from tedg.statistics.aggregates import iqm, mean, profile
from tedg.statistics.crossing import crossing
from tedg.statistics.curves import areas
from tedg.statistics.pairs import Floats, Pairs, mean_difference
from tedg.statistics.skewed import mean_of_games
from tedg.store.record import RunRecord

PLAYERS = ("random", "random_legal", "script")
_TAUS = 21  # heights of a performance profile
_LEAST = ("score", "length", "depth")  # metrics that have a least value
_CURVES = {"score": "mean_score", "return": "mean_return"}
# What tells attention from what comes with it.
_CONFOUNDS = {
    "concat_matched": "V3 of V4's size, which tells attention from parameters",
    "concat_tokens": "V3 with V4's tokens, which tells attention from tokens",
}


def described(name: str, runs: Sequence[RunRecord], measure: Measure) -> Iterator[Arm]:
    """What one arm reaches and costs, by the games that were played; runs of two budgets are never mixed."""
    apart: dict[str, list[RunRecord]] = {}
    for run in runs:
        if measure.games(run) is not None:
            apart.setdefault(measure.named([run]), []).append(run)
    yield from (_arm(name, own, measure) for own in apart.values())


def _arm(name: str, runs: Sequence[RunRecord], measure: Measure) -> Arm:
    found = [(run, games) for run in runs if (games := measure.games(run)) is not None]
    values = [measure.values(games) for _, games in found]
    scores = np.array([one.mean() for one in values])
    pooled = np.concatenate(values)
    taus = np.unique(np.quantile(pooled, np.linspace(0, 1, _TAUS)))
    fewest = min(map(len, values))
    return Arm(
        name,
        measure.named(runs),
        tuple(run.seed for run, _ in found),
        tuple(map(float, scores)),
        mean(scores),
        iqm(scores),
        profile(np.array([one[:fewest] for one in values]), taus),
        found[0][0].parameters.get("total"),
        found[0][0].flops,
        _median(run.env_steps / run.seconds for run in runs if run.seconds),
    )


def controls(runs: Sequence[RunRecord], measure: Measure) -> list[Control]:
    """The players that some run has on the games that count, each once."""
    found = []
    for player in PLAYERS:
        games = next((one for run in runs if (one := measure.games(run, player)) is not None), None)
        if games is not None:
            values = measure.values(games)
            own = mean(values)
            if measure.metric in _LEAST:
                own = mean_of_games(values, least=min(0.0, float(values.min())))
            found.append(Control(player, len(values), own))
    return found


def above_controls(arms: Sequence[Arm], players: Sequence[Control], measure: Measure) -> Iterator[str]:
    """A warning for each arm that is not shown to be above a player that learns nothing.

    Of scores and returns alone: a long game is no better than a short one.
    """
    for one in arms if measure.metric in ("score", "return") else ():
        low = one.mean.low if len(one.scores) > 1 else -np.inf
        below = [player for player in players if not low > player.mean.value]
        if below:
            names = " and ".join(f"{player.player} ({player.mean.value:.1f})" for player in below)
            yield (
                f"warning: {one.name} ({one.mean.value:.1f}) is not shown to be above {names}, so it may "
                "have learnt nothing"
            )


def confounds(records: Sequence[RunRecord], arms: Arms, shown: Iterable[str]) -> Iterator[str]:
    """The arms that would tell attention from what comes with it, where it is compared with V3 alone."""
    fusions = {run.options.get("fusion", "") for name in shown for run in arms[name]}
    if any(name.startswith("cross_attn") for name in fusions) and "concat" in fusions:
        have = {run.options.get("fusion") for run in records}
        for name, what in _CONFOUNDS.items():
            if name not in have:
                yield f"{name} is missing ({what})"


def of_curves(runs: Sequence[RunPair], measure: Measure) -> Curves | None:
    """What learning curves say; None where a run is too short to have one, or the metric has none."""
    if measure.metric not in _CURVES:
        return None
    curves = [curve_of(run, measure) for pair in runs for run in pair]
    try:
        found = areas(curves)
    except ValueError:
        return None
    seeds = tuple(one.seed for one, _ in runs)
    area = mean_difference(Pairs(seeds, found.values[0::2], found.values[1::2]))
    return Curves(area, found.first, found.last, crossing(curves[0::2], curves[1::2]))


def curve_of(run: RunRecord, measure: Measure) -> tuple[Floats, Floats]:
    """Env steps and heights of the training curve that goes with a measure, where episodes ended."""
    heights = getattr(run.curve, _CURVES[measure.metric])
    points = [
        (steps, height)
        for steps, height in zip(run.curve.env_steps, heights, strict=True)
        if height is not None and (measure.at is None or steps <= measure.at)
    ]
    table = np.array(points, float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.median(found)) if found else None
