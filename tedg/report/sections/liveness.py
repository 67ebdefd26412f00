"""Were the parts alive? Figures of the trained policies, and what the contrasts say of them."""

from __future__ import annotations

from tedg.compare.liveness import MAX_LOG_RATIO
from tedg.report.material import Material
from tedg.report.page import Block, Listing, Section, Table, columns, section
from tedg.report.words import number


def liveness(material: Material) -> Section:
    """The sentences of the contrasts, then a row for each figure: the range over an arm's runs."""
    told = tuple(dict.fromkeys(note for one in material.report.outcomes for note in one.liveness))
    blocks: list[Block] = [Listing(told)] if told else []
    every = [run for runs in material.arms.values() for run in runs]
    keys = dict.fromkeys(
        key for run in every for key, value in run.liveness.items() if not isinstance(value, str)
    )
    rows = [
        (key, *(_range([run.liveness.get(key) for run in runs]) for runs in material.arms.values()))
        for key in keys
    ]
    ratios = [_range([run.max_log_ratio for run in runs]) for runs in material.arms.values()]
    rows.append(("largest |log ratio| before an update", *ratios))
    note = (
        "The least and the most over an arm's runs, of states from held-out games. Gradients are norms, "
        "influence is in nats. A gradient, a variation or an influence of exactly 0 in every run is a dead "
        f"part, and a |log ratio| above {MAX_LOG_RATIO:g} a learner that does not learn the policy that "
        "acted; either makes a contrast void."
    )
    blocks.append(
        Table(
            "liveness",
            "Liveness of the trained policies",
            columns("figure", *material.arms),
            tuple(rows),
            note,
        )
    )
    return section("liveness", "Liveness", blocks, "")


def _range(values: list[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    if not known:
        return number(None)
    low, high = number(known[0], ".3g"), number(known[-1], ".3g")
    return low if low == high else f"{low} to {high}"
