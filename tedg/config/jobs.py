"""Composes the jobs of a sweep: Hydra does it once for jobs that differ in plain values, which are set then.

What comes out is exactly what Hydra would make of each job alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from tedg.config.causes import explain_missing_package
from tedg.config.hydra_api import COMPOSE_ERRORS, Loader, first_line, tell_overrides
from tedg.config.overrides import sound_overrides
from tedg.config.settle import Composed, Settling, as_in_its_job, as_in_its_job_again, typed
from tedg.config.shapes import Shape, Shapes
from tedg.config.typed import Faults

Progress = Callable[[int, int], None]  # called with (jobs that are composed, all jobs)

_KEPT = 8  # shapes at a time; each holds some copies of a configuration
_MORE = 12  # compositions by Hydra after the first fault, to report others with it


@dataclass(slots=True)
class Job:
    """One job of a sweep, with what became of it."""

    lines: Sequence[str]  # its overrides
    shape: Shape
    composed: Composed | None = None
    faults: Faults | None = None  # None as long as nobody looked at it


def compose_one(loader: Loader, overrides: Sequence[str], sweep: bool, faults: Faults) -> Composed | None:
    """Compose and validate one run; None after adding its faults."""
    composed = hydra_composed(loader, overrides, faults)
    if composed is None:
        return None
    full, cfg = composed
    with as_in_its_job(full, faults):
        settled = Settling(cfg, full, sweep, loader.sources).settle(faults)
    explain_missing_package(loader, full.hydra.runtime.choices, faults)
    return settled


def compose_jobs(
    loader: Loader, overrides: Sequence[Sequence[str]], sweep: bool, progress: Progress | None = None
) -> list[Job]:
    """Compose and validate every job of a sweep, or as many as show what is wrong with it.

    Each value of an axis is tried before any combination: first in the jobs that differ from the first one
    in a single value, which are all of them that are looked at if one has a fault.
    """
    makers = _Makers(loader, sweep)
    jobs = [makers.job(lines) for lines in overrides]
    alone = [job for job in jobs if sum(a != b for a, b in zip(job.lines, jobs[0].lines, strict=True)) < 2]
    done = 0
    for part in (alone, jobs):
        faulty, tries = False, 0
        for job in makers.in_order(part):
            if job.faults is not None:
                continue
            tries += faulty and makers.is_new(job)
            if tries > _MORE:
                break
            makers.make(job)
            faulty = faulty or job.faults is None or bool(job.faults.lines)
            done += 1
            if progress is not None:
                progress(done, len(jobs))
        if faulty:
            break
    return jobs


def hydra_composed(
    loader: Loader, overrides: Sequence[str], faults: Faults
) -> tuple[DictConfig, DictConfig] | None:
    """What Hydra makes of `overrides`, and the same without Hydra's own settings.

    Without the bad ones where there are such, to report what else is wrong; None where that is no help.
    """
    try:
        full = loader.compose(overrides, RunMode.RUN)
    except COMPOSE_ERRORS as error:
        good = sound_overrides(loader, overrides, False, faults)
        if len(good) < len(overrides):
            return hydra_composed(loader, good, faults)
        faults.report(first_line(error))
        return None
    return full, OmegaConf.masked_copy(full, [str(key) for key in full if key != "hydra"])


class _Makers:
    """Makes jobs, those of one shape from the first of them."""

    def __init__(self, loader: Loader, sweep: bool) -> None:
        self._loader, self._sweep = loader, sweep
        self._shapes = Shapes(loader)
        self._made: dict[Shape, _Maker] = {}

    def job(self, lines: Sequence[str]) -> Job:
        """A job that nobody has looked at."""
        return Job(lines, self._shapes.shape(lines))

    def in_order(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs with an option that is not there first, then those of the first one's shape, then others."""
        ranks: dict[Shape, int] = {}
        for job in jobs:
            ranks.setdefault(job.shape, len(ranks))
        return sorted(jobs, key=lambda job: (not self._shapes.miss_an_option(job.lines), ranks[job.shape]))

    def is_new(self, job: Job) -> bool:
        """Whether Hydra has to compose it."""
        return job.shape not in self._made

    def make(self, job: Job) -> None:
        """Fill in what becomes of a job; nothing where another of its shape could not be composed at all."""
        if self.is_new(job):
            job.faults = Faults()
            self._made[job.shape] = _Maker(self._loader, job, self._sweep)
            sound = [shape for shape, other in self._made.items() if not other.refused]
            for shape in sound[:-_KEPT]:
                del self._made[shape]
            return
        known = self._made[job.shape]
        if not known.refused:
            job.faults = Faults()
            known.make(job, self._shapes.overrides(job.lines))
        elif known.kept:
            rest = self.job([job.lines[i] for i in known.kept])
            self.make(rest)
            if rest.faults is not None:
                job.faults = Faults(known.refused.copy())
                job.faults.take(rest.faults)


class _Maker:
    """A job that Hydra composed, and the place of each plain value in it."""

    def __init__(self, loader: Loader, job: Job, sweep: bool) -> None:
        """Fill in what becomes of the job."""
        assert job.faults is not None
        self._loader, self._sweep, self._lines = loader, sweep, job.lines
        composed = hydra_composed(loader, job.lines, job.faults)
        self.refused = dict(job.faults.lines)  # what Hydra does not take
        self.kept: list[int] = []  # places of the overrides that it takes, if it does not take all
        if composed is None:
            return
        full, cfg = composed
        if self.refused:
            left = {*typed(full, "hydra"), *typed(full, "task")}
            self.kept = [i for i, line in enumerate(job.lines) if line in left]
        self._settling = Settling(cfg, full, sweep, loader.sources)
        with as_in_its_job(full, job.faults) as self._own:
            job.composed = self._settling.settle(job.faults)
        explain_missing_package(loader, full.hydra.runtime.choices, job.faults)
        self._is_closed = self._settling.is_closed and not full.hydra.job.env_set
        keys = [key.lstrip("+") for key, kind in job.shape if kind]
        self._can_set = all(self._settling.resolution.holds(tuple(key.split("."))) for key in keys)

    def make(self, job: Job, overrides: Sequence[Any]) -> None:
        """Fill in another job of the same shape."""
        assert job.faults is not None
        if not self._can_set:
            job.composed = compose_one(self._loader, job.lines, self._sweep, job.faults)
            return
        for before, line, override in zip(self._lines, job.lines, overrides, strict=True):
            if line != before:
                self._settling.set(override.key_or_group, override.value())
        self._lines = job.lines
        full = self._settling.full
        self._settling.overrides = [one.input_line for one in overrides if not one.is_hydra_override()]
        if not self._is_closed:
            tell_overrides((full, self._own), overrides)
        with as_in_its_job_again(self._own, job.faults):
            job.composed = self._settling.settle(job.faults)
        if job.faults.lines:
            explain_missing_package(self._loader, full.hydra.runtime.choices, job.faults)
