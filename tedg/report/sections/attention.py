"""Attention: how sparse its weights are, and over how many keys they spread."""

from __future__ import annotations

from tedg.report.draw.lines import Panel, lines
from tedg.report.material import Material
from tedg.report.page import Block, Section, Text, section
from tedg.report.sections.routing import _OLD, old
from tedg.report.sections.stages import borders

_FIGURES = {
    "attention/sparsity": ("Sparsity", "share of weights"),
    "attention/effective_keys": ("Effective keys", "keys"),
}


def attention(material: Material) -> Section:
    """Two panels over env steps, of the arms that have attention."""
    found = {name: material.training(name) for name in _FIGURES}
    blocks: list[Block] = []
    if any(found.values()):
        ends = [f"{arm} {band.mean[-1]:.1f}" for arm, band in found["attention/effective_keys"].items()]
        blocks.append(
            lines(
                "attention",
                [
                    Panel(title, unit, found[name], borders=borders(material))
                    for name, (title, unit) in _FIGURES.items()
                ],
                material.looks,
                "Sparsity is the share of attention weights below a tenth of the uniform weight. Effective "
                "keys are 1 / Σ A²: all keys where attention is uniform, 1 where it looks at one. Means "
                "over seeds, 95% t intervals.",
                f"Two panels over env steps. Effective keys at the end: {', '.join(ends)}.",
            )
        )
        blocks.append(
            Text(
                "Where a gate keeps a fixed share of the keys, sparsity is true by construction and shows "
                "nothing about what was learnt. How attention differs between states stands under Liveness."
            )
        )
    return section("attention", "Attention", blocks, _OLD if old(material) else "No arm has attention.")
