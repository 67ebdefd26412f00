"""`--advise`: try the settings that one run and a sweep could use here, and say which are best."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from tedg.bench.advice import STUDY_CELLS, STUDY_STEPS, Advice, Tried, cells_that_fit, choose, study_hours
from tedg.bench.candidates import Candidate, for_a_sweep, for_one_run, same_work
from tedg.bench.flags import Options
from tedg.bench.jobs import MeasurementError
from tedg.bench.warm import Warm, warm
from tedg.config.compose import compose
from tedg.processes import free_memory
from tedg.run.provenance import session
from tedg.sweep.machine import gpus_for

ROUNDS = 2


@dataclass(slots=True)
class Findings:
    """What was tried, for one run and for a sweep, and what could not be."""

    cores: int
    gpus: list[str]
    free_bytes: int  # before anything began
    load: float  # processes that were at work then
    one_run: list[Tried] = field(default_factory=list)
    sweep: list[Tried] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    def advice(self) -> dict[str, Advice]:
        """The best of each part; one run is only one, so memory bounds nothing there."""
        return {
            "one run": choose(self.one_run, self.free_bytes),
            "a sweep": choose(self.sweep, self.free_bytes),
        }


def advise(options: Options) -> Findings:
    """Measure; ConfigError for a configuration that is refused, MeasurementError where nothing could run."""
    composed = compose([*options.overrides, "logger=none"])
    cores = sorted(os.sched_getaffinity(0))
    gpus = gpus_for([composed])
    found = Findings(len(cores), gpus, free_memory(), os.getloadavg()[0])
    say = _Progress()
    singles = for_one_run(composed.config, cores, gpus)
    alone = _one_run(singles, options.seconds, found, say)
    if not alone:
        raise MeasurementError(f"no settings could be tried: {found.failures[0]['message']}")
    most = cells_that_fit(found.free_bytes, min(one.memory_bytes for one in alone.values()))
    for candidate in for_a_sweep(composed, cores, gpus, most):
        known = next((own for number, own in alone.items() if same_work(candidate, singles[number])), None)
        if known is not None:
            found.sweep.append(_tried(candidate, known.rounds, known.memory_bytes))
        else:
            _side_by_side(candidate, options.seconds, found, say)
    if not found.sweep:
        raise MeasurementError(f"no sweep could be tried: {found.failures[-1]['message']}")
    return found


def document(options: Options, found: Findings) -> dict[str, Any]:
    """What was found, for the JSON file."""
    parts = found.advice()
    threads = found.cores
    return {
        "machine": session("cuda" if found.gpus else "cpu", threads),
        "settings": {"overrides": options.overrides, "seconds": options.seconds, "rounds": ROUNDS},
        **asdict(found),
        "advice": {name.replace(" ", "_"): asdict(advice) for name, advice in parts.items()},
        "study": {
            "cells": STUDY_CELLS,
            "env_steps_each": STUDY_STEPS,
            "hours": study_hours(parts["a sweep"].best),
        },
    }


def _one_run(
    candidates: Sequence[Candidate], seconds: float, found: Findings, say: _Progress
) -> dict[int, Tried]:
    """All are made ready first, then they take turns, so that a slow minute hits each; by their numbers."""
    ready: dict[int, Warm] = {}
    memory: dict[int, int] = {}
    rounds: dict[int, list[float]] = {}
    with ExitStack() as closing:
        for number, one in enumerate(candidates):
            try:
                if memory and free_memory() < max(memory.values()):
                    raise MeasurementError("left out: too little memory is free to keep one more ready")
                ready[number] = closing.enter_context(warm(one))
                memory[number], rounds[number] = ready[number].memory_alone(), []
                say(f"one run: {one}  ready")
            except MeasurementError as error:
                _failed("one run", one, error, found, say)
        for _ in range(ROUNDS):
            for number, own in list(ready.items()):
                try:
                    rounds[number].append(own.turn(seconds))
                    memory[number] = max(memory[number], own.memory_alone())
                    say(f"one run: {candidates[number]}  {rounds[number][-1]:,.0f} steps/s")
                except MeasurementError as error:
                    del ready[number]
                    _failed("one run", candidates[number], error, found, say)
    tried = {number: _tried(candidates[number], rounds[number], memory[number]) for number in ready}
    found.one_run += tried.values()
    return tried


def _side_by_side(candidate: Candidate, seconds: float, found: Findings, say: _Progress) -> None:
    number = len(candidate.slots)
    try:
        with warm(candidate) as cells:
            say(f"sweep: {candidate}  {number} cells ready")
            rounds = cells.side_by_side(seconds)
            memory = cells.memory_together().bytes // number
    except MeasurementError as error:
        _failed("sweep", candidate, error, found, say)
        return
    found.sweep.append(_tried(candidate, rounds, memory))
    say(f"sweep: {candidate}  {found.sweep[-1].rate:,.0f} steps/s")


def _tried(candidate: Candidate, rounds: Sequence[float], memory_bytes: int) -> Tried:
    slots = candidate.slots
    return Tried(candidate.settings, tuple(rounds), memory_bytes, len(slots), len(slots[0].cores))


def _failed(part: str, one: Candidate, error: Exception, found: Findings, say: _Progress) -> None:
    found.failures.append({"part": part, "settings": str(one), "message": str(error)})
    say(f"{part}: {one}  failed: {error}")


class _Progress:
    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"{time.monotonic() - self._start:.0f} s  {text}", flush=True)
