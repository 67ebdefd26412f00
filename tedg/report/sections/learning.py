"""Learning curves with their crossings, and performance profiles."""

from __future__ import annotations

from tedg.compare.text import crossing_told
from tedg.report.draw.lines import Panel, Span, lines
from tedg.report.draw.profiles import highest, profiles
from tedg.report.draw.style import looks
from tedg.report.material import Material
from tedg.report.page import Block, Listing, Section, Text, section
from tedg.report.sections.stages import borders
from tedg.report.sections.verdict import lead


def curves(material: Material) -> Section:
    """Training curves of all arms."""
    found = material.scores()
    blocks: list[Block] = []
    crossings = [one for one in lead(material) if one.curves is not None and one.curves.crossing is not None]
    if found:
        metric = "return" if material.measure.metric == "return" else "score"
        spans = tuple(
            Span(cross.step, cross.low, cross.high, f"{one.variant} and {one.baseline}")
            for one in crossings
            if one.curves is not None and (cross := one.curves.crossing) is not None
        )
        last = ", ".join(f"{arm} {band.mean[-1]:.1f}" for arm, band in found.items())
        counts = ", ".join(f"{arm} {len(material.arms[arm])}" for arm in found)
        crossed = " A vertical line with a yellow interval is where two arms cross for good." if spans else ""
        blocks.append(
            lines(
                "learning",
                [Panel("", f"{metric} of training episodes", found, spans=spans, borders=borders(material))],
                material.looks,
                f"Learning curves: mean {metric} of training episodes, over seeds ({counts}). Bands are 95% "
                f"t intervals over seeds, at each step alone.{crossed} Training episodes are played while "
                "learning; verdicts rest on held-out games.",
                f"Lines of mean {metric} over env steps. At the end: {last}.",
                height=2.7,
            )
        )
        told = tuple(sentence for one in lead(material) for sentence in crossing_told(one))
        blocks.append(
            Listing(told) if told else Text("The curves of no contrast above are shown to cross for good.")
        )
    return section("curves", "Learning curves", blocks, "The records of these runs hold no training curves.")


def shares(material: Material) -> Section:
    """Performance profiles, one figure for each measure."""
    blocks: list[Block] = []
    arms = material.report.arms
    for n, measure in enumerate(dict.fromkeys(arm.measure for arm in arms)):
        own = {arm.name: arm for arm in arms if arm.measure == measure}
        of = {**looks(own), **material.looks}
        metric = material.measure.metric
        blocks.append(profiles(f"profile-{n + 1}", own, of, metric, measure, highest(list(own.values()))))
    return section("profiles", "Performance profiles", blocks, "No run has played the games that count.")
