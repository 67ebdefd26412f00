"""Performance profiles: the share of games above each score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tedg.compare.report import Arm
from tedg.report.draw.style import Look, drawn, figure, legend, styled
from tedg.report.page import Drawing


def profiles(
    name: str, arms: Mapping[str, Arm], of: Mapping[str, Look], metric: str, measure: str, alt: str
) -> Drawing:
    """One line for each arm, with the band that holds at each height for itself."""
    with styled():
        made = figure(2.6)
        axes = made.subplots()
        handles = []
        for label, arm in arms.items():
            look, found = of[label], arm.profile
            axes.fill_between(found.taus, found.low, found.high, color=look.colour, alpha=0.16, linewidth=0)
            handles += axes.plot(
                found.taus, found.share, color=look.colour, linestyle=look.dashes, marker=look.marker,
                markevery=3, markersize=3.5,
            )  # fmt: skip
        axes.set_xlabel(f"{metric} τ")
        axes.set_ylabel(f"share of games with {metric} > τ")
        axes.set_ylim(0, 1.02)
        legend(made, handles, list(arms))
        caption = (
            f"Performance profiles, {measure}: how large a share of the held-out games scores above each "
            "height. Bands are 95% bootstrap intervals over seeds, for each height alone. They decide "
            "nothing."
        )
        return drawn(name, made, caption, alt)


def highest(arms: Sequence[Arm]) -> str:
    """What a profile shows, in a sentence: each arm's share of games above the median of all."""
    middle = arms[0].profile.taus[len(arms[0].profile.taus) // 2]
    told = []
    for arm in arms:
        at = min(range(len(arm.profile.taus)), key=lambda n: abs(arm.profile.taus[n] - middle))
        told.append(f"{arm.name} {arm.profile.share[at]:.0%}")
    return f"Falling lines of the share of games above a height. Above {middle:.1f}: {', '.join(told)}."
