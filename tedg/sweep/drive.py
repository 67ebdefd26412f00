"""A whole sweep: what is missing of it is trained, and what came of each cell is kept and said."""

from __future__ import annotations

import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tedg.config.compose import Composed
from tedg.errors import PREEMPTED, StorageError
from tedg.run.identity import sweep_command
from tedg.run.next_steps import after_a_sweep
from tedg.run.provenance import code_digest, training_digest
from tedg.signals import stop_on_signals
from tedg.slurm import requeue
from tedg.store.rundir import read_provenance
from tedg.store.study import LOGS, add_to_study, job_name, keep_plan, read_study
from tedg.sweep.cell import OPEN, Cell, State
from tedg.sweep.launcher import Launcher
from tedg.sweep.plan import plan
from tedg.sweep.scheduler import Scheduler, exit_code, settle_known
from tedg.sweep.terminal import Display, counts, make_display

WRITE_SECONDS = 2.0  # least time between two writings of study.json while cells run

MakeLauncher = Callable[[Sequence[Cell], int], Launcher]  # of cells, and how many can run at once


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a command asks for."""

    jobs: Sequence[Composed]  # in order
    overrides: Sequence[str]  # as typed
    retries: int  # of a cell that failed or was lost, in one command
    make_launcher: MakeLauncher


def sweep(asked: Sweep) -> int:
    """Train what is missing; returns the exit code. Raises ConfigError before anything starts."""
    cells = plan(asked.jobs)
    sources = asked.jobs[0].sources
    again = sweep_command(sources, asked.overrides)
    roots = list(dict.fromkeys(cell.composed.root for cell in cells))
    make_folders(roots)
    remember(cells)
    record = Record(cells, again)
    display = make_display(cells)
    settle_known(cells, lambda cell, text: None)
    keep_plans(cells)
    known = counts(cells)
    code = 0
    try:
        if len(cells) < len(asked.jobs):
            display.say(f"{len(asked.jobs)} jobs are {len(cells)} runs: some say the same in other words")
        display.say(f"study {', '.join(map(str, roots))}: {known}")
        if kept := [cell for cell in cells if cell.kept is not None and cell.state is not State.FAILED]:
            places = ", ".join(dict.fromkeys(str(cell.kept.parent) for cell in kept if cell.kept is not None))
            display.say(f"of these, {len(kept)} are known by results that are kept in {places}")
        for line in _planned_elsewhere(cells):
            display.say(line)
        for cell in cells:
            if cell.state in OPEN and cell.reason:
                display.notice(cell, cell.reason)
        if number := _by_other_code(cells):
            display.say(
                f"of these, {number} were trained by other code; remove their directories to train anew"
            )
        record.write()
        if any(cell.state in OPEN for cell in cells):
            code = _train(asked, cells, record, display)
    finally:
        display.close()
        record.write()
    for line in _last_lines(cells, again, code):
        print(line, flush=True)
    if code == PREEMPTED:
        requeue(lambda text: print(text, flush=True))
    return code or exit_code(cells)


def _train(asked: Sweep, cells: Sequence[Cell], record: Record, display: Display) -> int:
    """The exit code of the signal that stopped it; 0 where none did."""
    with stop_on_signals() as stop:
        launcher = asked.make_launcher(cells, _width(cells))
        scheduler = Scheduler(cells, launcher, asked.retries, display.notice)

        def show() -> None:
            display.show()
            record.write_now_and_then()

        scheduler.run(stop, show)
    return stop.exit_code


def make_folders(roots: Sequence[Path]) -> None:
    """Where logs lie; raises StorageError."""
    for root in roots:
        try:
            (root / LOGS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {root / LOGS}: {error.strerror}") from None


def remember(cells: Sequence[Cell]) -> None:
    """What earlier commands have spent on the cells."""
    known = {root: read_study(root)["cells"] for root in {cell.composed.root for cell in cells}}
    for cell in cells:
        before = known[cell.composed.root].get(cell.directory.name, {})
        cell.seconds, cell.earlier_attempts = before.get("seconds", 0.0), before.get("attempts", 0)


def keep_plans(cells: Sequence[Cell]) -> None:
    """Each study's plan in its study.json, before anything of it is trained; raises StorageError."""
    for root in dict.fromkeys(cell.composed.root for cell in cells):
        own = [cell for cell in cells if cell.composed.root == root]
        done = sum(cell.state in (State.DONE, State.DIVERGED) for cell in own)
        if (plan := own[0].composed.config.plan) is not None:
            keep_plan(root, asdict(plan), training_digest(), done)


def _planned_elsewhere(cells: Sequence[Cell]) -> Iterator[str]:
    """Seeds of a plan that the command leaves out: without them there is no verdict."""
    for root in dict.fromkeys(cell.composed.root for cell in cells):
        own = [cell.composed.config for cell in cells if cell.composed.root == root]
        if own[0].plan is not None and (rest := sorted({*own[0].plan.seeds} - {one.seed for one in own})):
            seeds = ", ".join(map(str, rest))
            yield f"the plan of {root.name} has seeds that this command does not train: {seeds}"


