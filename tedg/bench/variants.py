"""Which configurations are compared: every fusion with every vision, under the user's overrides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tedg.config.compose import Composed, compose_all, group_options
from tedg.config.run_config import RunConfig

GROUPS = ("fusion", "vision")
LEAST_STEPS = 8  # of a rollout that many environments share


@dataclass(frozen=True, slots=True)
class Variant:
    """A configuration under a name that tells it from the others."""

    name: str
    overrides: tuple[str, ...]
    config: RunConfig


def find_variants(overrides: Sequence[str]) -> list[Variant]:
    """Every option of the groups that `overrides` leave open, and every listed value, in all combinations.

    The configuration's own choice comes first. Raises ConfigError for overrides that are refused.
    """
    defaults, options = group_options()
    own = defaults.hydra.runtime.choices
    axes = [
        f"{group}={','.join(sorted(options[group], key=lambda option: option != own[group]))}"
        for group in GROUPS
        if not any(_key(line) == group for line in overrides)
    ]
    jobs = compose_all([*axes, *overrides, "logger=none"], multirun=True)
    shared = set.intersection(*(set(job.overrides) for job in jobs))
    return [Variant(_name(job, shared), job.overrides, job.config) for job in jobs]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _name(job: Composed, shared: set[str]) -> str:
    chosen = {_key(line): line.partition("=")[2] for line in job.overrides}
    varying = [line for line in job.overrides if line not in shared and _key(line) not in GROUPS]
    return " ".join([*(chosen[group] for group in GROUPS if group in chosen), *varying])


def num_workers(config: RunConfig) -> int | None:
    """Processes that play the games, 0 for none of their own; None where the environment has no choice."""
    if "num_workers" not in config.env:
        return None
    workers: int | None = config.env["num_workers"]
    return len(os.sched_getaffinity(0)) if workers is None else workers


def sized(config: RunConfig, num_envs: int, workers: int | None) -> RunConfig:
    """The configuration with another number of environments and workers, and a rollout of the same size.

    The rollout keeps about its number of samples by more or fewer steps, but has at least `LEAST_STEPS`.
    """
    samples = config.env["num_envs"] * config.ppo.num_steps
    env = {**config.env, "num_envs": num_envs}
    if workers is not None:
        env["num_workers"] = workers
    steps = max(LEAST_STEPS, round(samples / num_envs))
    return replace(config, env=env, ppo=replace(config.ppo, num_steps=steps))
