"""From a study and what is asked of it to a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tedg.compare import liveness
from tedg.compare.arms import Arms, choose, group
from tedg.compare.beside import above_controls, confounds, controls, described, of_curves
from tedg.compare.find import Study, count_runs, few, under_plan
from tedg.compare.paired import Paired, paired, same_otherwise
from tedg.compare.questions import Asked, Question, Role, family, questions
from tedg.compare.report import Outcome, Report
from tedg.compare.unlike import mixed_code, to_play, unlike
from tedg.config.plan import PlanConfig
from tedg.errors import ConfigError
from tedg.statistics import sign_flip
from tedg.statistics.aggregates import improvement, iqm_difference
from tedg.statistics.sentence import figures, outlook, sentence
from tedg.statistics.verdict import Contrast, Judgement, Rules, Stop, Verdict, judge
from tedg.store.record import RunRecord


@dataclass(frozen=True)
class _Looked:
    """A question with its runs, and what forbids a verdict on it."""

    question: Question
    found: Paired
    every: tuple[RunRecord, ...]  # of both arms, with planned seeds
    refused: tuple[str, ...]
    dead: tuple[liveness.Finding, ...]


def compare(study: Study, asked: Asked) -> Report:
    """Judge every contrast. Raises ConfigError for what cannot be looked at, or not yet."""
    plan = study.plan
    by = asked.by or (plan.by if plan is not None else choose(study.records))
    arms = group(study.records, by)
    _within_the_budget(study.records, asked.at)
    every = questions(arms, by, asked, plan)
    early = _early(study, every, arms)
    if early is not None and not asked.peek:
        rest = ""
        if study.command is not None:  # it trains what it was to train, and may know nothing of the others
            what = "to train the rest" if study.unfinished else "no command asked for these; the last one was"
            rest = f"; {what}: {study.command}"
        raise ConfigError(f"{early}{rest}; an earlier look is made by --peek, and gives no verdict")
    outcomes = [
        outcome
        for role in Role
        if (own := family(every, role))
        for outcome in _family(study, own, arms, by, asked, early)
    ]
    measures = dict.fromkeys(one.measure for one in every)
    if asked.at is not None:  # judged with the whole family, and shown alone
        outcomes = [one for one in outcomes if one.at == asked.at]
        measures = {measure: None for measure in measures if measure.at == asked.at}
    shown = dict.fromkeys(name for one in every for name in (one.baseline, one.variant) if name in arms)
    ran = {name: _planned(arms[name], plan) for name in shown}
    by_measure = [[one for name in shown for one in described(name, ran[name], of)] for of in measures]
    players = controls([run for runs in ran.values() for run in runs], next(iter(measures)))
    return Report(
        study.name,
        plan.question if plan is not None else None,
        by,
        study.planned,
        plan.alpha if plan is not None else 0.05,
        plan.delta if plan is not None else None,
        plan.stop if plan is not None else None,
        tuple(_notes(study, arms, shown, early))
        + tuple(dict.fromkeys(above_controls(by_measure[-1], players, every[0].measure))),
        tuple(outcomes),
        tuple(one for found in by_measure for one in found),
        tuple(players),
    )


def _planned(runs: Sequence[RunRecord], plan: PlanConfig | None) -> tuple[RunRecord, ...]:
    return tuple(run for run in runs if plan is None or run.seed in plan.seeds)


def _within_the_budget(records: Sequence[RunRecord], at: int | None) -> None:
    longest = max(run.env_steps for run in records)
    if at is not None and at > longest:
        raise ConfigError(f"--at {at}: no run has so many env steps, the longest has {longest:,}")


def rules(study: Study, metric: str, detect: float | None) -> Rules:
    """The plan's, or those of a study without one."""
    plan = study.plan
    if plan is None:
        return Rules(metric, detect=detect)
    return Rules(metric, plan.alpha, plan.delta, detect or plan.detect, Stop(plan.stop), tuple(plan.seeds))


def _family(
    study: Study, own: Sequence[Question], arms: Arms, by: str, asked: Asked, early: str | None
) -> Iterator[Outcome]:
    """The outcomes of one role. Whatever has no verdict stays in the family."""
    looked = [_look(one, study, arms, by) for one in own]
    law = rules(study, own[0].measure.metric, asked.detect)
    judged = judge(
        [Contrast(o.question.variant, o.question.baseline, o.found.pairs, _hours(o.found)) for o in looked],
        law,
    )
    for one, judgement in zip(looked, judged, strict=True):
        yield _outcome(one, judgement, study, by, early)


