"""The router: which experts are used, stage after stage, and how decided it is."""

from __future__ import annotations

import math
import re

import numpy as np

from tedg.report.draw.lines import Panel, lines
from tedg.report.draw.style import looks, short
from tedg.report.material import Material
from tedg.report.page import Block, Section, Table, columns, section
from tedg.report.sections.stages import borders, stage_ends
from tedg.report.words import estimate
from tedg.statistics.aggregates import mean

_USAGE = re.compile(r"router/usage_(\d+)")
_ENTROPIES = {
    "router/entropy": ("E[H]: how undecided in a state", "nats"),
    "router/usage_entropy": ("H(E): how evenly over all states", "nats"),
    "router/specialisation": ("I(expert; state) = H(E) \N{MINUS SIGN} E[H]", "nats"),
}
_OLD = "The records of these runs are of an earlier version, which kept no figures of training updates."


def experts(material: Material) -> Section:
    """Shares of the experts over env steps, a panel for each arm, and at the end of each stage."""
    names = usages(material)
    of = looks(f"expert {name.rpartition('_')[2]}" for name in names)
    found = {label: material.training(name) for label, name in zip(of, names, strict=True)}
    arms = [arm for arm in material.arms if any(arm in bands for bands in found.values())]
    blocks: list[Block] = []
    if arms:
        panels = [
            Panel(
                short(arm),
                "share",
                {label: bands[arm] for label, bands in found.items() if arm in bands},
                limits=(0, 1),
                borders=borders(material),
            )
            for arm in arms
        ]
        blocks.append(
            lines(
                "experts",
                panels,
                of,
                "Mean share of each expert in the policy's mixture, over seeds with 95% t intervals. "
                "Dotted lines are where a stage begins. An expert has the same meaning in all runs only as "
                "far as the alignment loss holds the router to the operators; without it, wide intervals "
                "are experts that changed places.",
                "Lines of each expert's share over env steps, a panel for each arm. The table below has "
                "the shares at the end of each stage.",
                across=2 if len(arms) > 1 else 1,
            )
        )
        blocks.append(_table(material, names))
    return section(
        "experts", "Expert use over stages", blocks, _OLD if old(material) else "No run has several experts."
    )


def usages(material: Material) -> list[str]:
    """The figures of the experts' shares that some run has, by their numbers."""
    known = {name for runs in material.arms.values() for run in runs for name in run.training.figures}
    return sorted(
        (name for name in known if _USAGE.fullmatch(name)), key=lambda name: int(name.rpartition("_")[2])
    )


def old(material: Material) -> bool:
    """Whether no run has figures of training updates."""
    return not any(run.training.figures for runs in material.arms.values() for run in runs)


def _table(material: Material, names: list[str]) -> Table:
    rows = []
    for arm, runs in material.arms.items():
        for stage, ends in stage_ends(runs).items():
            row = [f"{arm}, end of {stage}"]
            for name in names:
                values = [run.training.figures[name][at] for run, at in ends if name in run.training.figures]
                known = np.array([value for value in values if value is not None], float)
                row.append(estimate(mean(known) if len(known) else None))
            rows.append(tuple(row))
    titles = columns("arm and stage", *(f"expert {name.rpartition('_')[2]}" for name in names))
    return Table(
        "experts",
        "Shares of the experts at the end of each stage",
        titles,
        tuple(rows),
        "Brackets: 95% over seeds.",
    )


def entropy(material: Material) -> Section:
    """The two entropies of the router, and their difference."""
    found = {name: material.training(name) for name in _ENTROPIES}
    blocks: list[Block] = []
    if any(found.values()):
        most = len(usages(material))
        limit = (math.log(most), f"ln {most}: all alike") if most > 1 else None
        panels = [
            Panel(
                title,
                unit,
                found[name],
                None if name.endswith("specialisation") else limit,
                borders=borders(material),
            )
            for name, (title, unit) in _ENTROPIES.items()
        ]
        ends = [
            f"{arm} {bands[arm].mean[-1]:.2f}" for bands in (found["router/specialisation"],) for arm in bands
        ]
        blocks.append(
            lines(
                "router",
                panels,
                material.looks,
                "Entropies of the router in nats, means over seeds with 95% t intervals. E[H] is the mean "
                "entropy in a state, H(E) that of the mean shares. Their difference I(expert; state) is "
                "how much the choice says about the state: 0 where all states get the same mixture.",
                f"Three panels over env steps. I(expert; state) at the end: {', '.join(ends)}.",
            )
        )
    return section("router", "Router entropy", blocks, _OLD if old(material) else "No run has a router.")
