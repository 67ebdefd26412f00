"""What the rounds add up to: medians, ratios, and the physical limit with the share of it that is reached."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from tedg.bench.plan import Measurement

Row = dict[str, Any]
RATE = "steps_per_second"


def limit(nle_steps_per_second: float, matrix_flops_per_second: float, flops_per_step: float) -> float:
    """Steps per second if nothing but the games' core and the network's products took time, in turn."""
    return 1 / (1 / nle_steps_per_second + flops_per_step / matrix_flops_per_second)


def parts(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """The rows of every part that was measured, by its name; of `limit` the machine's rates as well."""
    found: dict[str, Any] = {}
    for part in dict.fromkeys(one.part for one in measurements):
        members = [one for one in measurements if one.part == part and one.rounds]
        if part == "limit":
            found[part] = _limit(members, found.get("end-to-end", []))
        else:
            found[part] = [_row(one, _reference(one, members)) for one in members]
    return found


def _reference(one: Measurement, members: Sequence[Measurement]) -> Measurement:
    """What a measurement is compared with: of several sizes the fastest, of several variants the first."""
    if "variant" in one.labels:
        return members[0]
    alike = [other for other in members if other.labels.get("over") == one.labels.get("over")]
    return max(alike, key=lambda other: median(figures[RATE] for figures in other.rounds))


def _row(one: Measurement, reference: Measurement) -> Row:
    pairs = zip(one.rounds, reference.rounds, strict=False)  # a round may have failed
    relative = _summary([mine[RATE] / other[RATE] for mine, other in pairs])
    return {**one.labels, **_summaries(one), "relative": relative}


def _summaries(one: Measurement) -> Row:
    """Each figure over the rounds; where it is not a number, that of the last round."""
    last = one.rounds[-1]
    numbers = {name for name, value in last.items() if isinstance(value, int | float)}
    return {
        name: _summary([figures[name] for figures in one.rounds]) if name in numbers else value
        for name, value in last.items()
    }


def _summary(values: Sequence[float]) -> Row:
    return {"median": median(values), "low": min(values), "high": max(values), "rounds": list(values)}


def _limit(members: Sequence[Measurement], end_to_end: Sequence[Row]) -> Row:
    rates = {one.labels["rate"]: _summaries(one) for one in members if "rate" in one.labels}
    nle = rates["NLE"][RATE] if "NLE" in rates else None
    matrix = rates["matrix"]["flops_per_second"] if "matrix" in rates else None
    reached = {row["variant"]: row[RATE]["median"] for row in end_to_end}
    rows: list[Row] = []
    for one in members:
        if "variant" in one.labels:
            row = {**one.labels, **one.rounds[0], RATE: reached.get(one.labels["variant"])}
            if nle is not None and matrix is not None:
                flops = row["acting_flops"] + row["learning_flops"]
                row["limit_steps_per_second"] = limit(nle["median"], matrix["median"], flops)
                row["share"] = row[RATE] and row[RATE] / row["limit_steps_per_second"]
            rows.append(row)
    return {"nle_steps_per_second": nle, "matrix_flops_per_second": matrix, "variants": rows}