def _look(question: Question, study: Study, arms: Arms, by: str) -> _Looked:
    plan = study.plan
    allow = plan.allow if plan is not None else ()
    found = paired(question, arms, by, study)
    refused = (*found.refused, *unlike(found.runs, question.measure, by, allow))
    more = to_play(found.runs, question.measure, study.place)
    found = replace(found, remedies=(*found.remedies, *more))
    variants, baselines = [other for _, other in found.runs], [one for one, _ in found.runs]
    dead = liveness.findings(variants, baselines, (question.variant, question.baseline))
    both = [run for name in (question.baseline, question.variant) for run in arms.get(name, ())]
    return _Looked(question, found, _planned(both, plan), refused, tuple(dead))


def _outcome(one: _Looked, judgement: Judgement, study: Study, by: str, early: str | None) -> Outcome:
    question, found, pairs = one.question, one.found, judgement.contrast.pairs
    if study.plan is not None and study.plan.stop == "anytime":
        pairs = pairs.prefix(study.plan.seeds)
    runs = [pair for pair in found.runs if pair[0].seed in pairs.seeds]
    some = [run for pair in runs for run in pair] or one.every
    name = question.measure.named(some) if some else question.measure.metric
    judgement = replace(judgement, rules=replace(judgement.rules, metric=name))
    refused = _no_verdict(one, judgement, study, early)
    void = [finding for finding in one.dead if finding.void]
    # Seeds that are missing may come; a part that is dead stays so, however many do.
    verdict = Verdict.VOID if void else None if refused else judgement.verdict
    exploratory = _exploratory(study, one)
    names = (question.variant, question.baseline)
    notes = [*found.notes, *([exploratory] if exploratory and study.plan is not None else [])]
    notes += [more] if (more := same_otherwise(runs, by)) else []
    notes += [more] if (more := _waiting(found.pairs.seeds, pairs.seeds, study.plan)) else []
    tested = bool(pairs.seeds) and not refused  # a p would be a verdict for whoever wants one
    return Outcome(
        *names,
        name,
        question.measure.at,
        question.role,
        verdict,
        refused,
        _sentence(judgement, refused, void, bool(exploratory)),
        tuple(notes),
        pairs.seeds,
        tuple(map(float, pairs.difference)),
        judgement.difference,
        judgement.contrasts,
        judgement.p if tested else None,
        judgement.p_holm if tested else None,
        judgement.p_equivalent if tested else None,
        iqm_difference(pairs.baseline, pairs.variant) if pairs.seeds else None,
        improvement(pairs.baseline, pairs.variant) if pairs.seeds else None,
        of_curves(runs, question.measure) if runs else None,
        outlook(judgement),
        (
            *map(str, one.dead),
            *liveness.unknown([other for _, other in runs], [base for base, _ in runs], names),
        ),
        found.remedies if verdict is None else (),
    )


def _no_verdict(one: _Looked, judgement: Judgement, study: Study, early: str | None) -> tuple[str, ...]:
    reasons = list(one.refused)
    n, fixed = len(one.found.pairs.seeds), judgement.rules.stop is Stop.FIXED
    if one.question.role is Role.OUTSIDE:
        reasons.append("it is outside the plan")
    elif early is not None:
        reasons.append(f"this is an early look: {early}")
    elif study.plan is not None and fixed and one.found.missing and not one.refused:
        gone = one.found.missing
        reasons.append(
            f"{len(gone)} of {len(study.plan.seeds)} planned pairs {'is' if len(gone) == 1 else 'are'} "
            f"missing (seed{'s' * (len(gone) > 1)} {few([str(seed) for seed in gone])})"
        )
    least = sign_flip.seeds_to_decide(judgement.contrasts, judgement.rules.alpha)
    if fixed and n < least and not (one.refused and not n):
        several = f"/{judgement.contrasts}" if judgement.contrasts > 1 else ""
        reasons.append(
            f"{n} pair{'s' * (n != 1)} of seeds can never decide it: the least p is 2/2^{n} = "
            f"{sign_flip.smallest_p(n):.2g}, above {judgement.rules.alpha:g}{several}; at least {least} are "
            f"needed, {least - n} more"
        )
    return tuple(reasons)


