"""The runs of one contrast paired by seed, and every seed that is missing with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tedg.compare.arms import Arms, also_differ, by_seed
from tedg.compare.find import Study, count_runs, few
from tedg.compare.questions import Question
from tedg.compare.scores import spelt_budgets
from tedg.compare.unlike import RunPair
from tedg.statistics.pairs import Floats, Pairs
from tedg.store.record import RunRecord


@dataclass(frozen=True)
class Paired:
    """`missing` are planned seeds without a finished pair; `refused` forbids a verdict, `notes` do not.

    `remedies` say how to come by what is missing.
    """

    runs: tuple[RunPair, ...]  # (baseline, variant) in the order of the seeds
    pairs: Pairs
    missing: tuple[int, ...]
    refused: tuple[str, ...]
    notes: tuple[str, ...]
    remedies: tuple[str, ...] = ()


def paired(question: Question, arms: Arms, by: str, study: Study) -> Paired:
    """Every seed that both arms have finished, of the planned ones where there is a plan.

    There are no `pairs` where runs had different budgets, since a mixture has no figures.
    """
    planned = study.plan.seeds if study.plan is not None else None
    absent = [name for name in (question.variant, question.baseline) if name not in arms]
    if absent:
        have = ", ".join(arms)
        why = tuple(f"no run of {name} has ended (there are {have})" for name in absent)
        return Paired((), _pairs([], question), tuple(planned or ()), why, ())
    baseline, variant = (by_seed(arms[name]) for name in (question.baseline, question.variant))
    wanted = sorted({*baseline, *variant}) if planned is None else list(planned)
    refused: list[str] = []
    notes: list[str] = []
    remedies: list[str] = []
    for name, runs in ((question.baseline, baseline), (question.variant, variant)):
        refused += _twice(name, runs)
        diverged = [seed for seed in wanted for run in runs.get(seed, ())[:1] if run.status == "diverged"]
        if diverged:
            refused.append(
                f"{count_runs(len(diverged))} of {name} diverged ({_seeds(diverged)}), and to leave pairs "
                "out for that would choose by the outcome"
            )
        lacking = [run for seed in wanted for run in runs.get(seed, ())[:1] if _unplayed(run, question)]
        if lacking:
            refused.append(
                f"{count_runs(len(lacking))} of {name} ({_seeds([run.seed for run in lacking])}) "
                f"lack{'s' * (len(lacking) == 1)} {question.measure.lacked(lacking[0])}"
            )
            remedies += _remedies(lacking, question, study)
        if keys := _unlike_each_other([own[0] for own in runs.values()]):
            notes.append(f"runs of {name} differ from each other in {few(keys)}")
        others = sorted(runs.keys() - set(wanted))
        if others:
            notes.append(f"{_seeds(others)} of {name} {_are(others)} not in the plan and left out")
        gone = [seed for seed in wanted if seed not in runs]
        if gone and planned is None:
            notes.append(f"{_seeds(gone)} of {name} {_are(gone)} missing, so their pairs are left out")
    finished = counted = tuple(_finished(wanted, baseline, variant, question))
    if mixed := _budgets([baseline, variant], wanted, by):
        counted = ()
        refused.append(
            f"the runs had different budgets ({' and '.join(mixed)}), which are never mixed: those of each "
            "belong into a study of their own (paths.study)"
        )
    done = {one.seed for one, _ in finished}
    return Paired(
        finished,
        _pairs(counted, question),
        tuple(seed for seed in wanted if seed not in done),
        tuple(refused),
        tuple(notes),
        tuple(dict.fromkeys(remedies)),
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


def _remedies(lacking: Sequence[RunRecord], question: Question, study: Study) -> Iterator[str]:
    measure = question.measure
    able = [run for run in lacking if run.run_id not in study.no_weights or not measure.kept(run)]
    yield from dict.fromkeys(measure.remedy(run, study.place, study.command) for run in able)
    if len(able) < len(lacking):
        yield (
            "results alone were kept of runs that lack games, and their weights are not here: where they "
            "were trained, python -m tedg.evaluate plays the games and python -m tedg.study keep adds them; "
            "else train them again"
        )


def _unlike_each_other(runs: Sequence[RunRecord]) -> list[str]:
    """Keys in which runs of one arm differ, and should not; budgets are told apart by `_budgets`."""
    return list(dict.fromkeys(key for run in runs[1:] for key in also_differ(run, runs[0], "budget")))


def _budgets(arms: Sequence[dict[int, list[RunRecord]]], wanted: Sequence[int], by: str) -> list[str]:
    """Budgets that would be mixed: of both arms together, of each alone where budgets are the arms."""
    runs = [[run for seed in wanted for run in arm.get(seed, ())] for arm in arms]
    own = runs if by.startswith("budget") else [runs[0] + runs[1]]
    return next((budgets for one in own if len(budgets := spelt_budgets(one)) > 1), [])


def _twice(name: str, runs: dict[int, list[RunRecord]]) -> Iterator[str]:
    """Runs of one seed and budget; several budgets are a refusal of their own."""
    double = {
        seed: alike
        for seed, several in runs.items()
        for one in several
        if len(alike := [run for run in several if run.budget == one.budget]) > 1
    }
    if double:
        first, second, *_ = next(iter(double.values()))
        keys = also_differ(first, second, "")
        same = "have the same settings; take one out of the study's folder"
        what = f"differ in {few(keys)}; --by {keys[0]} tells them apart" if keys else same
        yield (
            f"{name} has several runs of {_seeds(list(double))}, so it is no single arm ({first.run_id} and "
            f"{second.run_id} {what})"
        )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {few([str(seed) for seed in seeds], 10)}"


def _are(seeds: Sequence[int]) -> str:
    return "are" if len(seeds) > 1 else "is"
