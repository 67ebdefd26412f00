"""What of this machine each cell gets: cores of its own, and a share of a GPU where there are any."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tedg.config.compose import Composed
from tedg.processes import split


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for one cell."""

    cores: tuple[int, ...]
    gpu: str | None = None  # as CUDA_VISIBLE_DEVICES names it


def share(
    cells: int, cores: Sequence[int], gpus: Sequence[str], n_jobs: int | None, jobs_per_gpu: int
) -> list[Slot]:
    """Room for the cells that run at once: `n_jobs`, or one on each core, or `jobs_per_gpu` on each GPU.

    Cores that are left over are shared out; where there are too few, slots share them.
    """
    number = n_jobs or (len(gpus) * jobs_per_gpu if gpus else len(cores))
    number = max(min(number, cells), 1)
    own: list[tuple[int, ...]]
    if number > len(cores):
        own = [(cores[n % len(cores)],) for n in range(number)]
    else:
        own = [tuple(cores[part]) for part in split(slice(0, len(cores)), number)]
    return [Slot(part, gpus[n % len(gpus)] if gpus else None) for n, part in enumerate(own)]


def fitted(composed: Composed, slot: Slot) -> Composed:
    """The configuration for its slot: as many processes as cores, and on one core none of the games' own.

    Values that the user has set stay. Neither key counts in a run's id.
    """
    config, cores = composed.config, len(slot.cores)
    env = dict(config.env)
    if env.get("num_workers", 0) is None:
        env["num_workers"] = cores if cores > 1 else 0
    return replace(composed, config=replace(config, threads=config.threads or cores, env=env))


def gpus_for(jobs: Sequence[Composed]) -> list[str]:
    """The GPUs that cells may use; none where all cells are to run on the CPU.

    CUDA itself is not asked: a process that has begun to use it cannot be forked.
    """
    if all(job.config.device == "cpu" for job in jobs):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()
