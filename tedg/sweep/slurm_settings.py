"""From the keys of hydra/launcher=slurm to what submitit is told; bad ones are refused before any job."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from typing import Any

from tedg.errors import ConfigError
from tedg.slurm import COMMANDS

# As sbatch takes it, but for a number alone: YAML reads 4:00:00 without quotes as 14400, which were minutes.
_TIME = re.compile(r"(?:(\d+)-(\d+)(?::(\d+))?(?::(\d+))?)|(?:(?:(\d+):)?(\d+):(\d+))")
# What submitit says by itself, and what the launcher decides.
_OURS = ("array", "dependency", "error", "kill-on-invalid-dep", "open-mode", "output", "requeue", "signal")


def parameters(keys: Mapping[str, Any]) -> dict[str, Any]:
    """submitit's parameters for a cell's job. Raises ConfigError, also where there is no SLURM."""
    for name in ("n_jobs", "cpus_per_task", "gpus_per_node", "signal_delay_s"):
        if keys[name] is not None and keys[name] < 1:
            raise ConfigError(f"hydra.launcher.{name}={keys[name]}: must be 1 or more")
    if keys["poll_seconds"] <= 0:
        raise ConfigError(f"hydra.launcher.poll_seconds={keys['poll_seconds']}: must be above 0")
    seconds = time_limit(keys["time"])
    if 2 * keys["signal_delay_s"] > seconds:  # else a job might be told to end before it has begun to train
        raise ConfigError(
            f"hydra.launcher.signal_delay_s={keys['signal_delay_s']}: at most half of time={keys['time']}"
        )
    more = {name.replace("_", "-"): value for name, value in keys["additional_parameters"].items()}
    for name in more:
        if name in _OURS or name.replace("-", "_") in keys:
            instead = "tedg sets it itself" if name in _OURS else f"set {name.replace('-', '_')} beside it"
            raise ConfigError(f"hydra.launcher.additional_parameters.{name}: {instead}")
    if missing := [name for name in COMMANDS if shutil.which(name) is None]:
        raise ConfigError(
            f"hydra/launcher=slurm: there is no {missing[0]} on this machine; start the sweep on a login "
            "node, or take hydra/launcher=local"
        )
    given = ("partition", "account", "qos", "cpus_per_task", "mem", "gpus_per_node", "signal_delay_s")
    return {
        **{name: keys[name] for name in given if keys[name] is not None},
        "time": -(-seconds // 60),
        "setup": list(keys["setup"]),
        "stderr_to_stdout": True,
        # From 22.05 on, srun does not take this over from sbatch, and a job would have one core.
        "srun_args": [f"--cpus-per-task={keys['cpus_per_task']}"],
        "additional_parameters": {**more, "requeue": True},
    }


def time_limit(text: str) -> int:
    """Seconds of `4:00:00`, `30:00`, `1-12` or `1-12:30:00`; ConfigError for anything else."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"hydra.launcher.time={text}: must be hours:minutes:seconds, minutes:seconds or "
            "days-hours:minutes:seconds, in YAML within quotes: '4:00:00'"
        )
    parts = [int(part or 0) for part in found.groups()]
    days, hours, minutes, seconds = parts[:4] if found[1] is not None else [0, *parts[4:]]
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total == 0:
        raise ConfigError(f"hydra.launcher.time={text}: must be above 0")
    return total
