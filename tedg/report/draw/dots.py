"""Means over seeds with their intervals, one row for each figure and a mark for each arm."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tedg.report.draw.style import Look, drawn, figure, legend, styled
from tedg.report.page import Drawing
from tedg.statistics.aggregates import Estimate


def dots(
    name: str,
    rows: Mapping[str, Mapping[str, Estimate]],  # figure -> arm -> estimate
    of: Mapping[str, Look],
    unit: str,
    caption: str,
    alt: str,
) -> Drawing:
    """Rows from top to bottom; arms of a row lie close below each other."""
    with styled():
        arms = [arm for arm in of if any(arm in row for row in rows.values())]
        made = figure(0.9 + 0.16 * len(rows) * (len(arms) + 1))
        axes = made.subplots()
        handles = {}
        for place, row in enumerate(rows.values()):
            for n, arm in enumerate(arms):
                if (found := row.get(arm)) is None:
                    continue
                y = -place - 0.8 * ((n + 0.5) / len(arms) - 0.5)
                look = of[arm]
                if math.isfinite(found.low):
                    axes.plot((found.low, found.high), (y, y), color=look.colour, linewidth=1.6)
                (handles[arm],) = axes.plot(
                    found.value, y, color=look.colour, marker=look.marker, linestyle="none", markersize=5
                )
        axes.set_yticks([-n for n in range(len(rows))], list(rows))
        axes.set_ylim(-len(rows) + 0.4, 0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(unit)
        legend(made, list(handles.values()), list(handles))
        return drawn(name, made, caption, alt)
