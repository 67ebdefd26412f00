"""Every seed of one contrast: a dot per run, a line per pair, and the mean difference with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.axes import Axes

from tedg.compare.report import Outcome
from tedg.report.draw.style import GREY, Look, drawn, figure, short, styled
from tedg.report.page import Drawing
from tedg.statistics.aggregates import Estimate

Scores = Mapping[int, float]  # by seed


def seeds(
    name: str,
    one: Outcome,
    scores: tuple[Scores, Scores],
    means: tuple[Estimate, Estimate],
    of: Mapping[str, Look],
    delta: float | None,
    metric: str,
) -> Drawing:
    """`scores` and `means` are those of baseline and variant; seeds that are in no pair are hollow dots."""
    names = (one.baseline, one.variant)
    with styled():
        made = figure(2.7)
        left, right = made.subplots(1, 2, width_ratios=(3, 2))
        for seed in one.seeds:
            pair = [side.get(seed) for side in scores]
            left.plot((0, 1), pair, color="#b5b5b5", linewidth=0.7, zorder=1)
        for x, (arm, side, mean) in enumerate(zip(names, scores, means, strict=True)):
            _arm(left, x, side, set(one.seeds), mean, of[arm])
        left.set_xlim(-0.5, 1.5)
        left.set_xticks((0, 1), [short(arm) for arm in names])
        left.grid(visible=False, axis="x")
        left.set_ylabel(metric)
        left.set_title("each seed, and the mean", fontweight="normal")
        _difference(right, one, delta)
        right.set_title("difference of pairs", fontweight="normal")
        alt = _said(one, metric)
        caption = (
            f"{one.variant} against {one.baseline}, {one.measure}. Left: one dot for each training seed, a "
            "line joins the two runs of a seed, bars are means with 95% intervals over seeds. Right: the "
            "paired differences (dots) and their mean with its interval."
        )
        if any(side.keys() - set(one.seeds) for side in scores):
            caption += " Hollow dots belong to no pair that counts."
        return drawn(name, made, caption, alt)


def _arm(axes: Axes, x: int, side: Scores, paired: set[int], mean: Estimate, look: Look) -> None:
    for inside, fill in ((True, look.colour), (False, "white")):
        own = [value for seed, value in side.items() if (seed in paired) == inside]
        axes.plot(
            [x] * len(own), own, linestyle="none", marker=look.marker, color=look.colour,
            markerfacecolor=fill, markersize=4.5, alpha=0.85,
        )  # fmt: skip
    place = x - 0.25 if x == 0 else x + 0.25
    if math.isfinite(mean.low):
        axes.plot((place, place), (mean.low, mean.high), color=look.colour, linewidth=2)
    axes.plot(place, mean.value, marker="_", color=look.colour, markersize=12, markeredgewidth=2)


def _difference(axes: Axes, one: Outcome, delta: float | None) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8)
    if delta is not None:
        axes.axhspan(-delta, delta, color="#009E73", alpha=0.12, linewidth=0)
    axes.plot(
        [0] * len(one.differences),
        one.differences,
        linestyle="none",
        marker="o",
        color="#9a9a9a",
        markersize=4,
    )
    found = one.difference
    if found is not None:
        if math.isfinite(found.low):
            axes.plot((0.4, 0.4), (found.low, found.high), color="black", linewidth=2)
        axes.plot(0.4, found.mean, marker="D", color="black", markersize=6)
    axes.set_xlim(-0.4, 0.8)
    axes.set_xticks((0, 0.4), ["pairs", "mean"])
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("variant minus baseline")


def _said(one: Outcome, metric: str) -> str:
    found = one.difference
    if found is None:
        return f"Dots of {metric} of the runs of {one.baseline} and {one.variant}; no pair counts."
    above = sum(value > 0 for value in one.differences)
    interval = (
        f" with an interval from {found.low:.1f} to {found.high:.1f}" if math.isfinite(found.low) else ""
    )
    return (
        f"Dots of {metric} for {found.n} pairs of seeds: {one.variant} is above {one.baseline} in {above} "
        f"of them. The mean difference is {found.mean:+.1f}{interval}."
    )
