"""Means over seeds with their intervals: a row for each figure, and in it a mark for each arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tedg.report.draw.style import Look, drawn, figure, legend, styled
from tedg.report.page import Drawing
from tedg.statistics.aggregates import Estimate


@dataclass(frozen=True)
class Rows:
    """A panel: estimates by figure and arm; `limits` are those of its axis."""

    unit: str
    figures: Mapping[str, Mapping[str, Estimate]]
    limits: tuple[float, float] | None = None


def dots(name: str, panels: Sequence[Rows], of: Mapping[str, Look], caption: str, alt: str) -> Drawing:
    """Panels from top to bottom, and rows within them; arms of a row lie close below each other."""
    with styled():
        arms = [arm for arm in of if any(arm in row for one in panels for row in one.figures.values())]
        heights = [0.5 + 0.14 * len(one.figures) * (len(arms) + 1) for one in panels]
        made = figure(0.3 + sum(heights))
        grid = made.subplots(len(panels), 1, squeeze=False, height_ratios=heights).flat
        for axes, panel in zip(grid, panels, strict=True):
            _panel(axes, panel, arms, of)
        handles = [
            Line2D([], [], color=of[arm].colour, marker=of[arm].marker, linestyle="none", markersize=5)
            for arm in arms
        ]
        legend(made, handles, arms)
        return drawn(name, made, caption, alt)


def _panel(axes: Axes, panel: Rows, arms: Sequence[str], of: Mapping[str, Look]) -> None:
    for place, row in enumerate(panel.figures.values()):
        for n, arm in enumerate(arms):
            if (found := row.get(arm)) is None:
                continue
            y = -place - 0.7 * ((n + 0.5) / len(arms) - 0.5)
            if math.isfinite(found.low):
                axes.plot((found.low, found.high), (y, y), color=of[arm].colour, linewidth=1.6)
            axes.plot(found.value, y, color=of[arm].colour, marker=of[arm].marker, markersize=5)
    axes.set_yticks([-n for n in range(len(panel.figures))], list(panel.figures))
    axes.set_ylim(-len(panel.figures) + 0.4, 0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(panel.unit)
    if panel.limits is not None:
        axes.set_xlim(*panel.limits)
