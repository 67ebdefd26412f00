"""Cells as jobs of SLURM, which go on without the driver: they save, are requeued, and follow their parents.

submitit writes what a job needs and submits it. What becomes of jobs is asked of squeue, for all at once, and
read from the files that they keep.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit.core.utils import FailedJobError
from submitit.helpers import clean_env
from submitit.slurm.slurm import SlurmExecutor

from tedg import slurm
from tedg.errors import ConfigError
from tedg.store.study import JOBS, job_name, job_report, recorded_jobs, told_by_job
from tedg.sweep.cell import Cell, State
from tedg.sweep.launcher import CANCELLED, NEVER_BEGAN, Ended, Progress, Waits
from tedg.sweep.slurm_job import Errand, run

LONGEST_ARRAY = 1000  # SLURM's own limit, unless a cluster sets another


class SlurmLauncher:
    """Submits what starts in one turn as one array, and each child as a job that depends on its parent's."""

    detached = True

    def __init__(self, parameters: Mapping[str, Any], n_jobs: int | None, poll_seconds: float) -> None:
        """`parameters` are submitit's; `n_jobs` jobs of an array run at once, or as many as SLURM lets."""
        self._parameters, self._n_jobs, self._poll_seconds = dict(parameters), n_jobs, poll_seconds
        self._batch: list[Cell] = []  # to be submitted
        self._jobs: dict[Cell, str] = {}  # parents before their children
        self._adopted: set[Cell] = set()  # whose jobs an earlier command submitted
        self._silent: set[Cell] = set()  # whose jobs have ended without a word, as it seemed last time
        self._asked_at = float("-inf")
        self._trouble = ""  # what was said last about a submission that failed

    def has_room(self) -> bool:
        """The queue is SLURM's."""
        return True

    def start(self, cell: Cell) -> None:
        """Submit it with the others of this turn, unless it has a job already."""
        self._batch.append(cell)

    def stop(self) -> None:
        """Jobs go on."""

    def stop_cell(self, cell: Cell) -> None:
        """Cancel its job, which SLURM tells to end a while before it kills it."""
        subprocess.run(["scancel", self._jobs[cell]], check=False, capture_output=True)

    def save(self) -> None:
        """Jobs save when SLURM tells them to."""

    def news(self) -> Iterator[Progress | Waits | Ended]:
        """What has become of the jobs; SLURM is asked every `poll_seconds` only."""
        at_once = self._batch and not self._trouble
        if not at_once and time.monotonic() - self._asked_at < self._poll_seconds:
            return
        known = slurm.jobs()
        self._asked_at = time.monotonic()
        if known is None:
            if not self._jobs and self._batch:
                raise self._refusal("squeue does not answer")
            return
        for cell, job in list(self._jobs.items()):
            if _depends_in_vain(cell, self._jobs):
                del self._jobs[cell]  # SLURM cancels the job
                yield Ended(cell, None, kind=NEVER_BEGAN)
            else:
                yield from self._look(cell, job, known.get(job))
        if self._batch:
            yield from self._submit_all()

    def _look(self, cell: Cell, job: str, known: slurm.Job | None) -> Iterator[Progress | Waits | Ended]:
        told = told_by_job(cell.composed.root, cell.directory.name, job) or {}
        if known is not None and not known.ended:
            if known.state == "PENDING":
                yield Waits(cell)
            elif known.state != "CONFIGURING":
                steps = told.get("env_steps", cell.env_steps or 0)
                yield Progress(cell, told.get("fraction", cell.fraction), steps, told.get("score"))
            self._silent.discard(cell)
        elif told.get("code") is None and cell not in self._silent:
            self._silent.add(cell)  # on a shared file system, its last words may come a moment later
        else:
            del self._jobs[cell]
            self._silent.discard(cell)
            self._adopted.discard(cell)
            yield self._ended(cell, job, known, told)

    def _ended(self, cell: Cell, job: str, known: slurm.Job | None, told: Mapping[str, Any]) -> Ended:
        seconds, state = told.get("seconds", 0.0), "gone" if known is None else known.state
        if state == "CANCELLED":
            return Ended(cell, None, "", CANCELLED, f"its job {job} was cancelled", seconds)
        if told.get("code") is None:
            where = "" if told else f"; see {_folder(cell.composed.root)}/{job}_0_log.out"
            return Ended(cell, None, "", "", f"its job {job} has ended as {state}{where}", seconds)
        kind, message = told.get("kind", ""), told.get("message", "")
        return Ended(cell, told["code"], "", kind, message, seconds)

    def _submit_all(self) -> Iterator[Waits]:
        batch, self._batch = self._batch, []
        try:
            for root in dict.fromkeys(cell.composed.root for cell in batch):
                cells = [cell for cell in batch if cell.composed.root == root]
                yield from self._submit(root, cells)
            self._trouble = ""
        except FailedJobError as error:
            self._batch = [cell for cell in batch if cell not in self._jobs]
            said = "; ".join(line.removeprefix("sbatch: error: ") for line in str(error).splitlines())
            if not self._jobs:
                raise self._refusal(f"sbatch: {said}") from None
            if said != self._trouble:
                self._trouble = said
                yield from (Waits(cell, f"cannot be submitted: {said}; trying again") for cell in self._batch)

    def _refusal(self, text: str) -> ConfigError:
        for cell in self._batch:
            cell.state = State.QUEUED
        return ConfigError(f"hydra/launcher=slurm: {text}")

    def _submit(self, root: Path, cells: Sequence[Cell]) -> Iterator[Waits]:
        """Submit those that have no job. Two commands at once, or one after the other, submit a cell once."""
        before = set(self._jobs)
        try:
            with recorded_jobs(root) as recorded:
                # Asked while nobody else submits: of a job that came since the last time, SLURM would seem
                # to know nothing, and the cell would get a second one.
                known = slurm.jobs()
                if known is None:
                    raise FailedJobError("squeue does not answer")
                for cell in cells:
                    self._adopt(cell, recorded.get(cell.directory.name, ""), known)
                missing = [cell for cell in cells if cell not in self._jobs]
                heads = [cell for cell in missing if cell.parent is None or cell.parent.state is State.DONE]
                for first in range(0, len(heads), LONGEST_ARRAY):
                    self._array(root, heads[first : first + LONGEST_ARRAY], recorded)
                for cell in missing:
                    if cell not in heads and cell.parent is not None:
                        self._array(root, [cell], recorded, cell.parent)
        finally:
            for cell in cells:
                if cell in self._jobs and cell not in before:
                    cell.job = self._jobs[cell]
        for cell in cells:
            own = "is in SLURM already as" if cell in self._adopted else "submitted as"
            yield Waits(cell, f"{own} job {cell.job}")

    def _adopt(self, cell: Cell, job: str, known: Mapping[str, slurm.Job]) -> None:
        """Take over the job that another command has submitted for the cell, if it can still run."""
        if job not in known or known[job].ended or known[job].name != job_name(cell.composed.root):
            return
        if cell.parent is None or cell.parent.state is State.DONE or cell.parent in self._adopted:
            self._adopted.add(cell)
            self._jobs[cell] = job
        else:  # it depends on a job that its parent no longer has
            subprocess.run(["scancel", job], check=False, capture_output=True)

    def _array(
        self, root: Path, cells: Sequence[Cell], recorded: dict[str, str], parent: Cell | None = None
    ) -> None:
        if not cells:
            return
        own: dict[str, Any] = {**self._parameters, "job_name": job_name(root)}
        own["array_parallelism"] = self._n_jobs or len(cells)
        if parent is not None:
            own["dependency"] = f"afterok:{self._jobs[parent]}"
            never = {"kill-on-invalid-dep": "yes"}  # rather than waiting for ever
            own["additional_parameters"] = {**own["additional_parameters"], **never}
        # A driver that is a job itself would hand its own settings down.
        inside = clean_env() if "SLURM_JOB_ID" in os.environ else contextlib.nullcontext()
        with inside, contextlib.redirect_stderr(io.StringIO()):  # what sbatch says is in the error
            executor = SlurmExecutor(_folder(root))
            executor.update_parameters(**own)
            jobs = executor.map_array(run, [_errand(cell, root) for cell in cells])
        for cell, job in zip(cells, jobs, strict=True):
            self._jobs[cell] = recorded[cell.directory.name] = job.job_id


def _depends_in_vain(cell: Cell, jobs: Mapping[Cell, str]) -> bool:
    """Whether its job waits for one that has ended without weights."""
    parent = cell.parent
    return parent is not None and parent not in jobs and parent.state is not State.DONE


def _errand(cell: Cell, root: Path) -> Errand:
    parent = None if cell.parent is None else cell.parent.directory.absolute()
    report = job_report(root.absolute(), cell.directory.name)
    return Errand(cell.composed, cell.directory.absolute(), cell.log.absolute(), report, parent, cell.place)


def _folder(root: Path) -> Path:
    return root / JOBS
