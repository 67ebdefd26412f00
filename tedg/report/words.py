"""Numbers as the page has them: plain ASCII, with a hyphen for the minus; each form sets its own sign."""

from __future__ import annotations

import math

from tedg.statistics.aggregates import Estimate
from tedg.statistics.pairs import Difference

NONE = "\N{EN DASH}"


def number(value: float | None, form: str = ",.1f") -> str:
    """A number, or a dash where there is none."""
    return NONE if value is None or not math.isfinite(value) else f"{value:{form}}"


def interval(value: float, low: float, high: float, form: str = ",.1f") -> str:
    """`12.3 [10.1, 14.5]`; the value alone where there are no limits."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(value, form)
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def estimate(found: Estimate | None, form: str = ",.1f") -> str:
    """An estimate with its interval."""
    return NONE if found is None else interval(found.value, found.low, found.high, form)


def difference(found: Difference | None) -> str:
    """A paired difference with its interval."""
    return NONE if found is None else interval(found.mean, found.low, found.high)


def p_value(value: float | None) -> str:
    """Two digits, never 0."""
    if value is None:
        return NONE
    return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"


def several(count: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {what}{'s' * (count != 1)}"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
