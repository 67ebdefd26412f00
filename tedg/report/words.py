"""Numbers as the page has them: plain ASCII, with a hyphen for the minus; each form sets its own sign."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tedg.statistics.aggregates import Estimate
from tedg.statistics.pairs import Difference

NONE = "\N{EN DASH}"


def number(value: float | None, form: str = ",.1f") -> str:
    """A number, or a dash where there is none; what is shown as 0 has no sign."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:{form}}"
    return text if any(digit in text for digit in "123456789") else text.removeprefix("-")


def digits(value: float | None) -> str:
    """Three digits, and whole from a thousand on."""
    return number(value, ",.0f" if value is not None and abs(value) >= 999.5 else ".3g")


def interval(value: float, low: float, high: float) -> str:
    """`12.3 [10.1, 14.5]`, with as many decimals as the width deserves; the value alone without limits."""
    half = (high - low) / 2
    if not math.isfinite(half):
        return digits(value)
    form = ",.0f" if half >= 100 else ",.1f"
    if half == 0:
        return f"{digits(value)} [{digits(low)}, {digits(high)}]"
    if half < 1:
        form = f",.{max(2, min(6, -math.floor(math.log10(half))))}f"
    return f"{number(value, form)} [{number(low, form)}, {number(high, form)}]"


def estimate(found: Estimate | None) -> str:
    """An estimate with its interval."""
    return NONE if found is None else interval(found.value, found.low, found.high)


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


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
