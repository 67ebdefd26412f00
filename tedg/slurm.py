"""Asks SLURM to run this job again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

_SECONDS = 30


def requeue(say: Callable[[str], None]) -> None:
    """Put the SLURM job that this process belongs to back into the queue; outside of a job, do nothing."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        problem = done.stderr.strip() if done.returncode else None
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem is None:
        say(f"job {job} was put back into the queue")
    else:
        say(f"job {job} could not be put back into the queue: {problem}")
