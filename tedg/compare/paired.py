"""The runs of one contrast paired by seed, and every seed that is missing with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tedg.compare.arms import Arms, also_differ, by_seed
from tedg.compare.find import few
from tedg.compare.questions import Question
from tedg.compare.scores import spelt_budgets
from tedg.compare.unlike import RunPair
from tedg.statistics.pairs import Floats, Pairs
from tedg.store.record import RunRecord


@dataclass(frozen=True)
class Paired:
    """`missing` are planned seeds without a finished pair; `refused` forbids a verdict, `notes` do not."""

    runs: tuple[RunPair, ...]  # (baseline, variant) in the order of the seeds
    pairs: Pairs
    missing: tuple[int, ...]
    refused: tuple[str, ...]
    notes: tuple[str, ...]


def paired(
    question: Question,
    arms: Arms,
    by: str,
    planned: Sequence[int] | None,
    place: str,
    command: str | None,
) -> Paired:
    """Every seed that both arms have finished, of the planned ones where there is a plan.

    None of them where the runs had different budgets: there are no figures of a mixture.
    """
    absent = [name for name in (question.variant, question.baseline) if name not in arms]
    if absent:
        have = ", ".join(arms)
        why = tuple(f"no run of {name} has ended (there are {have})" for name in absent)
        return Paired((), _pairs([], question), tuple(planned or ()), why, ())
    baseline, variant = (by_seed(arms[name]) for name in (question.baseline, question.variant))
    wanted = sorted({*baseline, *variant}) if planned is None else list(planned)
    refused: list[str] = []
    notes: list[str] = []
    for name, runs in ((question.baseline, baseline), (question.variant, variant)):
        refused += _twice(name, runs)
        diverged = [seed for seed in wanted for run in runs.get(seed, ())[:1] if run.status == "diverged"]
        if diverged:
            refused.append(
                f"{len(diverged)} run{'s' * (len(diverged) > 1)} of {name} diverged ({_seeds(diverged)}), "
                "and leaving their pairs out would choose by the outcome"
            )
        lacking = [run for seed in wanted for run in runs.get(seed, ())[:1] if _unplayed(run, question)]
        if lacking:
            refused.append(
                f"of {len(lacking)} runs of {name} ({_seeds([run.seed for run in lacking])}) "
                f"{question.measure.missing(lacking[0], place, command)}"
            )
        others = sorted(runs.keys() - set(wanted))
        if others:
            notes.append(f"{_seeds(others)} of {name} {_are(others)} not in the plan and left out")
        gone = [seed for seed in wanted if seed not in runs]
        if gone and planned is None:
            notes.append(f"{_seeds(gone)} of {name} {_are(gone)} missing, so their pairs are left out")
    pairs = tuple(_finished(wanted, baseline, variant, question))
    every = [run for seed in wanted for runs in (baseline, variant) for run in runs.get(seed, ())]
    if len(budgets := spelt_budgets(every)) > 1 and not by.startswith("budget"):
        pairs = ()
        refused.append(
            f"the runs had different budgets ({' and '.join(budgets)}), which are never mixed: those of each "
            "belong into a study of their own (paths.study)"
        )
    done = {one.seed for one, _ in pairs}
    return Paired(
        pairs,
        _pairs(pairs, question),
        tuple(seed for seed in wanted if seed not in done),
        tuple(refused),
        tuple(notes),
    )


def same_otherwise(runs: Sequence[RunPair], by: str) -> str | None:
    """A sentence where the two arms differ in more than what tells them apart."""
    keys = list(dict.fromkeys(key for one, other in runs for key in also_differ(other, one, by)))
    return f"the arms also differ in {few(keys)}" if keys else None


def _finished(
    wanted: Sequence[int],
    baseline: dict[int, list[RunRecord]],
    variant: dict[int, list[RunRecord]],
    question: Question,
) -> Iterator[RunPair]:
    for seed in wanted:
        pair = [runs[seed][0] for runs in (baseline, variant) if seed in runs]
        if len(pair) == 2 and not any(run.status == "diverged" or _unplayed(run, question) for run in pair):
            yield pair[0], pair[1]


def _pairs(runs: Sequence[RunPair], question: Question) -> Pairs:
    def scores(side: int) -> Floats:
        return np.array([question.measure.of(pair[side]) for pair in runs], float)

    return Pairs(tuple(one.seed for one, _ in runs), scores(0), scores(1))


def _unplayed(run: RunRecord, question: Question) -> bool:
    return run.status != "diverged" and question.measure.games(run) is None


def _twice(name: str, runs: dict[int, list[RunRecord]]) -> Iterator[str]:
    double = {seed: several for seed, several in runs.items() if len(several) > 1}
    if double:
        first, second, *_ = next(iter(double.values()))
        keys = also_differ(first, second, "") or ["the code"]
        yield (
            f"{name} has several runs of {_seeds(list(double))} ({first.run_id} and {second.run_id} differ "
            f"in {few(keys)}), so it is no single arm; try --by {keys[0]}"
        )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {few([str(seed) for seed in seeds], 10)}"


def _are(seeds: Sequence[int]) -> str:
    return "are" if len(seeds) > 1 else "is"
