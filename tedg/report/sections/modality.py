"""The two streams, vision and logic: how much each of them moves the policy."""

from __future__ import annotations

from collections.abc import Mapping

from tedg.report.draw.dots import dots
from tedg.report.material import Material
from tedg.report.page import Block, Section, Table, columns, section
from tedg.report.words import estimate
from tedg.statistics.aggregates import Estimate

_LACKING = "The records of these runs hold no figures of modalities."


def modality(material: Material) -> Section:
    """Shares as a figure, and all figures as a table."""
    runs = [run for own in material.arms.values() for run in own]
    keys = dict.fromkeys(key for run in runs for key in run.modality)
    found = {key: material.over_seeds({run.run_id: run.modality.get(key) for run in runs}) for key in keys}
    known = {key: own for key, own in found.items() if own}
    shares = {key: own for key, own in known.items() if "share" in key}
    blocks: list[Block] = []
    if shares:
        told = "; ".join(f"{key}: {_told(own)}" for key, own in shares.items())
        blocks.append(
            dots(
                "modality",
                shares,
                material.looks,
                "share",
                "Shares of the modalities, means over seeds with 95% t intervals.",
                f"Dots with intervals. {told}.",
            )
        )
    if known:
        rows = [
            (key, *(estimate(own.get(arm), ",.3g") for arm in material.arms)) for key, own in known.items()
        ]
        blocks.append(
            Table(
                "modality",
                "Figures of the modalities",
                columns("figure", *material.arms),
                tuple(rows),
                "Means over seeds with 95% intervals over seeds.",
            )
        )
    return section("modality", "Modalities", blocks, _LACKING)


def _told(own: Mapping[str, Estimate]) -> str:
    return ", ".join(f"{arm} {found.value:.2f}" for arm, found in own.items())
