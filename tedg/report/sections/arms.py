"""The arms with what they reach and cost, and the players that learn nothing on the same games."""

from __future__ import annotations

from tedg.report.material import Material
from tedg.report.page import Block, Listing, Section, Table, columns, section
from tedg.report.words import estimate, number, several


def arms(material: Material) -> Section:
    """A table for each measure: the end of training, and milestones."""
    report = material.report
    blocks: list[Block] = []
    titles = columns("player", "runs or games", "mean", "IQM", "parameters", "FLOPs", "steps/s")
    measures = list(dict.fromkeys(arm.measure for arm in report.arms))
    for n, measure in enumerate(measures):
        rows = [
            (
                arm.name,
                several(len(arm.seeds), "seed" if len(set(arm.seeds)) == len(arm.seeds) else "run"),
                estimate(arm.mean),
                estimate(arm.iqm),
                number(arm.parameters, ",.0f"),
                number(arm.flops, ",.0f"),
                number(arm.steps_per_second, ",.0f"),
            )
            for arm in report.arms
            if arm.measure == measure
        ]
        rows += [
            (one.player, several(one.games, "game"), estimate(one.mean), "", "", "", "")
            for one in report.controls
        ]
        note = (
            "Brackets are 95% intervals: of an arm over training seeds, of a player that learns nothing "
            "over games. FLOPs are those of a forward pass per state, in a batch. Steps/s are env steps per "
            "second of training."
        )
        blocks.append(Table(f"arms-{n + 1}", measure[:1].upper() + measure[1:], titles, tuple(rows), note))
    warnings = [note.removeprefix("warning: ") for note in report.notes if note.startswith("warning: ")]
    if warnings:
        blocks.append(Listing(tuple(warnings)))
    return section("arms", "Arms and players", blocks, "No run has played the games that count.")
