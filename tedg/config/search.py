"""The search space of hydra/sweeper=optuna: what a trial draws for each key, and the run that this makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, Sweep
from omegaconf import DictConfig

from tedg.config.hydra_api import Loader
from tedg.config.jobs import Job, Progress, compose_jobs, compose_one
from tedg.config.settle import Composed
from tedg.config.typed import Faults
from tedg.errors import ConfigError
from tedg.spelling import did_you_mean

OBJECTIVES = (
    "mean_score",
    "median_score",
    "nonzero_share",
    "mean_return",
)  # of the policy's row in result.json
SAMPLERS = ("tpe", "random")
_SWEEPER = "hydra_plugins.tedg_sweeps.optuna_sweeper.OptunaSweeper"


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """The keys of hydra.sweeper that say how to search."""

    n_trials: int  # over all commands
    objective: str
    sampler: str
    seed: int
    startup_trials: int
    prune_after: float | None  # share of a trial's budget

    def validate(self) -> None:
        """Raises one ConfigError with all that is wrong."""
        faults = Faults()
        for name, least in (("n_trials", 1), ("seed", 0), ("startup_trials", 1)):
            if getattr(self, name) < least:
                faults.add(f"hydra.sweeper.{name}", getattr(self, name), f"must be {least} or more")
        for name, known in (("objective", OBJECTIVES), ("sampler", SAMPLERS)):
            if getattr(self, name) not in known:
                near = did_you_mean(getattr(self, name), known)
                faults.add(
                    f"hydra.sweeper.{name}", getattr(self, name), f"must be one of {', '.join(known)}{near}"
                )
        if self.prune_after is not None and not 0 <= self.prune_after < 1:
            faults.add("hydra.sweeper.prune_after", self.prune_after, "must be from 0 to below 1, or null")
        faults.raise_if_any()


@dataclass(frozen=True, slots=True)
class Dimension:
    """What is drawn for one key: one of `texts`, or a number from `low` to `high`, in steps or not."""

    key: str  # as in an override, with its + where it has one
    written: str  # the value, as Hydra reads it
    texts: tuple[str, ...] = ()  # of a choice, or of the numbers of a range in their order
    low: float = math.nan  # whole numbers are ints
    high: float = math.nan
    step: float | None = None
    log: bool = False

    def line(self, value: Any) -> str:
        """The override that sets a value which was drawn."""
        if self.step is not None:
            value = self.texts[round((value - self.low) / self.step)]
        elif isinstance(value, float):  # four digits are as good, and can be read
            value = min(max(float(f"{value:.4g}"), self.low), self.high)
        return f"{self.key}={value}"

    @property
    def tried(self) -> list[str]:
        """Overrides that show whether its values are any good: each text; else the ends and one between."""
        if self.texts:
            return [f"{self.key}={text}" for text in self.texts]
        width = self.high - self.low
        between = self.low + (width // 2 if isinstance(width, int) else 0.382 * width)  # not whole by chance
        return [f"{self.key}={value}" for value in (self.low, between, self.high)]


@dataclass(frozen=True, slots=True)
class Space:
    """All runs that a search can draw."""

    dimensions: tuple[Dimension, ...]
    fixed: tuple[str, ...]  # overrides of every trial
    loader: Loader

    def compose(self, drawn: Sequence[str]) -> Composed:
        """The run with these overrides; ConfigError, in one line, where they do not go together."""
        faults = Faults()
        composed = compose_one(self.loader, [*self.fixed, *drawn], True, faults)
        if composed is None or faults.lines:
            raise ConfigError("; ".join(faults.lines))
        return composed

    def tried(self, progress: Progress | None = None) -> list[Job]:
        """A job for each value, the others at their first ones, or where that has a fault, at their last.

        If a value has a fault in both, only the latter.
        """
        every = [dimension.tried for dimension in self.dimensions]
        values = [(place, line) for place, lines in enumerate(every) for line in lines]

        def with_others(end: int, chosen: Sequence[tuple[int, str]]) -> list[Job]:
            others = [lines[end] for lines in every]
            jobs = [[*others[:place], line, *others[place + 1 :]] for place, line in chosen]
            lines = [[*self.fixed, *job] for job in (others, *jobs)]
            return compose_jobs(self.loader, lines, True, progress)[1:]

        jobs = with_others(0, values)
        doubtful = [n for n, job in enumerate(jobs) if job.composed is None]
        if doubtful:
            again = with_others(-1, [values[n] for n in doubtful])
            if any(job.faults is not None and job.faults.lines for job in again):
                return again
            for n, job in zip(doubtful, again, strict=True):
                jobs[n] = job
        return jobs


def is_search(master: DictConfig) -> bool:
    """Whether hydra/sweeper=optuna was chosen."""
    return bool(master.hydra.sweeper._target_ == _SWEEPER)


def space_of(loader: Loader, own: Sequence[str], lines: Sequence[Override], faults: Faults) -> Space | None:
    """The space that overrides span; None where each of them has a single value, or after adding faults.

    `own` are Hydra's own overrides.
    """
    dimensions: dict[str, Dimension] = {}
    for override in (line for line in lines if line.is_sweep_override()):
        try:
            dimensions[override.get_key_element()] = _dimension(override)
        except ValueError as error:
            faults.report(f"{override.input_line}: {error}")
    fixed = [str(line.input_line) for line in lines if not line.is_sweep_override()]
    if faults.lines or not dimensions:
        return None
    return Space(tuple(dimensions.values()), (*own, *fixed), loader)


def _dimension(override: Override) -> Dimension:
    """Raises ValueError that says what is wrong."""
    key, value = override.get_key_element(), override.value()
    written = str(override.input_line).partition("=")[2]
    known = {"log", "int"} if isinstance(value, IntervalSweep) else set()
    if isinstance(value, Sweep) and (wrong := sorted(value.tags - known)):
        raise ValueError(f"the tag {wrong[0]} has no meaning here; an interval(...) can have log and int")
    if isinstance(value, IntervalSweep):
        return _interval(key, written, value)
    if isinstance(value, ChoiceSweep | RangeSweep):
        value.shuffle = False  # the order of trials is the sampler's
    if isinstance(value, RangeSweep) and not value.step:
        raise ValueError("its step is 0")
    texts = tuple(dict.fromkeys(map(str, override.sweep_string_iterator())))
    if not texts:
        raise ValueError("has no value")
    if not isinstance(value, RangeSweep):
        return Dimension(key, written, texts)
    numbers = list(value.range())
    if value.step < 0:
        numbers, texts = numbers[::-1], texts[::-1]
    return Dimension(key, written, texts, numbers[0], numbers[-1], abs(value.step))


def _interval(key: str, written: str, interval: IntervalSweep) -> Dimension:
    low, high = interval.start, interval.end
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError("needs two numbers, the lower one first")
    log = "log" in interval.tags
    if log and low <= 0:
        raise ValueError("a log scale needs numbers above 0")
    if "int" in interval.tags or (isinstance(low, int) and isinstance(high, int)):
        if low % 1 or high % 1:
            raise ValueError("needs whole numbers as its ends")
        low, high = int(low), int(high)
    return Dimension(key, written, (), low, high, None, log)
