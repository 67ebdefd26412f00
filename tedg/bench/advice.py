"""From measured figures to advice: which settings are best, and how sure that is. Knows numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

LEAST_GAIN = 0.05  # below which a difference is noise, whatever the rounds say
KEPT_FREE = 0.1  # of the free memory: for evaluation, checkpoints and the rest of the system
STUDY_CELLS, STUDY_STEPS = 20, 1_000_000


@dataclass(frozen=True, slots=True)
class Tried:
    """Settings, and what they gave: env steps per second of all cells together in each round."""

    settings: tuple[str, ...]  # overrides; none: the defaults
    rounds: tuple[float, ...]
    memory_bytes: int  # of one cell
    cells: int = 1  # that trained side by side
    cores: int = 1  # of each

    @property
    def rate(self) -> float:
        """Mean of the rounds."""
        return mean(self.rounds)


@dataclass(frozen=True, slots=True)
class Advice:
    """The settings to take; `noise` is the most by which rounds of the same settings differed, as a share."""

    best: Tried
    noise: float
    close: tuple[Tried, ...]  # others that are as good within noise
    too_large: tuple[Tried, ...]  # whose cells would not fit into memory together


def choose(tried: Sequence[Tried], free_bytes: int) -> Advice:
    """The first of those that none beats clearly; so what stands first, the default, wins ties.

    Where all are too large for the memory, the one with the fewest cells is taken.
    """
    too_large = [one for one in tried if one.cells > cells_that_fit(free_bytes, one.memory_bytes)]
    fitting = [one for one in tried if one not in too_large] or [min(tried, key=lambda one: one.cells)]
    leader = max(fitting, key=lambda one: one.rate)
    as_good = [one for one in fitting if not clearly_faster(leader, one)]
    noise = max(max(one.rounds) / min(one.rounds) - 1 for one in tried)
    return Advice(as_good[0], noise, tuple(as_good[1:]), tuple(too_large))


def clearly_faster(one: Tried, other: Tried) -> bool:
    """Whether the slowest round of the one is by `LEAST_GAIN` above the fastest of the other.

    So one disturbed round, which slows a single measurement by half, cannot decide.
    """
    return min(one.rounds) >= (1 + LEAST_GAIN) * max(other.rounds)


def cells_that_fit(free_bytes: int, cell_bytes: int) -> int:
    """How many cells the memory allows at once; a single one is always tried."""
    return max(1, int((1 - KEPT_FREE) * free_bytes // cell_bytes))


def study_hours(best: Tried) -> float:
    """Hours of training of `STUDY_CELLS` cells, which begin in waves of as many as run at once."""
    waves = -(-STUDY_CELLS // best.cells)
    return waves * best.cells * STUDY_STEPS / best.rate / 3600
