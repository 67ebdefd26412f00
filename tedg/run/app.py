"""A run's life: its start and its name, its directory, resuming, its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tedg.config.compose import Composed
from tedg.config.run_config import RunConfig
from tedg.errors import PREEMPTED, CheckFailed, ConfigError, DivergedError, InUse, Stopped, StorageError
from tedg.files import read_json, write_json, write_text
from tedg.learn.room import require_room
from tedg.learn.setup import learner_threads, make_device
from tedg.processes import WorkerError
from tedg.run.held_out import known_and_missing
from tedg.run.identity import command
from tedg.run.kept import show_kept
from tedg.run.next_steps import after_a_run, title
from tedg.run.provenance import code_digest, session
from tedg.run.record import keep_record
from tedg.run.starts import Start, place
from tedg.run.summary import result_lines
from tedg.run.totals import spent_before, totals
from tedg.signals import StopFlag, stop_on_signals
from tedg.slurm import requeue
from tedg.store import rundir
from tedg.store.games import GamesByPlayer, asked_games, write_games
from tedg.store.results import read_result
from tedg.watch.evidence import Evidence
from tedg.watch.health import judge

# Trains in a run directory, from the run directory of the first weights if one is given; resumes by itself.
Train = Callable[[RunConfig, Path, Path | None, StopFlag], dict[str, Any]]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What a run ended with. `values` is the content of result.json."""

    run_id: str
    run_dir: Path
    values: dict[str, Any]
    trained: bool  # False where the run was finished before


def _say(text: str) -> None:
    print(text, flush=True)


def run(composed: Composed, train: Train | None = None, say: Say = _say, cell: str = "") -> Result:
    """Start, resume, or only show the run that a configuration names; `cell` is `2 of 12` in a sweep.

    A finished run is shown and left alone. A half-done one goes on from its newest checkpoint, and keeps the
    start it began with. Raises ConfigError (also when another process owns the run), Stopped (everything is
    saved), DivergedError (also for a run that diverged earlier), CheckFailed (where the configuration has a
    check), StorageError and WorkerError.
    """
    config = composed.config
    device = make_device(config)
    start, run_dir = place(composed)
    done = read_result(run_dir)
    if done is not None:
        return _show(composed, start, run_dir, done, say)
    if start.kept is not None:
        return Result(start.run_id, start.kept, show_kept(config, start.kept, say), trained=False)
    require_room(config, device)
    rundir.make(run_dir)
    with rundir.owned(run_dir):
        done = read_result(run_dir)  # by a process that owned it until now
        if done is None:
            now = session(str(device), learner_threads(config))
            train = train or partial(_train, title(composed, cell))
            values = _train_to_the_end(composed, start, run_dir, now, train, say)
    if done is not None:  # shown when it is no longer owned: whoever plays more games owns it for that time
        return _show(composed, start, run_dir, done, say)
    for line in result_lines(values):
        say(line)
    failed = _check(config, run_dir, values, say)
    keep_record(run_dir, say)
    _say_next(composed, run_dir, say)
    if failed is not None:
        raise failed
    return Result(start.run_id, run_dir, values, trained=True)


def _say_next(composed: Composed, run_dir: Path, say: Say) -> None:
    say(f"results in {run_dir}")
    for line in after_a_run(composed, run_dir):
        say(line)


def _train_to_the_end(
    composed: Composed, start: Start, run_dir: Path, now: Mapping[str, Any], train: Train, say: Say
) -> dict[str, Any]:
    """Begin or resume the run in a directory that this process owns; the result, which is written too."""
    begun, before = _begin(composed, start, run_dir, now)
    say(f"run {start.run_id} in {run_dir}")
    if start.note is not None:
        say(start.note)
    if None in before.values():
        say(f"{start.directory} does not say all that was spent on its weights: totals will be null")
    if begun:
        say("this run was begun before and goes on from its newest checkpoint")
    try:
        with stop_on_signals() as stop:
            outcome = train(composed.config, run_dir, start.directory, stop)
    except DivergedError as error:
        failed = {**error.result, **totals(composed.config, error.result, before)}
        values = _finish(run_dir, start, {**failed, "status": "diverged", "reason": str(error)})
        _check(composed.config, run_dir, values, say)
        keep_record(run_dir, say)
        raise
    except Stopped as error:
        say(f"stopped, state saved in {run_dir}\ngo on with: {command(composed)}")
        if error.exit_code == PREEMPTED:
            requeue(say)
        raise
    except (StorageError, WorkerError):
        say(f"when that is repaired, go on with: {command(composed)}")
        raise
    sums = totals(composed.config, outcome, before)
    return _finish(run_dir, start, {**outcome, **sums, "status": "finished"})


