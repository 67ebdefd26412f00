"""A report for people: a sentence for each contrast, then the figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tedg.compare.report import Outcome, Report
from tedg.statistics.aggregates import Estimate
from tedg.statistics.pairs import Difference
from tedg.study.text import rows


def lines(report: Report) -> Iterator[str]:
    """The whole report."""
    yield f"{report.study}: {report.question}" if report.question else report.study
    plan = "with a plan" if report.planned else "no plan"
    delta = f", equivalent within {report.delta:g}" if report.delta is not None else ""
    yield f"arms by {report.by}; {plan}; stop: {report.stop}; alpha {report.alpha:g}{delta}"
    yield ""
    for outcome in report.outcomes:
        yield f"{outcome.role}: {outcome.sentence}"
        yield from (f"  {note}" for note in outcome.notes)
        yield from _crossing(outcome)
        if outcome.verdict is not None:
            yield from (f"  {note}" for note in outcome.liveness if note not in outcome.sentence)
    yield ""
    yield from _contrasts(report.outcomes)
    for measure in dict.fromkeys(arm.measure for arm in report.arms):
        yield ""
        yield f"{measure}:"
        yield from _arms(report, measure)
    if report.notes:
        yield ""
        yield from report.notes


def _crossing(one: Outcome) -> Iterator[str]:
    found = one.curves.crossing if one.curves is not None else None
    if found is not None:
        ahead, then = (one.baseline, one.variant) if found.after else (one.variant, one.baseline)
        yield (
            f"  in training {ahead} is ahead until about {found.step:,.0f} env steps ({found.level:.0%} "
            f"interval {found.low:,.0f} to {found.high:,.0f}), {then} after that"
        )


def _contrasts(outcomes: Sequence[Outcome]) -> Iterator[str]:
    titles = (
        "contrast",
        "verdict",
        "n",
        "mean difference",
        "p",
        "p Holm",
        "IQM difference",
        "P(better)",
        "curve area",
        "detectable",
        "rho",
    )
    yield from rows(titles, [_contrast(one) for one in outcomes])


def _contrast(one: Outcome) -> tuple[str, ...]:
    at = "" if one.at is None else f" after {one.at:,}"
    detectable = one.outlook.points if one.outlook is not None else math.inf
    return (
        f"{one.variant} - {one.baseline}{at}",
        str(one.verdict) if one.verdict is not None else "none",
        str(len(one.seeds)),
        _interval(one.difference.mean, one.difference.low, one.difference.high) if one.difference else "-",
        _p(one.p),
        f"{_p(one.p_holm)} of {one.family}" if one.p_holm is not None and one.family > 1 else _p(one.p_holm),
        _estimate(one.iqm_difference),
        _estimate(one.improvement, ".2f"),
        _difference(one.curves.area if one.curves is not None else None),
        f"{detectable:.1f}" if math.isfinite(detectable) else "-",
        f"{one.difference.rho:.2f}" if one.difference and math.isfinite(one.difference.rho) else "-",
    )


def _arms(report: Report, measure: str) -> Iterator[str]:
    titles = ("arm", "n", "mean", "IQM", "parameters", "FLOPs", "steps/s")
    own = [
        (
            arm.name,
            f"{len(arm.seeds)} seeds",
            _estimate(arm.mean),
            _estimate(arm.iqm),
            _count(arm.parameters),
            _count(arm.flops),
            _count(arm.steps_per_second),
        )
        for arm in report.arms
        if arm.measure == measure
    ]
    players = [
        (one.player, f"{one.games} games", _estimate(one.mean), "", "", "", "") for one in report.controls
    ]
    yield from rows(titles, own + players)


def _estimate(found: Estimate | None, form: str = ".1f") -> str:
    return "-" if found is None else _interval(found.value, found.low, found.high, form)


def _difference(found: Difference | None) -> str:
    return "-" if found is None else _interval(found.mean, found.low, found.high)


def _interval(value: float, low: float, high: float, form: str = ".1f") -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:{form}}"
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
