"""What a page is written from: the study, the report of `tedg.compare`, and what is shown of each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tedg.compare.arms import group
from tedg.compare.beside import confounds, curve_of
from tedg.compare.find import Study
from tedg.compare.questions import Asked
from tedg.compare.report import Report
from tedg.compare.scores import Measure, spelt_budgets
from tedg.report.draw.style import Look, looks
from tedg.report.reported import Reported
from tedg.statistics.aggregates import Estimate, mean
from tedg.statistics.curves import Band, Curve, band
from tedg.store.record import RunRecord

BINS = 50  # parts of a curve


@dataclass(frozen=True)
class Material:
    """`arms` are the runs that are shown, by arm; runs of one arm that had different budgets are apart."""

    study: Study
    report: Report
    asked: Asked
    arms: Mapping[str, Sequence[RunRecord]]
    looks: Mapping[str, Look]
    reported: Reported | None = None
    command: str = ""
    missing: tuple[str, ...] = ()  # controls that nobody ran

    @property
    def measure(self) -> Measure:
        """What is compared: at the end of training, or at the milestone that was asked for."""
        plan = self.study.plan
        metric = self.asked.metric or (plan.metric if plan is not None else "score")
        return Measure(metric, self.asked.cap or (plan.cap if plan is not None else None), self.asked.at)

    def over_seeds(self, figure: Mapping[str, float | None]) -> Mapping[str, Estimate]:
        """Estimates over seeds of a figure of each run (by its id), by arm; arms without one are missing."""
        found = {}
        for arm, runs in self.arms.items():
            values = [value for run in runs if (value := figure.get(run.run_id)) is not None]
            if values:
                found[arm] = mean(np.array(values, float))
        return found

    def scores(self) -> dict[str, Band]:
        """Training curves of each arm: of score, or of return if that is the metric."""
        metric = self.measure.metric if self.measure.metric == "return" else "score"
        own = Measure(metric, None, self.asked.at)
        return self._bands(
            {arm: [curve_of(run, own) for run in _whole(runs)] for arm, runs in self.arms.items()}
        )

    def training(self, name: str) -> dict[str, Band]:
        """A figure of training updates over env steps, by arm."""
        return self._bands(
            {arm: curves for arm, runs in self.arms.items() if (curves := _figures(runs, name))}
        )

    def _bands(self, curves: Mapping[str, Sequence[Curve]]) -> dict[str, Band]:
        found = {}
        for arm, own in curves.items():
            known = [one for one in own if len(one[0]) > 1]
            try:
                found[arm] = band(known, min(BINS, max(len(one[0]) for one in known)))
            except ValueError:  # none, or none that cover the same steps
                continue
        return found


def gathered(study: Study, report: Report, asked: Asked, reported: Reported | None, command: str) -> Material:
    """The arms of a report with their runs: those with planned seeds, where there is a plan."""
    plan = study.plan
    every = group(study.records, report.by)
    names = [name for one in report.outcomes for name in (one.baseline, one.variant)]
    arms: dict[str, list[RunRecord]] = {}
    for name in dict.fromkeys((*names, *(arm.name for arm in report.arms))):
        own = [run for run in every.get(name, ()) if plan is None or run.seed in plan.seeds]
        several = len(spelt_budgets(own)) > 1
        for run in own:
            label = f"{name}, {spelt_budgets([run])[0]}" if several else name
            arms.setdefault(label, []).append(run)
    missing = tuple(confounds(study.records, every, [name for name in dict.fromkeys(names) if name in every]))
    return Material(study, report, asked, arms, looks((*names, *arms)), reported, command, missing)


def _whole(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Runs that did not diverge: the others end early, and would cut all curves."""
    return [run for run in runs if run.status != "diverged"]


def _figures(runs: Sequence[RunRecord], name: str) -> list[Curve]:
    found = []
    for run in _whole(runs):
        values = run.training.figures.get(name)
        if values is not None:
            points = [
                (step, value)
                for step, value in zip(run.training.env_steps, values, strict=True)
                if value is not None
            ]
            table = np.array(points, float).reshape(-1, 2)
            found.append((table[:, 0], table[:, 1]))
    return found
