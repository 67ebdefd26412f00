"""The five figures of earlier reports, and what they hide; beside them what was reported elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from tedg.report.material import Material
from tedg.report.page import Block, Section, Table, Text, columns, section
from tedg.report.reported import FIGURES
from tedg.report.words import NONE, digits, estimate, number
from tedg.statistics.aggregates import Estimate

_SPANS = {"100": "first 100", "300": "first 300", "all": "all"}


def earlier(material: Material) -> Section:
    """A row for each arm and number of episodes."""
    rows: list[tuple[str, ...]] = []
    for span, words in _SPANS.items():
        own = _of(material, span)
        rows += [
            (
                f"{arm}, {words} episodes",
                _counts(material, arm, span),
                *(estimate(found.get(arm)) for found in own.values()),
            )
            for arm in material.arms
            if any(arm in found for found in own.values())
        ]
    if not rows and material.reported is None:
        return section(
            "earlier", "Figures of earlier reports", (), "The records of these runs do not hold them."
        )
    if material.reported is not None:
        rows += [
            (f"{name}, reported", NONE, *(digits(figures.get(figure)) for figure in FIGURES))
            for name, figures in material.reported.figures.items()
        ]
    note = "Means over seeds of what each run has, with 95% intervals over seeds."
    if material.reported is not None:
        note += f" Rows called reported are single numbers from: {material.reported.source}"
    blocks: list[Block] = [
        Text(
            "Earlier reports compared variants by five figures of training episodes. They hide three "
            "things. The first 100 episodes are played before much is learnt, and the shortest end first. "
            "A best-of grows with the number of episodes and says nothing of the usual one. A single run "
            "has no interval, and two runs of one variant can differ by more than two variants do."
        ),
        Table(
            "earlier", "Training episodes", columns("arm", "episodes", *FIGURES.values()), tuple(rows), note
        ),
    ]
    return section("earlier", "Figures of earlier reports", blocks, NONE)


def _of(material: Material, span: str) -> dict[str, Mapping[str, Estimate]]:
    runs = [run for own in material.arms.values() for run in own]
    return {
        figure: material.over_seeds(
            {run.run_id: (run.first_episodes.get(span) or {}).get(figure) for run in runs}
        )
        for figure in FIGURES
    }


def _counts(material: Material, arm: str, span: str) -> str:
    """How many episodes these are: fewer than the name says where no more have ended."""
    known = [own["episodes"] for run in material.arms[arm] if (own := run.first_episodes.get(span))]
    low, high = number(min(known), ",.0f"), number(max(known), ",.0f")
    return low if low == high else f"{low} to {high}"
