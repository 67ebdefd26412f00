"""A search: trials are drawn, trained like cells of a sweep, and judged, until there are as many as asked."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import Trial, TrialState

from tedg.config.search import SearchSettings, Space
from tedg.errors import FAILED, PREEMPTED, ConfigError, StorageError
from tedg.run.identity import run_id, sweep_command
from tedg.run.starts import place
from tedg.signals import stop_on_signals
from tedg.slurm import requeue
from tedg.store.games import POLICY
from tedg.store.results import read_result
from tedg.sweep import scheduler as scheduling
from tedg.sweep.cell import OPEN, Cell, State
from tedg.sweep.drive import Record, Sweep, make_folders, remember
from tedg.sweep.plan import plan
from tedg.sweep.scheduler import Scheduler
from tedg.sweep.terminal import Display, make_display
from tedg.sweep.trials import RUNGS, Trials, alone

_INVALID = "invalid"  # what was drawn is no configuration


def search(asked: Sweep, space: Space, settings: SearchSettings) -> int:
    """Run the trials that are missing; returns the exit code. Raises ConfigError before anything starts."""
    tried = plan(asked.jobs)
    root, *others = dict.fromkeys(job.root for job in asked.jobs)
    if others:
        raise ConfigError(f"a search lies in one folder, not in {root} and {others[0]}; fix paths")
    if any(job.config.eval.games < 1 for job in asked.jobs):
        raise ConfigError("eval.games=0: a search needs held-out games; their mean score is what it compares")
    make_folders([root])
    with alone(root):
        trials = Trials(root, space, settings, run_id(asked.jobs[0].config, None))
        again = sweep_command(asked.jobs[0].sources, asked.overrides)
        missing = settings.n_trials - len(trials.all()) + len(trials.begun())
        print(
            f"search {root}: {_counts(trials)}; {max(missing, 0)} to train of {settings.n_trials}", flush=True
        )
        code = 0
        if missing > 0:
            cells: list[Cell] = []
            display, record = make_display(cells, missing), Record(cells, again)
            try:
                running = _Running(trials, space, settings, cells, display)
                code = running.train(asked, tried, record)
            finally:
                display.close()
                record.write()
        for line in _last_lines(trials, space, settings, asked, again, code):
            print(line, flush=True)
    if code == PREEMPTED:
        requeue(lambda text: print(text, flush=True))
    ends = {trial.user_attrs.get("end") for trial in trials.all()}
    return code or (FAILED if ends & {State.FAILED, State.LOST} or trials.best() is None else 0)


@dataclass(slots=True)
class _Open:
    """A trial that is not judged yet."""

    trial: Trial
    cell: Cell
    drawn: list[str]
    rung: int  # up to which its curve is known


class _Running:
    def __init__(
        self, trials: Trials, space: Space, settings: SearchSettings, cells: list[Cell], display: Display
    ) -> None:
        self._trials, self._space, self._settings = trials, space, settings
        self._cells, self._display = cells, display
        self._open: list[_Open] = []

    def train(self, asked: Sweep, tried: Sequence[Cell], record: Record) -> int:
        """Until all trials are judged; the exit code of the signal that stopped it, 0 where none did."""
        with stop_on_signals() as stop:
            begun = self._trials.begun()
            to_draw = self._settings.n_trials - len(self._trials.all())
            launcher = asked.make_launcher(tried, len(begun) + max(to_draw, 0))
            if launcher.detached:  # it takes all trials at once, so none could learn from another
                raise ConfigError("hydra/sweeper=optuna trains with hydra/launcher=local; take that")
            self._scheduler = Scheduler(self._cells, launcher, asked.retries, self._display.notice)
            while True:
                # One at a turn: what it draws may follow from how the ones before have ended.
                room = launcher.has_room() and not any(cell.state is State.QUEUED for cell in self._cells)
                if room and not stop.requested and (begun or to_draw > 0):
                    to_draw -= not begun
                    self._begin(begun.pop(0) if begun else self._trials.ask())
                goes_on = self._scheduler.step(stop)
                self._judge()
                self._display.show()
                record.write_now_and_then()
                if not goes_on and (stop.requested or not (begun or to_draw > 0)):
                    return stop.exit_code
                time.sleep(scheduling.TICK_SECONDS)

    def _begin(self, trial: Trial) -> None:
        drawn = self._trials.draw(trial)
        label = " ".join([f"trial={trial.number}", *drawn])
        try:
            composed = self._space.compose(drawn)
            start, directory = place(composed)
        except ConfigError as error:
            self._display.say(f"[{label}] {_INVALID}: {error}")
            self._trials.tell(trial, TrialState.FAIL, end=_INVALID, reason=str(error), drawn=drawn)
            return
        if self._trials.was_pruned(str(directory)):
            self._display.say(f"[{label}] is a run that was pruned before")
            self._trials.tell(
                trial, TrialState.PRUNED, end=State.PRUNED, drawn=drawn, directory=str(directory)
            )
            return
        cell = next((known for known in self._cells if known.run_id == start.run_id), None)
        if cell is None:
            cell = Cell(composed, label, start.run_id, directory, kept=start.kept)
            cell.place = f"{trial.number + 1} of {self._settings.n_trials}"
            remember([cell])
            self._cells.append(cell)
            self._scheduler.add(cell)
        else:
            self._display.say(f"[{label}] is the same run as {cell.label}")
        known_rungs = self._trials.all()[trial.number].intermediate_values
        self._open.append(_Open(trial, cell, drawn, max(known_rungs, default=0)))

    def _judge(self) -> None:
        for one in self._open.copy():
            if one.cell.state is State.RUNNING:
                self._see_curve(one)
            elif one.cell.state not in OPEN and one.cell.state is not State.STOPPED:
                self._open.remove(one)
                self._tell(one)

    def _see_curve(self, one: _Open) -> None:
        """Report places that it has passed; where several at once, all with the present score."""
        cell, passed = one.cell, int(one.cell.fraction * RUNGS)
        for rung in range(one.rung + 1, passed + 1):
            one.rung = rung
            score = cell.score
            if score is not None and math.isfinite(score) and self._trials.report(one.trial, rung, score):
                self._scheduler.prune(cell)
                one.rung = RUNGS
                return

    def _tell(self, one: _Open) -> None:
        """Its end. A diverged one has failed: no value of it could be compared with those of others."""
        cell, reason, value = one.cell, one.cell.reason, None
        if cell.state is State.DONE:
            value, reason = self._value(cell)
        done = TrialState.COMPLETE if value is not None else TrialState.FAIL
        state = TrialState.PRUNED if cell.state is State.PRUNED else done
        end = str(State.FAILED if cell.state is State.DONE and value is None else cell.state)
        self._trials.tell(
            one.trial, state, value, end=end, reason=reason, drawn=one.drawn, directory=str(cell.directory)
        )

    def _value(self, cell: Cell) -> tuple[float | None, str]:
        """What the search is after, or why there is none."""
        try:
            result = read_result(cell.kept or cell.directory) or {}
        except StorageError as error:
            return None, str(error)
        row = (result.get("evaluation") or {}).get(POLICY) or {}
        value = row.get(self._settings.objective)
        return value, "" if value is not None else f"its result has no {self._settings.objective}"


def _counts(trials: Trials) -> str:
    names = {
        TrialState.COMPLETE: "done",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
        TrialState.RUNNING: "begun",
    }
    found = Counter(trial.state for trial in trials.all())
    each = ", ".join(f"{number} {name}" for state, name in names.items() if (number := found[state]))
    return f"{found.total()} trials" + (f": {each}" if each else "")


def _last_lines(
    trials: Trials, space: Space, settings: SearchSettings, asked: Sweep, again: str, code: int
) -> list[str]:
    lines = [
        f"trial {trial.number} ({' '.join(trial.user_attrs['drawn'])}): {trial.user_attrs['end']}: "
        f"{trial.user_attrs['reason']}"
        for trial in trials.all()
        if trial.state is TrialState.FAIL
    ]
    lines.append(f"{'stopped: ' if code else ''}{_counts(trials)}")
    if (best := trials.best()) is not None:
        drawn = best.user_attrs["drawn"]
        lines.append(f"best: trial {best.number}, {settings.objective} {best.value:.6g}: {' '.join(drawn)}")
        lines.append(f"  in {best.user_attrs['directory']}")
        own = sweep_command(asked.jobs[0].sources, [*space.fixed, *drawn])
        lines.append(f"  to train it again: {own}")
    if code:
        lines.append(f"the same command does what is missing: {again}")
    else:
        lines.append(f"for more trials, a larger hydra.sweeper.n_trials: {again}")
    return lines
