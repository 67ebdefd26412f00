"""Figures over env steps: in each panel some lines, each the mean over seeds with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import ArrayLike

from tedg.report.draw.style import GREY, Look, drawn, figure, legend, short, styled
from tedg.report.page import Drawing
from tedg.statistics.curves import Band

_MARKERS = 7  # along a line


@dataclass(frozen=True)
class Span:
    """A place on the axis of env steps, from `low` to `high` where it has an interval."""

    at: float
    low: float
    high: float
    label: str


@dataclass(frozen=True)
class Panel:
    """One panel: a line for each name; `limit` is a height to compare with, and `limits` are those of y."""

    title: str
    unit: str
    bands: Mapping[str, Band]
    limit: tuple[float, str] | None = None
    limits: tuple[float, float] | None = None
    spans: tuple[Span, ...] = ()
    borders: tuple[tuple[float, str], ...] = ()  # where a stage begins, and its name


def lines(
    name: str,
    panels: Sequence[Panel],
    of: Mapping[str, Look],
    caption: str,
    alt: str,
    *,
    across: int = 1,
    height: float = 1.7,
) -> Drawing:
    """Panels with one legend, `across` of them beside each other, each `height` inches high."""
    with styled():
        rows = math.ceil(len(panels) / across)
        made = figure(0.4 + height * rows)
        grid = made.subplots(rows, across, squeeze=False, sharex=True, sharey=across > 1).flat
        for n, (axes, panel) in enumerate(zip(grid, panels, strict=False)):
            _panel(axes, panel, of)
            if n < across:
                _stages(axes, panel)
            if n % across == 0:
                axes.set_ylabel(panel.unit)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[max(0, len(panels) - across) : len(panels)]:
            axes.set_xlabel("env steps")
            axes.tick_params(labelbottom=True)
        shown = [label for label in of if any(label in panel.bands for panel in panels)]
        if shown:
            handles = [_line(grid[0], (), (), of[label]) for label in shown]
            legend(made, handles, shown)
        return drawn(name, made, caption, alt)


def _panel(axes: Axes, panel: Panel, of: Mapping[str, Look]) -> None:
    for step, _ in panel.borders[1:]:
        axes.axvline(step, color="#b5b5b5", linewidth=0.7, linestyle=(0, (2, 2)))
    for span in panel.spans:
        axes.axvspan(span.low, span.high, color="#f0e442", alpha=0.3, linewidth=0)
        axes.axvline(span.at, color="black", linewidth=0.8)
    if panel.limit is not None:
        value, label = panel.limit
        axes.axhline(value, color=GREY, linewidth=0.8, linestyle=(0, (1, 1)))
        axes.annotate(
            label, (1, value), xycoords=("axes fraction", "data"), xytext=(0, -2), fontsize=6.5,
            textcoords="offset points", ha="right", va="top", color=GREY,
        )  # fmt: skip
    for label, band in panel.bands.items():
        look = of[label]
        axes.fill_between(band.steps, band.low, band.high, color=look.colour, alpha=0.16, linewidth=0)
        _line(axes, band.steps, band.mean, look)
    axes.set_title(panel.title)
    axes.margins(x=0.02)
    if panel.limits is not None:
        axes.set_ylim(*panel.limits)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _stages(axes: Axes, panel: Panel) -> None:
    """The names of stages between title and panel."""
    if panel.borders:
        axes.set_title(panel.title, pad=12)
    begins = axes.get_xlim()[0]
    for step, label in panel.borders:
        axes.annotate(
            short(label), (max(step, begins), 1), xycoords=("data", "axes fraction"), xytext=(1, 2),
            textcoords="offset points", fontsize=6.5, va="bottom", color=GREY,
        )  # fmt: skip


def _line(axes: Axes, x: ArrayLike, y: ArrayLike, look: Look) -> Line2D:
    every = max(1, np.size(x) // _MARKERS)
    (line,) = axes.plot(
        x, y, color=look.colour, linestyle=look.dashes, marker=look.marker, markevery=every, markersize=3.5
    )
    return line