def _by_other_code(cells: Sequence[Cell]) -> int:
    """How many of those that are done were trained by another version of the code."""
    done = [read_provenance(cell.kept or cell.directory) for cell in cells if cell.state is State.DONE]
    now = code_digest() if done else None
    return sum(known is not None and known["sessions"][-1].get("code") != now for known in done)


def _width(cells: Sequence[Cell]) -> int:
    """How many cells can run at once at most: children wait for their parents."""
    depths: dict[int, int] = {}
    for cell in cells:
        if cell.state in OPEN:
            depth = _depth(cell)
            depths[depth] = depths.get(depth, 0) + 1
    return max(depths.values(), default=1)


def _depth(cell: Cell) -> int:
    waits = cell.parent is not None and cell.parent.state in OPEN
    return 1 + _depth(cell.parent) if waits and cell.parent is not None else 0


def _last_lines(cells: Sequence[Cell], again: str, code: int) -> list[str]:
    lines = [f"{cell.label}: {cell.state}: {cell.reason}" for cell in cells if cell.reason and _bad(cell)]
    going_on = [cell for cell in cells if cell.job and cell.state in (State.PENDING, State.RUNNING)]
    if code and going_on:
        study = going_on[0].composed.root
        lines.append(f"stopped: {counts(cells)}; {len(going_on)} jobs go on in SLURM without this command")
        watch = [sys.executable, "-m", "tedg.study", "watch", str(study)]
        lines.append(f"to watch them: {shlex.join(watch)}")
        lines.append(f"to cancel them: scancel --me --name={shlex.quote(job_name(study))}")
    elif code:
        lines.append(f"stopped: {counts(cells)}; what ran has saved its state")
    elif all(cell.state is State.DONE for cell in cells):
        lines.append(f"all {len(cells)} cells are done")
    else:
        lines.append(counts(cells))
    missing = any(cell.state not in (State.DONE, State.DIVERGED) for cell in cells)
    lines.append(f"{'the same command does what is missing' if missing else 'to see it again'}: {again}")
    if not missing:
        roots = dict.fromkeys(cell.composed.root for cell in cells if cell.state is State.DONE)
        lines.extend(line for root in roots for line in after_a_sweep(root))
    return lines


def _bad(cell: Cell) -> bool:
    return cell.state in (State.FAILED, State.LOST, State.DIVERGED, State.BLOCKED)


class Record:
    """Keeps study.json current. A disk that is full does not end a sweep: the runs themselves count."""

    def __init__(self, cells: Sequence[Cell], command: str) -> None:
        self._cells, self._command = cells, command
        self._written_at = 0.0
        self._written: dict[Cell, dict[str, Any]] = {}
        self._warned = False

    def write_now_and_then(self) -> None:
        """Write if it is time to."""
        if time.monotonic() - self._written_at >= WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Write what has changed; a cell that another driver trains is left to that one."""
        self._written_at = time.monotonic()
        own = {cell: _entry(cell) for cell in self._cells if cell.state is not State.ELSEWHERE}
        changed = {cell: entry for cell, entry in own.items() if self._written.get(cell) != entry}
        for root in {cell.composed.root for cell in changed}:
            there = {cell: entry for cell, entry in changed.items() if cell.composed.root == root}
            try:
                named = {cell.directory.name: entry for cell, entry in there.items()}
                add_to_study(root, self._command, named)
            except StorageError as error:
                if not self._warned:
                    print(f"warning: {error}", flush=True)
                self._warned = True
            else:
                self._written |= there


def _entry(cell: Cell) -> dict[str, Any]:
    composed = cell.composed
    return {
        "label": cell.label,
        "run_id": cell.run_id,
        "seed": composed.config.seed,
        "state": str(cell.state),
        "reason": cell.reason,
        "check_failed": cell.check_failed,
        "env_steps": cell.env_steps,
        "total_env_steps": cell.total_env_steps,
        "score": cell.score,
        "seconds": round(cell.seconds, 1),
        "attempts": cell.earlier_attempts + cell.attempts,
        "directory": str(cell.directory),
        "kept": None if cell.kept is None else str(cell.kept),
        "log": str(cell.log),
        "parent": None if cell.parent is None else cell.parent.directory.name,
        "arguments": [*composed.sources.flags, "-m", *composed.hydra_overrides, *composed.overrides],
        "working_directory": os.getcwd(),
        "driver": f"host {socket.gethostname()} pid {os.getpid()}",
        # Jobs are recorded where they are submitted; a process here takes the place of an earlier one.
        **({"job": ""} if cell.state is State.RUNNING and not cell.job else {}),
    }
