"""`--power`: how many seeds and hours a difference takes, from the spread of a pilot study."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from scipy import stats

from tedg.compare.find import Study
from tedg.compare.judging import compare
from tedg.compare.questions import Asked
from tedg.compare.report import Outcome
from tedg.errors import ConfigError
from tedg.statistics.power import MOST_PAIRS, POWER, pairs_needed
from tedg.study.text import rows

_CAUTION = 0.8  # the spread is below the cautious one in this share of pilots


@dataclass(frozen=True)
class Need:
    """Pairs of seeds that detect `target` with power 0.8, if the spread is the pilot's, and if it is as large
    as the pilot may hide. None: more than 1,000. `hours` are for `fixed`.
    """

    variant: str
    baseline: str
    pilot_pairs: int
    spread: float
    cautious_spread: float
    target: float
    contrasts: int
    fixed: int | None
    fixed_cautious: int | None
    anytime: int | None
    hours: float | None


@dataclass(frozen=True)
class Needs:
    """Those of all contrasts."""

    needs: tuple[Need, ...]

    def lines(self) -> Iterator[str]:
        """A table, and what it rests on."""
        titles = (
            "contrast",
            "pilot pairs",
            "spread",
            "to detect",
            "seeds",
            "hours",
            "cautious seeds",
            "anytime seeds",
        )
        yield from rows(
            titles,
            [
                (
                    f"{one.variant} - {one.baseline}",
                    str(one.pilot_pairs),
                    f"{one.spread:.1f}",
                    f"{one.target:g}",
                    _count(one.fixed),
                    "-" if one.hours is None else f"{one.hours:.1f}",
                    f"{_count(one.fixed_cautious)} ({one.cautious_spread:.1f})",
                    _count(one.anytime),
                )
                for one in self.needs
            ],
        )
        yield ""
        contrasts = self.needs[0].contrasts
        corrected = f", p corrected for {contrasts} contrasts" if contrasts > 1 else ""
        yield (
            f"Seeds: pairs that detect the difference with power {POWER}{corrected}, if paired differences "
            "scatter as in the pilot (spread: their standard deviation). Cautious seeds: if they scatter by "
            f"the number in brackets, which the true spread exceeds in {1 - _CAUTION:.0%} of such pilots. "
            "Anytime seeds: those of `stop: anytime`. Hours: machine time of both arms for `seeds`, at the "
            "pilot's speed and budget."
        )


def needs(study: Study, asked: Asked) -> Needs:
    """One for each contrast that two pairs or more have run. Raises ConfigError where there is none."""
    report = compare(study, Asked(asked.by, asked.baseline, asked.metric, asked.cap, asked.at, peek=True))
    target = asked.detect or (study.plan.detect or study.plan.delta if study.plan is not None else None)
    if target is None:
        raise ConfigError("which difference should the study detect? --detect POINTS, in units of the metric")
    found = [
        _need(study, one, target, report.alpha)
        for one in report.outcomes
        if one.difference is not None and one.difference.deviation > 0
    ]
    if not found:
        raise ConfigError(
            f"{study.name} has no contrast with two finished pairs that differ: no spread to go by"
        )
    return Needs(tuple(found))


def _need(study: Study, one: Outcome, target: float, alpha: float) -> Need:
    assert one.difference is not None
    n, spread = one.difference.n, one.difference.deviation
    cautious = spread * math.sqrt((n - 1) / stats.chi2.ppf(1 - _CAUTION, n - 1))
    level = alpha / one.family
    fixed = pairs_needed(target / spread, level)
    runs = [
        run
        for run in study.records
        if run.seed in one.seeds and run.seconds is not None and run.status == "finished"
    ]
    per_run = sum(run.seconds or 0.0 for run in runs) / len(runs) / 3600 if runs else None
    return Need(
        one.variant,
        one.baseline,
        n,
        spread,
        cautious,
        target,
        one.family,
        fixed,
        pairs_needed(target / cautious, level),
        pairs_needed(target / spread, level, at_any_time=True),
        None if fixed is None or per_run is None else 2 * per_run * fixed,
    )


def _count(pairs: int | None) -> str:
    return f"over {MOST_PAIRS:,}" if pairs is None else str(pairs)
