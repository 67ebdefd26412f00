"""What is asked of SLURM by its own commands: how jobs stand, and to run this one again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import NamedTuple

COMMANDS = ("sbatch", "srun", "squeue", "scontrol")  # that a sweep on a cluster needs
_SECONDS = 30
_ENDED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
)


class Job(NamedTuple):
    """How a job stands."""

    name: str
    state: str  # PENDING, RUNNING, FAILED, ...
    reason: str  # why it waits, as SLURM puts it

    @property
    def ended(self) -> bool:
        """Whether it will not run again."""
        return self.state in _ENDED


def jobs() -> dict[str, Job] | None:
    """This user's jobs by their ids (`12`, `12_3`), and for minutes those that ended; None without an answer.

    squeue works on every cluster; sacct needs accounting, which lags behind and which some do not have.
    """
    command = ["squeue", f"--user={os.getuid()}", "--array", "--states=all", "--noheader", "--all"]
    try:
        done = subprocess.run(
            [*command, "--format=%i|%T|%r|%j"], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = {}
    for line in done.stdout.splitlines():
        number, state, reason, name = line.split("|", 3)
        found[number] = Job(name, state, "" if reason == "None" else reason)
    return found


def own_job() -> str | None:
    """The job that this process belongs to, `12` or `12_3`; None outside of any.

    SLURM_JOB_ID alone will not do: for one task of an array it is the number of the whole array.
    """
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    job = os.environ.get("SLURM_JOB_ID")
    return job if job is None or array is None or task is None else f"{array}_{task}"


def requeue(say: Callable[[str], None]) -> None:
    """Put the SLURM job that this process belongs to back into the queue; outside of a job, do nothing."""
    job = own_job()
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
