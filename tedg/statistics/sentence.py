"""A judgement as one plain sentence, with what would settle it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tedg.statistics import power, sign_flip
from tedg.statistics.verdict import Judgement, Rules, Stop, Verdict


@dataclass(frozen=True)
class Outlook:
    """What the study could see, and what seeing `target` takes, with power 0.8 at the level of one contrast.

    `effect` is the minimal detectable effect as d_z, `points` the same in the metric's units; both are
    infinite where the pairs can never decide. `pairs` is the number needed for `target`, None for more than
    `power.MOST_PAIRS`; `more` is what is missing of it. `hours` are those of `more` where the plan has so
    many seeds and may be looked at any time, else of a new study of `pairs`: what was judged once must not go
    on. All but `effect` rest on the spread of the pairs at hand, which few pairs measure badly.
    """

    effect: float
    points: float
    target: float
    pairs: int | None
    more: int | None
    hours: float | None


def outlook(judgement: Judgement) -> Outlook | None:
    """None where the pairs have no spread to reckon with (fewer than two, or all alike).

    The target is the plan's `detect`, else its `delta`, else half of what the study could see. It is never
    the difference that was found: that would call every study nearly large enough.
    """
    rules, difference = judgement.rules, judgement.difference
    if difference is None or not difference.deviation > 0:
        return None
    early = rules.stop is Stop.ANYTIME
    effect = power.minimal_effect(difference.n, judgement.level, at_any_time=early)
    points = effect * difference.deviation
    target = rules.detect or rules.delta or (points / 2 if math.isfinite(points) else difference.deviation)
    pairs = power.pairs_needed(target / difference.deviation, judgement.level, at_any_time=early)
    more = None if pairs is None else max(0, pairs - difference.n)
    per_pair = judgement.contrast.hours
    taken = more if _goes_on(rules, pairs) else pairs
    hours = None if taken is None or per_pair is None else taken * per_pair
    return Outlook(effect, points, target, pairs, more, hours)


def sentence(judgement: Judgement) -> str:
    """The verdict in one sentence, ending in a full stop."""
    contrast, rules, verdict = judgement.contrast, judgement.rules, judgement.verdict

    def what(relation: str) -> str:
        return f"{contrast.variant} {relation} {contrast.baseline} in {rules.metric}"

    if judgement.difference is None:
        return f"Nothing can be said of {what('against')}: no pair of runs counts yet."
    claim = {
        Verdict.BETTER: what("is better than"),
        Verdict.WORSE: what("is worse than"),
        Verdict.EQUIVALENT: f"{what('is equivalent to')} within {rules.delta or 0:g}",
        Verdict.INCONCLUSIVE: f"It is open whether {what('differs from')}",
        Verdict.VOID: f"The comparison is void: {what('against')}",
    }[verdict]
    text = f"{claim}: {figures(judgement)}"
    small = judgement.p_equivalent is not None and judgement.p_equivalent <= rules.alpha
    if verdict in (Verdict.BETTER, Verdict.WORSE):
        return f"{text}, though the difference is shown to be below {rules.delta:g}." if small else f"{text}."
    if verdict is Verdict.INCONCLUSIVE:
        return f"{text}; {_what_would_settle(judgement)}."
    return f"{text}."


def figures(judgement: Judgement, *, tested: bool = True) -> str:
    """The difference with its interval and, where it may decide something, the p that does."""
    difference, rules = judgement.difference, judgement.rules
    assert difference is not None
    early = rules.stop is Stop.ANYTIME
    test = "anytime-valid" if early else "exact sign-flip"
    p = judgement.p_holm
    if judgement.verdict is Verdict.EQUIVALENT and judgement.p_equivalent is not None:
        test, p = f"{'anytime-valid ' if early else ''}TOST", judgement.p_equivalent
    interval = f"{difference.level:.0%} interval {_points(difference.low)} to {_points(difference.high)}"
    if difference.n == 1:
        interval = "one pair has no interval"
    holm = f" after Holm over {judgement.contrasts} contrasts" if judgement.contrasts > 1 else ""
    pairs = f"{difference.n} paired seed{'s' * (difference.n != 1)}"
    decides = f", {test} p = {p:.2g}{holm}" if tested else ""
    return f"difference {_points(difference.mean)} over {pairs} ({interval}{decides})"


def _what_would_settle(judgement: Judgement) -> str:
    assert judgement.difference is not None
    n = judgement.difference.n
    least = sign_flip.seeds_to_decide(judgement.contrasts, judgement.rules.alpha)
    found = outlook(judgement)
    parts = []
    if n < least:
        parts.append(
            f"{n} pair{'s' * (n != 1)} can never decide it: at least {least} are needed, {least - n} more"
        )
    elif found is not None and math.isfinite(found.points):
        seen = points(found.points)
        parts.append(f"a true difference of {seen} would have been seen with power {power.POWER}")
    if found is None and n >= least:
        parts.append("the pairs have no spread to reckon more seeds from")
    elif found is not None:
        parts.append(_more_seeds(found, judgement.rules))
    return "; ".join(parts)


def _goes_on(rules: Rules, pairs: int | None) -> bool:
    return rules.stop is Stop.ANYTIME and pairs is not None and pairs <= len(rules.planned)


def _more_seeds(found: Outlook, rules: Rules) -> str:
    target = points(found.target)
    if found.more is None:
        return f"more than {power.MOST_PAIRS:,} seeds would be needed to detect {target}"
    if found.more == 0:
        return f"more seeds would serve only to detect less than {target}"
    takes = ""
    if found.hours is not None:
        long = f"{points(found.hours)} hours" if found.hours >= 1 else f"{points(60 * found.hours)} minutes"
        takes = f" ({long} at the measured speed)"
    seeds = f"a new study of {found.pairs} seeds"
    if _goes_on(rules, found.pairs):
        seeds = f"{found.more} more seed{'s' * (found.more != 1)}"
    return f"{seeds}{takes} would detect {target} with power {power.POWER}"


def points(value: float) -> str:
    """Three digits, and never an exponent where there are more: 0.0123, 12.3, 1,230."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _points(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{points(abs(value))}"