def _exploratory(study: Study, one: _Looked) -> str | None:
    """Why a verdict is not that of a plan made before the data."""
    if study.plan is None:
        return "there is no plan"
    runs = [run for pair in one.found.runs for run in pair]
    others = [run.run_id for run in runs if not under_plan(run, study.plan)]
    if not others:
        return None
    return (
        f"{len(others)} of {len(runs)} runs were begun without this plan ({few(others)}), so it is "
        "exploratory"
    )


def _waiting(finished: Sequence[int], counted: Sequence[int], plan: PlanConfig | None) -> str | None:
    """Which pairs are there and do not count, under `stop: anytime`."""
    if plan is None or len(finished) == len(counted):
        return None
    first = plan.seeds[len(counted)]
    n = len(finished) - len(counted)
    return (
        f"{n} finished pair{'s' * (n > 1)} wait{'s' * (n == 1)} for seed {first}, which comes before in the "
        "plan and is not finished in both arms"
    )


def _sentence(
    judgement: Judgement, refused: Sequence[str], void: Sequence[liveness.Finding], exploratory: bool
) -> str:
    contrast = judgement.contrast
    what = f"{contrast.variant} against {contrast.baseline} in {judgement.rules.metric}"
    if void:
        nor = f" Nor would there be a verdict: {'; '.join(refused)}." if refused else ""
        return f"The comparison is void, {what}: {'; '.join(map(str, void))}.{nor}"
    if refused:
        told = f"; {figures(judgement, tested=False)}" if judgement.difference is not None else ""
        return f"No verdict on {what}{told}: {'; '.join(refused)}."
    return f"{'Exploratory: ' if exploratory else ''}{sentence(judgement)}"


def _early(study: Study, every: Sequence[Question], arms: Arms) -> str | None:
    """Why it is too early for a verdict; None where everything that was to be has ended."""
    plan = study.plan
    if plan is None:
        count = len(study.unfinished)
        unfinished = f"{count_runs(count)} of {study.name} {'is' if count == 1 else 'are'} not finished"
        return f"{unfinished}: {few(study.unfinished)}" if count else None
    if plan.stop == "anytime":
        return None
    wanted = {name for one in every if one.role is not Role.OUTSIDE for name in (one.variant, one.baseline)}
    missing = {
        name: gone
        for name in wanted & arms.keys()
        if (gone := sorted(set(plan.seeds) - {run.seed for run in arms[name]}))
    }
    if not missing:
        return None
    absent = sorted(wanted - arms.keys())
    told = [
        f"{name} seed{'s' * (len(gone) > 1)} {', '.join(map(str, gone))}" for name, gone in missing.items()
    ]
    total = len(plan.seeds) * len(wanted & arms.keys())
    ended = total - sum(map(len, missing.values()))
    states = f" ({few(study.unfinished)})" if study.unfinished else ""
    missed = few(sorted(told))
    none_of = f"; of {', '.join(absent)} there is no run" if absent else ""
    return f"{ended} of {total} planned runs of {study.name} have ended, missing {missed}{states}{none_of}"


def _notes(
    study: Study, arms: Arms, shown: Sequence[str] | dict[str, None], early: str | None
) -> Iterator[str]:
    yield from study.notes
    if study.plan is None:
        yield "the study has no plan made before its data, so every verdict is exploratory"
    if early is not None:
        yield f"early look, no verdict: {early}"
    elif study.unfinished:
        yield f"not finished: {few(study.unfinished)}"
    runs = [run for name in shown for run in arms[name]]
    if (mixed := mixed_code(runs)) is not None:
        yield mixed
    if study.planned is not None and study.planned.training_code is not None:
        others = sum(run.training_code != study.planned.training_code for run in runs)
        if others:
            yield f"{others} of {len(runs)} runs were trained by other code than the study was planned with"
    if failed := [run.name for run in runs if run.learns is False]:
        yield f"{count_runs(len(failed))} failed the check for learning: {few(failed)}"
    yield from confounds(study.records, arms, shown)


def _hours(found: Paired) -> float | None:
    seconds = [run.seconds for pair in found.runs for run in pair]
    known = [value for value in seconds if value is not None]
    return float(np.mean(known)) * 2 / 3600 if known and len(known) == len(seconds) else None
