"""What a study says about each of its contrasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tedg.statistics import anytime, equivalence, sign_flip
from tedg.statistics.pairs import Difference, Floats, Pairs, mean_difference


class Verdict(StrEnum):
    """`VOID` is for contrasts whose part is dead; nothing here gives it."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    VOID = "void"


class Stop(StrEnum):
    """When a study may be looked at: once, with all its seeds, or after every pair."""

    FIXED = "fixed"
    ANYTIME = "anytime"


@dataclass(frozen=True)
class Rules:
    """What the plan fixed before there were data. Raises ValueError for what makes no test.

    alpha: the chance of any false better or worse in the family of contrasts, and that of any false
    equivalent; of either in a family of several contrasts: at most twice alpha.
    delta: a difference of less than this is no difference; None: nothing is ever called equivalent.
    detect: the difference that the study is for, in the metric's units; None: delta, if there is one.
    planned: the seeds in the plan's order, which `anytime` goes by.
    """

    metric: str
    alpha: float = 0.05
    delta: float | None = None
    detect: float | None = None
    stop: Stop = Stop.FIXED
    planned: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha:g}; it must lie between 0 and 1")
        for name, value in (("delta", self.delta), ("detect", self.detect)):
            if value is not None and not 0 < value < np.inf:
                raise ValueError(f"{name} is {value:g}; it must be above 0")
        if self.stop is Stop.ANYTIME and not self.planned:
            raise ValueError("stop: anytime needs the planned seeds in their order")


@dataclass(frozen=True)
class Contrast:
    """One question of a family: is `variant` better than `baseline`? `hours` is what a pair of runs took."""

    variant: str
    baseline: str
    pairs: Pairs
    hours: float | None = None


@dataclass(frozen=True)
class Judgement:
    """The verdict on one contrast of a family of `contrasts`, and what it rests on.

    `p` is the contrast's own, `p_holm` the one that decides. `p_equivalent` is after Holm too, None without
    delta. `difference` is of the pairs that count; None if there are none. Its t interval has level 1 -
    alpha, is not corrected for the family, and under `anytime` holds for a number of pairs fixed in advance
    only.
    """

    contrast: Contrast
    rules: Rules
    contrasts: int
    verdict: Verdict
    difference: Difference | None
    p: float
    p_holm: float
    p_equivalent: float | None

    @property
    def level(self) -> float:
        """What a p of its own must not exceed to be significant whatever the other contrasts give."""
        return self.rules.alpha / self.contrasts


def judge(contrasts: Sequence[Contrast], rules: Rules) -> list[Judgement]:
    """Verdicts on all contrasts of one family, in their order.

    Better and worse come before equivalent: a small difference that is shown is a difference. Both kinds of
    claim are corrected by Holm, each over all contrasts, so that each kind is wrong anywhere in the family
    with probability alpha at most. Contrasts that turn out void must stay in the family; leaving them out
    would choose the correction by the outcome.
    """
    counted = [_counted(contrast, rules) for contrast in contrasts]
    own = [_test(pairs.difference, rules) for pairs in counted]
    adjusted = sign_flip.holm([p for p, _ in own])
    equivalent: list[float] | list[None] = [None] * len(contrasts)
    if rules.delta is not None:
        equivalent = sign_flip.holm(
            [_equivalence(pairs.difference, rules.delta, rules.stop) for pairs in counted]
        )
    judged = []
    for contrast, pairs, (p, sign), p_holm, p_equivalent in zip(
        contrasts, counted, own, adjusted, equivalent, strict=True
    ):
        verdict = Verdict.INCONCLUSIVE
        if p_holm <= rules.alpha:
            verdict = Verdict.BETTER if sign > 0 else Verdict.WORSE
        elif p_equivalent is not None and p_equivalent <= rules.alpha:
            verdict = Verdict.EQUIVALENT
        difference = mean_difference(pairs, 1 - rules.alpha) if pairs.seeds else None
        judged.append(
            Judgement(contrast, rules, len(contrasts), verdict, difference, p, p_holm, p_equivalent)
        )
    return judged


def _counted(contrast: Contrast, rules: Rules) -> Pairs:
    """The pairs that enter: all, or under `anytime` those whose predecessors have finished too."""
    return contrast.pairs if rules.stop is Stop.FIXED else contrast.pairs.prefix(rules.planned)


def _test(d: Floats, rules: Rules) -> tuple[float, int]:
    """(p, the side that it speaks for)."""
    if rules.stop is Stop.ANYTIME:
        found = anytime.two_sided(d)
        return found.p, found.sign
    return sign_flip.two_sided(d), 1 if d.sum() > 0 else -1


def _equivalence(d: Floats, delta: float, stop: Stop) -> float:
    return equivalence.fixed(d, delta) if stop is Stop.FIXED else equivalence.at_any_time(d, delta)
