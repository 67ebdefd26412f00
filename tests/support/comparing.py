"""Made-up studies of V3 and V4, and what a comparison says of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from support.records import arm
from tedg.compare.find import Study
from tedg.compare.judging import compare
from tedg.compare.questions import Asked
from tedg.compare.report import Outcome, Report
from tedg.config.plan import PlanConfig
from tedg.config.typed import Faults, read
from tedg.store.record import RunRecord

SPREAD = np.array([-3.0, 1, 4, -2, 2, -1, 3, -4, 0.5, -0.5])  # sum 0
BASE = 80 + 5 * np.cos(np.arange(10.0))
PLAN: dict[str, Any] = {
    "question": "Does attention help?",
    "by": "fusion",
    "primary": [["cross_attn", "concat"]],
    "seeds": list(range(10)),
}


def two(more: float = 5, plan: Any = PLAN, **changes: Any) -> list[RunRecord]:
    """Ten pairs of V3 and V4, of which V4 scores `more`; `changes` are V4's."""
    return arm("concat", BASE, plan=plan) + arm("cross_attn", BASE + SPREAD + more, plan=plan, **changes)


def said(records: Sequence[RunRecord], plan: Any = PLAN, asked: Asked | None = None, **more: Any) -> Report:
    planned = None if plan is None else read(PlanConfig, plan, "plan", Faults())
    return compare(
        Study("mine", "multirun/mine", tuple(records), plan=planned, **more), asked or Asked(by="fusion")
    )


def one(records: Sequence[RunRecord], plan: Any = PLAN, asked: Asked | None = None) -> Outcome:
    (outcome,) = said(records, plan, asked).outcomes
    return outcome


def only(records: Sequence[RunRecord], *seeds: int, fusion: str = "cross_attn") -> list[RunRecord]:
    """Without the other seeds of this arm."""
    return [r for r in records if r.options["fusion"] != fusion or r.seed in seeds]


def changed(records: Sequence[RunRecord], seed: int, **fields: Any) -> list[RunRecord]:
    """With these fields in V4's run of this seed."""
    return [
        dataclasses.replace(r, **fields) if (r.options["fusion"], r.seed) == ("cross_attn", seed) else r
        for r in records
    ]
