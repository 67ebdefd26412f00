"""Medians and ratios of alternating runs, and the tables that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Group
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and extremes of some figures."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ValueError for no values."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Steps per second of each contestant, and every tedg's share of every peer's."""

    speeds: dict[str, Spread]
    ratios: dict[str, dict[str, Spread]]  # ratios[tedg][peer], each from runs of the same round

    @classmethod
    def of(cls, runs: Mapping[str, Sequence[float]], peers: Sequence[str]) -> Comparison:
        """From steps per second by contestant, in the order of rounds; the rest of `runs` are tedg's.

        A ratio is taken within each round, whose runs were next to each other, and then its median.
        """
        ours = [name for name in runs if name not in peers]
        return cls(
            speeds={name: Spread.of(values) for name, values in runs.items()},
            ratios={
                mine: {
                    peer: Spread.of([a / b for a, b in zip(runs[mine], runs[peer], strict=True)])
                    for peer in peers
                    if peer in runs
                }
                for mine in ours
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def tables(comparison: Comparison, titles: Mapping[str, str]) -> Group:
    """The comparison for people; `titles` has each contestant's full name."""
    speeds = Table(title="env steps per second, collected and learnt from", title_justify="left")
    speeds.add_column("")
    for column in ("median", "min", "max"):
        speeds.add_column(column, justify="right")
    for name, spread in comparison.speeds.items():
        speeds.add_row(titles[name], *(f"{x:,.0f}" for x in (spread.median, spread.min, spread.max)))
    ratios = Table(title="ratio of two in the same round", title_justify="left")
    ratios.add_column("")
    for column in ("median", "min", "max"):
        ratios.add_column(column, justify="right")
    for mine, row in comparison.ratios.items():
        for peer, spread in row.items():
            figures = (f"{x:.2f}" for x in (spread.median, spread.min, spread.max))
            ratios.add_row(f"{titles[mine]} / {titles[peer]}", *figures)
    return Group(speeds, ratios) if ratios.row_count else Group(speeds)
