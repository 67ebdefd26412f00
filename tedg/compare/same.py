"""`--aa`: one arm against itself, split into two lists of seeds again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tedg.compare.arms import by_seed, choose, group
from tedg.compare.find import Study
from tedg.compare.judging import rules
from tedg.compare.questions import Asked
from tedg.compare.scores import Measure, spelt_budgets
from tedg.errors import ConfigError
from tedg.spelling import did_you_mean
from tedg.statistics.aa import FalsePositives, resplit
from tedg.statistics.sign_flip import seeds_to_decide
from tedg.statistics.verdict import Rules


@dataclass(frozen=True)
class Same:
    """How often an arm was better or worse than itself, and how often the test may say so."""

    arm: str
    runs: int
    alpha: float
    false_positives: FalsePositives

    def __str__(self) -> str:
        found = self.false_positives
        return (
            f"{self.arm} against itself: better or worse in {found.found:,} of {found.studies:,} splits of "
            f"its {self.runs} seeds, {found.rate:.1%} ({found.level:.0%} limits {found.low:.1%} to "
            f"{found.high:.1%}); the test allows {self.alpha:.0%}"
        )


def against_itself(study: Study, name: str, asked: Asked) -> Same:
    """How often the arm is better or worse than itself. Raises ConfigError for an arm of too few runs."""
    plan = study.plan
    by = asked.by or (plan.by if plan is not None else choose(study.records))
    arms = group(study.records, by)
    if name not in arms:
        near = did_you_mean(name, arms)
        raise ConfigError(f"--aa {name}: no run of {study.name} has it{near}; there are {', '.join(arms)}")
    metric = asked.metric or (plan.metric if plan is not None else "score")
    measure = Measure(metric, asked.cap or (plan.cap if plan is not None else None), asked.at)
    runs = [runs[0] for _, runs in sorted(by_seed(arms[name]).items())]
    if len(budgets := spelt_budgets(arms[name])) > 1:
        raise ConfigError(
            f"--aa {name}: its runs had different budgets ({' and '.join(budgets)}), which are never mixed"
        )
    found = [score for run in runs if (score := measure.of(run)) is not None]
    law = Rules(metric, rules(study, metric, None).alpha)
    least = 2 * seeds_to_decide(1, law.alpha)
    if len(found) < least:
        raise ConfigError(
            f"--aa {name}: {len(found)} runs with these games cannot be split into two lists that decide "
            f"anything; at least {least} seeds are needed"
        )
    scores = np.array(found)
    return Same(name, len(found), law.alpha, resplit(scores, scores, law))
