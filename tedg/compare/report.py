"""What a comparison says, as data: `text.py` prints it, `content` is its JSON."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tedg.compare.find import Planned
from tedg.compare.questions import Role
from tedg.statistics.aggregates import Estimate, Profile
from tedg.statistics.crossing import Crossing
from tedg.statistics.pairs import Difference
from tedg.statistics.sentence import Outlook
from tedg.statistics.verdict import Verdict

SCHEMA = 1


@dataclass(frozen=True)
class Curves:
    """The paired difference of mean heights of training curves of score (for the metric `return`, of return)
    from env step `first` to `last`, at most to the milestone that is judged.
    """

    area: Difference
    first: float
    last: float
    crossing: Crossing | None


@dataclass(frozen=True)
class Outcome:
    """One contrast. `verdict` is None where `no_verdict` says why there is none, unless it is void.

    `p_holm` and `p_equivalent` are adjusted over the `family` tests of its role. Without a verdict there is
    no p.
    `differences` are variant minus baseline in the order of `seeds`.
    """

    variant: str
    baseline: str
    measure: str
    at: int | None
    role: Role
    verdict: Verdict | None
    no_verdict: tuple[str, ...]
    sentence: str
    notes: tuple[str, ...]
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    difference: Difference | None
    family: int
    p: float | None
    p_holm: float | None
    p_equivalent: float | None
    iqm_difference: Estimate | None
    improvement: Estimate | None
    curves: Curves | None
    outlook: Outlook | None
    liveness: tuple[str, ...]
    remedies: tuple[str, ...]  # how to come by what is missing


@dataclass(frozen=True)
class Arm:
    """One arm. `mean` is over seeds with a t interval; `profile` over its games."""

    name: str
    measure: str
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    mean: Estimate
    iqm: Estimate
    profile: Profile
    parameters: int | None
    flops: int | None
    steps_per_second: float | None


@dataclass(frozen=True)
class Control:
    """A player that learns nothing, on the same games; its interval is over games."""

    player: str
    games: int
    mean: Estimate


@dataclass(frozen=True)
class Report:
    """Everything about a study."""

    study: str
    question: str | None
    by: str
    plan: Planned | None
    alpha: float
    delta: float | None
    stop: str | None  # None without a plan
    notes: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    arms: tuple[Arm, ...]
    controls: tuple[Control, ...]


def content(report: Any) -> dict[str, Any]:
    """A report for a JSON file; what is not finite is null."""
    plain: dict[str, Any] = {"schema": SCHEMA, **_plain(dataclasses.asdict(report))}
    return plain


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, np.ndarray):
        return _plain(node.tolist())
    if isinstance(node, list | tuple):
        return [_plain(item) for item in node]
    if isinstance(node, float):
        return float(node) if math.isfinite(node) else None
    return str(node) if isinstance(node, str) else node
