"""The five figures of earlier reports, and what they hide; beside them what was reported elsewhere."""

from __future__ import annotations

from tedg.report.material import Material
from tedg.report.page import Section, Table, Text, columns, section
from tedg.report.reported import FIGURES
from tedg.report.words import NONE, digits, estimate, number

_SPANS = {"100": "first 100 episodes", "300": "first 300 episodes", "all": "all episodes"}
_HIDDEN = (
    "Earlier reports compared variants by five figures of training episodes. They hide three things. The "
    "first 100 episodes are played before much is learnt, and of games that begin together the shortest "
    "end first. A best-of grows with the number of episodes and says nothing of the usual one. A single "
    "run has no interval, and two runs of one variant can differ by more than two variants do."
)


def earlier(material: Material) -> Section:
    """A row for each figure and number of episodes, a column for each arm and for each that was reported."""
    runs = [run for own in material.arms.values() for run in own]
    reported = material.reported.figures if material.reported is not None else {}
    rows = []
    for span, words in _SPANS.items():
        had = {run.run_id: own for run in runs if (own := run.first_episodes.get(span))}
        for figure, name in FIGURES.items():
            found = material.over_seeds({run_id: own[figure] for run_id, own in had.items()})
            if found or reported:
                cells = [estimate(found.get(arm)) for arm in material.arms]
                cells += [digits(own.get(figure)) for own in reported.values()]
                rows.append((f"{name}, {words}", *cells))
        if had:
            counts = [
                _range([had[run.run_id]["episodes"] for run in own if run.run_id in had])
                for own in material.arms.values()
            ]
            rows.append((f"episodes among the {words}", *counts, *(NONE for _ in reported)))
    note = "Means over seeds of what each run has, with 95% intervals over seeds."
    if material.reported is not None:
        note += (
            " Columns called reported are single numbers, whatever episodes they are of, from: "
            f"{material.reported.source}"
        )
    titles = columns("figure", *material.arms, *(f"{name}, reported" for name in reported))
    blocks = (Text(_HIDDEN), Table("earlier", "Training episodes", titles, tuple(rows), note))
    lacking = "The records of these runs are of an earlier version, which did not keep them."
    return section("earlier", "Figures of earlier reports", blocks if rows else (), lacking)


def _range(counts: list[float]) -> str:
    """How many episodes these are: fewer than the name says where no more have ended."""
    if not counts:
        return NONE
    low, high = number(min(counts), ",.0f"), number(max(counts), ",.0f")
    return low if low == high else f"{low} to {high}"
