"""The work that everyone does, and when it is timed. Imports nothing but the standard library."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MAX_EPISODE_STEPS = 500
CYCLE_STEPS = 8192  # env steps that are collected before they are learnt from
NUM_EPOCHS = 4
MINIBATCH_SIZE = 2048
GRADIENT_STEPS = NUM_EPOCHS * CYCLE_STEPS // MINIBATCH_SIZE  # of one cycle
WARM_UP_CYCLES = 3


class Window:
    """Times whole cycles of collecting and learning, after those of the warm-up.

    It closes at the first end of a cycle with at least `steps` env steps in it. `clock` returns seconds.
    """

    def __init__(self, steps: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._steps, self._clock = steps, clock
        self._ended = 0
        self._opened = 0.0
        self.seconds = 0.0

    @property
    def cycles(self) -> int:
        """Cycles in the window so far."""
        return max(self._ended - WARM_UP_CYCLES, 0)

    @property
    def opens(self) -> bool:
        """The cycle that ended last was the last one of the warm-up."""
        return self._ended == WARM_UP_CYCLES

    @property
    def closed(self) -> bool:
        """Enough was timed."""
        return self.cycles > 0 and self.cycles * CYCLE_STEPS >= self._steps

    def cycle_ended(self) -> None:
        """A cycle ended now; what comes after the window has closed does not count."""
        if self.closed:
            return
        now = self._clock()
        self._ended += 1
        if self.opens:
            self._opened = now
        self.seconds = now - self._opened


@dataclass(frozen=True, slots=True)
class Timing:
    """What one run has to say."""

    cycles: int  # in the window
    seconds: float  # of the window
    checked_cycles: int  # over these the optimiser's steps were counted
    gradient_steps: int  # that it took in them
    parameters: int  # trained numbers
    settings: dict[str, Any]  # choices that are the contestant's own
    versions: dict[str, str]

    @property
    def steps_per_second(self) -> float:
        """Env steps that were collected and learnt from, per second."""
        return self.cycles * CYCLE_STEPS / self.seconds

    def write(self, path: Path) -> None:
        """Save as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Timing:
        """Load what `write` saved. Raises RuntimeError if the run did not do all of its work."""
        timing = cls(**json.loads(path.read_text()))
        due = timing.checked_cycles * GRADIENT_STEPS
        if not timing.checked_cycles or timing.gradient_steps != due:
            raise RuntimeError(
                f"{timing.gradient_steps} gradient steps in {timing.checked_cycles} cycles, {due} are due"
            )
        return timing


def run_parser(description: str | None) -> ArgumentParser:
    """The arguments that every run takes."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, required=True, help="env steps to time, after the warm-up")
    parser.add_argument("--result", type=Path, required=True, help="file for the timing")
    return parser
