"""Which settings are tried for one run and for a sweep on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tedg.config.compose import Composed
from tedg.config.run_config import RunConfig
from tedg.sweep.machine import Slot, fitted, share

PER_GPU = (1, 2, 4)  # cells that share a GPU


@dataclass(frozen=True, slots=True)
class Candidate:
    """Overrides of a run or of the launcher, and what runs under them: a cell in each slot."""

    settings: tuple[str, ...]
    configs: tuple[RunConfig, ...]
    slots: tuple[Slot, ...]

    def __str__(self) -> str:
        return " ".join(self.settings) or "defaults"


def for_one_run(config: RunConfig, cores: Sequence[int], gpus: Sequence[str]) -> list[Candidate]:
    """The configuration as it is, then fewer processes down to one core; keys that are set stay.

    On a GPU only the workers are chosen: it learns in one process.
    """
    number = len(cores)
    own_threads = not gpus and config.threads is None
    own_workers = "num_workers" in config.env and config.env["num_workers"] is None
    fewer = [count for count, least in ((number // 2, 4), (4, 16), (1, 2)) if number >= least]
    threads: list[int | None] = [None, *(fewer if own_threads else [])]
    wanted: list[tuple[int | None, int | None]] = [(count, None) for count in dict.fromkeys(threads)]
    if own_workers:
        wanted.append((1 if 1 in threads else None, 0))
    found = []
    slot = Slot(tuple(cores), gpus[0] if gpus else None)
    for count, workers in wanted:
        env = config.env if workers is None else {**config.env, "num_workers": workers}
        settings = [] if count is None else [f"threads={count}"]
        settings += [] if workers is None else [f"env.num_workers={workers}"]
        one = replace(config, threads=count or config.threads, env=env)
        found.append(Candidate(tuple(settings), (one,), (slot,)))
    return found


def for_a_sweep(composed: Composed, cores: Sequence[int], gpus: Sequence[str], most: int) -> list[Candidate]:
    """What the local launcher does by itself, then other numbers of cells; at most `most` at once.

    Cells have the cores and processes that it gives them. Where `most` is less than its own number, that is
    the first to be tried.
    """
    if gpus:
        counts = {f"hydra.launcher.jobs_per_gpu={each}": len(gpus) * each for each in PER_GPU}
        own = len(gpus)
    else:
        own = len(cores)
        wanted = [own, min(own, most), *([own // 2] if own >= 4 else []), 1]
        counts = {f"hydra.launcher.n_jobs={count}": count for count in wanted}
    if own > most:
        counts = {f"hydra.launcher.n_jobs={most}": most, **counts}
    found = []
    for setting, count in counts.items():
        if count <= most:
            slots = tuple(share(count, cores, gpus, count, 1))
            configs = tuple(fitted(composed, slot).config for slot in slots)
            found.append(Candidate(() if count == own else (setting,), configs, slots))
    return found


def same_work(one: Candidate, other: Candidate) -> bool:
    """Whether both are one run with equally many processes, so that one measurement is enough."""
    return len(one.slots) == len(other.slots) == 1 and _processes(one) == _processes(other)


def _processes(one: Candidate) -> tuple[object, ...]:
    config, slot = one.configs[0], one.slots[0]
    workers = config.env.get("num_workers", 0)
    number = len(slot.cores)
    return slot, config.threads or number, number if workers is None else workers
