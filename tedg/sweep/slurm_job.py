"""What a job of SLURM does: trains its cell, without a driver, and keeps a file that says how that goes."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tedg import slurm, startup
from tedg.config.compose import Composed
from tedg.errors import CONFIG, FAILED, StorageError
from tedg.files import read_json, write_json
from tedg.run.starts import is_finished
from tedg.sweep.child import LIMITED, end_with, print_to, train_cell
from tedg.sweep.machine import Slot, fitted

_SECONDS = 2.0  # least time between two writings of the file


@dataclass(frozen=True, slots=True)
class Errand:
    """What a job needs to know. All paths are absolute."""

    composed: Composed
    directory: Path  # of the run
    log: Path  # what it prints goes there
    report: Path  # and how it fares
    parent: Path | None = None  # run directory of the cell that it begins from
    place: str = ""  # among the cells: `3 of 12`


def run(errand: Errand) -> NoReturn:
    """Do the errand and end the process; SLURM is told 0 exactly where there are weights for children."""

    def work() -> int:
        report = ReportFile(errand.report, _settle_in(errand))
        code = _train(errand, report)
        report.close(code)
        return 0 if is_finished(errand.directory) else code or FAILED

    end_with(work)


def _settle_in(errand: Errand) -> str:
    """Its own log, and signals as tedg answers them; returns the job's id."""
    # In place of submitit's handlers. These would requeue a job from within a signal, and give up after a
    # number of times. The run does it: on SIGUSR2 it ends its update, saves, and asks for it (tedg/slurm.py).
    startup.leave_on_signals()
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    print_to(errand.log)
    os.environ.update(dict.fromkeys(LIMITED, str(_cores())))
    job = slurm.own_job() or "none"
    now, start = time.strftime("%Y-%m-%d %H:%M:%S"), int(os.environ.get("SLURM_RESTART_COUNT", 0)) + 1
    where = f"process {os.getpid()} on {socket.gethostname()}, {_cores()} cores"
    print(f"--- {now}, job {job}, start {start}, {where}", flush=True)
    return job


def _cores() -> int:
    """How many are this job's: where SLURM binds no processes to cores, all of the machine can be seen."""
    return min(int(os.environ.get("SLURM_CPUS_PER_TASK", 1)), len(os.sched_getaffinity(0)))


def _train(errand: Errand, report: ReportFile) -> int:
    if errand.parent is not None and not is_finished(errand.parent):
        # It would begin with fresh weights, which is another run.
        message = f"{errand.parent}, whose weights it begins from, is not finished"
        print(f"error: {message}", file=sys.stderr, flush=True)
        report.ended("ConfigError", message)
        return CONFIG
    composed = fitted(errand.composed, Slot(tuple(range(_cores()))))
    return train_cell(composed, report, errand.place)


class ReportFile:
    """JSON with `job`, `seconds` in all its starts, `fraction`, `env_steps`, `score`; at the end `code`.

    `kind` and `message` are those of the error that it ended with.
    """

    def __init__(self, path: Path, job: str) -> None:
        self._path, self._begun, self._told_at = path, time.monotonic(), 0.0
        before: dict[str, Any] | None = None
        with suppress(StorageError):
            before = read_json(path)
        same = before is not None and before.get("job") == job  # it was requeued
        self._before = float(before["seconds"]) if same and before is not None else 0.0
        self._content: dict[str, Any] = {"job": job}
        self._write()

    def progress(self, fraction: float, env_steps: int, score: float | None) -> None:
        """Tell how far it is, unless it just did."""
        self._content |= {"fraction": fraction, "env_steps": env_steps, "score": score}
        if time.monotonic() - self._told_at >= _SECONDS:
            self._write()

    def ended(self, kind: str, message: str) -> None:
        """Tell why it ends; `kind` is the error's class."""
        self._content |= {"kind": kind, "message": message}

    def close(self, code: int) -> None:
        """Tell the exit code of the run."""
        self._content["code"] = code
        self._write()

    def _write(self) -> None:
        self._told_at = time.monotonic()
        seconds = self._before + self._told_at - self._begun
        with suppress(StorageError):  # a full disk: the run itself will say so
            write_json(self._path, {**self._content, "seconds": round(seconds, 1)})
