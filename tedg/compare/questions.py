"""Which contrasts are looked at, in which families, and which of them may have a verdict."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tedg.compare.arms import Arms
from tedg.compare.scores import Measure
from tedg.config.plan import PlanConfig
from tedg.errors import ConfigError
from tedg.spelling import did_you_mean

# What stands for "without attention" where nobody names a baseline.
_BASELINES = ("concat", "v3", "ConcatFusion")


class Role(StrEnum):
    """How much a contrast may say. A family is corrected for itself."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    EXPLORATORY = "exploratory"  # there is no plan: a verdict, named so
    OUTSIDE = "outside the plan"  # figures and no verdict


@dataclass(frozen=True)
class Question:
    """Is `variant` better than `baseline`, by this measure?"""

    variant: str
    baseline: str
    measure: Measure
    role: Role


@dataclass(frozen=True)
class Asked:
    """What the command line says; None and False where it says nothing."""

    by: str | None = None
    baseline: str | None = None
    metric: str | None = None
    cap: int | None = None
    at: int | None = None
    peek: bool = False
    detect: float | None = None

    @classmethod
    def of(cls, given: Namespace) -> Asked:
        """From the flags of `compare/flags.py`."""
        return cls(given.by, given.baseline, given.metric, given.cap, given.at, given.peek, given.detect)


def questions(arms: Arms, by: str, asked: Asked, plan: PlanConfig | None) -> list[Question]:
    """All contrasts, the plan's first. Raises ConfigError where there is no baseline to compare with."""
    if plan is None:
        measure = Measure(asked.metric or "score", asked.cap, asked.at)
        return _against(arms, _baseline(arms, asked.baseline), measure, Role.EXPLORATORY)
    measure = Measure(asked.metric or plan.metric, asked.cap or plan.cap)
    times = (*plan.milestones, None)
    as_planned = by == plan.by and measure == Measure(plan.metric, plan.cap)
    if asked.at is not None and asked.at not in times:
        times, as_planned = (asked.at,), False
    families = ((Role.PRIMARY, plan.primary), (Role.SECONDARY, plan.secondary))
    found = [
        Question(variant, baseline, replace(measure, at=at), role if as_planned else Role.OUTSIDE)
        for role, contrasts in families
        for at in times
        for variant, baseline in contrasts
        if by == plan.by
    ]
    if asked.baseline is None and found:
        return found
    known = {(one.variant, one.baseline, one.measure.at) for one in found}
    more = _against(arms, _baseline(arms, asked.baseline), replace(measure, at=asked.at), Role.OUTSIDE)
    return found + [one for one in more if (one.variant, one.baseline, one.measure.at) not in known]


def family(every: Sequence[Question], role: Role) -> list[Question]:
    """The questions of one role."""
    return [one for one in every if one.role is role]


def _against(arms: Iterable[str], baseline: str, measure: Measure, role: Role) -> list[Question]:
    return [Question(arm, baseline, measure, role) for arm in arms if arm != baseline]


def _baseline(arms: Arms, asked: str | None) -> str:
    if len(arms) < 2:
        raise ConfigError(f"there is one arm only, {next(iter(arms))}: nothing to compare it with")
    if asked is None:
        found = next((name for name in _BASELINES if name in arms), None)
        if found is None:
            raise ConfigError(f"which arm is the baseline? --baseline one of {', '.join(arms)}")
        return found
    if asked not in arms:
        near = did_you_mean(asked, arms)
        raise ConfigError(f"--baseline {asked}: no run has it{near}; there are {', '.join(arms)}")
    return asked