def _begin(
    composed: Composed, start: Start, run_dir: Path, now: Mapping[str, Any]
) -> tuple[bool, dict[str, Any]]:
    """Write config.yaml and provenance.json.

    Returns whether the run was begun by an earlier process, and what was spent before it.
    """
    provenance = rundir.read_provenance(run_dir)
    begun = provenance is not None
    if provenance is None:
        with rundir.alone(run_dir.parent):
            _require_no_other(composed.config, start, run_dir)
            write_text(run_dir / rundir.CONFIG, OmegaConf.to_yaml(OmegaConf.create(composed.saved)))
        parent_dir = str(start.directory) if start.directory else None
        if parent_dir is not None and composed.config.init_from != "auto":
            parent_dir = composed.saved["init_from"]  # as written: it may name an environment variable
        provenance = {
            "run_id": start.run_id,
            "parent": start.parent,
            "parent_dir": parent_dir,
            "options": composed.options,
            "sessions": [],
        }
    # As it was at the first start: the parent may be gone later.
    before: dict[str, Any] = provenance.setdefault("before", spent_before(start.directory))
    provenance["sessions"].append(dict(now))
    write_json(run_dir / rundir.PROVENANCE, provenance)
    return begun, before


def _require_no_other(config: RunConfig, start: Start, run_dir: Path) -> None:
    """InUse where a process has begun the run a moment ago in a directory of another readable name."""
    other = rundir.find([run_dir.parent], start.run_id) if config.run_dir is None else None
    if other is not None and other != run_dir:
        raise InUse(f"run {start.run_id} has just been begun in {other}; the same command goes on with it")


def _finish(run_dir: Path, start: Start, outcome: Mapping[str, Any]) -> dict[str, Any]:
    values = {"run_id": start.run_id, "parent": start.parent, **outcome}
    write_json(run_dir / rundir.RESULT, values)
    return values


def _check(config: RunConfig, run_dir: Path, values: Mapping[str, Any], say: Say) -> CheckFailed | None:
    """Show and keep what the check says of a run that has ended; the error to raise where a line failed."""
    if config.check is None:
        return None
    report = judge(Evidence.read(config, run_dir, values), config.check)
    for line in report.text():
        say(line)
    if read_json(run_dir / rundir.CHECK) != report.content():
        write_json(run_dir / rundir.CHECK, report.content())
    if not report.failed:
        return None
    return CheckFailed(f"{run_dir}: {report.failed} of {len(report.lines)} lines of the check failed")


def _show(composed: Composed, start: Start, run_dir: Path, done: dict[str, Any], say: Say) -> Result:
    config = composed.config
    known, missing = known_and_missing(config, run_dir, done)
    rest = "more held-out games are asked for than were played" if missing else "nothing to do"
    say(f"run {start.run_id} in {run_dir} is {done['status']} already; {rest}")
    provenance = rundir.read_provenance(run_dir)
    if provenance is not None and provenance["sessions"][-1].get("code") != code_digest():
        say("the code has changed since; remove the directory to run it again with today's")
    if missing:
        done = _with_all_games(config, run_dir, done, known, missing, say)
    for line in result_lines(done):
        say(line)
    failed = _check(config, run_dir, done, say)
    if done["status"] == "diverged":
        raise DivergedError(f"{run_dir} diverged: {done.get('reason')}", done)
    _say_next(composed, run_dir, say)
    if failed is not None:
        raise failed
    return Result(start.run_id, run_dir, done, trained=False)


def _with_all_games(
    config: RunConfig,
    run_dir: Path,
    done: dict[str, Any],
    known: GamesByPlayer,
    missing: Mapping[str, list[int]],
    say: Say,
) -> dict[str, Any]:
    """The result with every held-out game that the configuration asks for; those that are missing are played.

    A result is never shown with fewer games than were asked for unless a line says why.
    """
    listed = ", ".join(f"{len(seeds)} of {name}" for name, seeds in missing.items())
    from tedg.learn.final import play_missing, summaries  # imports torch

    with rundir.owned(run_dir), stop_on_signals() as stop:
        say(f"playing {listed}")
        try:
            games = play_missing(config, run_dir, known, missing, stop)
        except ConfigError as error:
            say(f"they cannot be played, so fewer are shown than were asked for: {error}")
            return done
        write_games(run_dir, games)
        done = {**done, "evaluation": {**done["evaluation"], **summaries(games, asked_games(config.eval))}}
        write_json(run_dir / rundir.RESULT, done)
        keep_record(run_dir, say)
    return done


def _train(
    title: str, config: RunConfig, run_dir: Path, weights_of: Path | None, stop: StopFlag
) -> dict[str, Any]:
    from tedg.learn.trainer import train
    from tedg.watch.console import make_console

    return train(config, run_dir, weights_of, make_console(title), stop)
