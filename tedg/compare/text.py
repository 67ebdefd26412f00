"""A report for people: a sentence for each contrast, then the figures."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence

from tedg.compare.report import Outcome, Report
from tedg.statistics.aggregates import Estimate
from tedg.statistics.pairs import Difference
from tedg.study.text import rows


def lines(report: Report, width: int | None = None) -> Iterator[str]:
    """The whole report. Where lines have at most `width` characters, sentences are broken between words, and
    tables come in pieces, each with the first column; commands stay whole.
    """
    yield from _folded(f"{report.study}: {report.question}" if report.question else report.study, width)
    delta = f", equivalent within {report.delta:g}" if report.delta is not None else ""
    yield from _folded(f"arms by {report.by}; {_plan(report)}; alpha {report.alpha:g}{delta}", width)
    yield ""
    for outcome in report.outcomes:
        role = "" if outcome.sentence.lower().startswith(f"{outcome.role}:") else f"{outcome.role}: "
        yield from _folded(f"{role}{outcome.sentence}", width)
        told = [*outcome.notes, *crossing_told(outcome)]
        if outcome.verdict is not None:
            told += [note for note in outcome.liveness if note not in outcome.sentence]
        for note in told:
            yield from _folded(note, width, "  ")
    if remedies := list(dict.fromkeys(told for one in report.outcomes for told in one.remedies)):
        yield ""
        yield from remedies
    yield ""
    yield from _contrasts(report.outcomes, width)
    for measure in dict.fromkeys(arm.measure for arm in report.arms):
        yield ""
        yield from _folded(f"{measure}:", width)
        yield from _arms(report, measure, width)
    if report.notes:
        yield ""
        for note in report.notes:
            yield from _folded(note, width)


def crossing_told(one: Outcome) -> Iterator[str]:
    """Where the training curves of the two arms cross, in a sentence; nothing where they do not."""
    found = one.curves.crossing if one.curves is not None else None
    if found is not None:
        ahead, then = (one.baseline, one.variant) if found.after else (one.variant, one.baseline)
        yield (
            f"in training {ahead} is ahead until about {found.step:,.0f} env steps ({found.level:.0%} "
            f"interval {found.low:,.0f} to {found.high:,.0f}), {then} after that"
        )


def _plan(report: Report) -> str:
    if report.plan is None:
        return "no plan"
    written = f" of {report.plan.written[:10]}" if report.plan.written is not None else ""
    return f"plan {report.plan.digest[:10]}{written}; stop: {report.stop}"


def _table(titles: Sequence[str], content: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """A table as `rows` makes it, in as many pieces as it takes for lines of at most `width`."""
    table = [titles, *content]
    widths = [max(len(line[n]) for line in table) + 2 for n in range(len(titles))]
    pieces = [[0]]
    for n in range(1, len(titles)):
        if width is not None and len(pieces[-1]) > 1 and sum(widths[m] for m in [*pieces[-1], n]) - 2 > width:
            pieces.append([0])
        pieces[-1].append(n)
    for number, piece in enumerate(pieces):
        if number:
            yield ""
        told = [[line[n] for n in piece] for line in content]
        yield from rows([titles[n] for n in piece], [line for line in told if number == 0 or any(line[1:])])


def _folded(text: str, width: int | None, indent: str = "") -> list[str]:
    if width is None:
        return [indent + text]
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _contrasts(outcomes: Sequence[Outcome], width: int | None) -> Iterator[str]:
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
    yield from _table(titles, [_contrast(one) for one in outcomes], width)


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


def _arms(report: Report, measure: str, width: int | None) -> Iterator[str]:
    titles = ("arm", "n", "mean", "IQM", "parameters", "FLOPs", "steps/s")
    own = [
        (
            arm.name,
            _seeds(arm.seeds),
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
    yield from _table(titles, own + players, width)


def _seeds(seeds: Sequence[int]) -> str:
    different = len(set(seeds)) == len(seeds)
    return f"{len(seeds)} {'seed' if different else 'run'}{'s' * (len(seeds) > 1)}"


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
