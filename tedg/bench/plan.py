"""Which measurements the parts consist of, and the order in which they are made."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tedg.bench.flags import PARTS, Options
from tedg.bench.jobs import Figures, Job
from tedg.bench.variants import Variant, num_workers, sized


@dataclass(slots=True)
class Measurement:
    """One job, and what it found in each round; `labels` tell it from the others of its part."""

    part: str
    labels: dict[str, Any]
    job: Job
    rounds: list[Figures] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    once: bool = False  # counted, not timed: the same in every round

    def __str__(self) -> str:
        sizes = [f"{name.removeprefix('num_')}={value}" for name, value in self.labels.items()]
        name = self.labels.get("variant")
        return f"{self.part}: {name or ' '.join(sizes)}"


def plan(options: Options, variants: Sequence[Variant]) -> list[Measurement]:
    """Every measurement of the parts asked for; `env` and `scaling` take the first variant."""
    wanted = [one for one in _all(options, variants) if one.part in options.parts]
    order = list(PARTS)
    return sorted(wanted, key=lambda one: order.index(one.part))


def in_turns(measurements: Sequence[Measurement], rounds: int) -> Iterator[Measurement]:
    """Part by part, each round going through all of a part, so that a slow minute hits every variant."""
    for _, part in itertools.groupby(measurements, key=lambda one: one.part):
        members = list(part)
        for number in range(rounds):
            yield from (one for one in members if number == 0 or not one.once)


def _all(options: Options, variants: Sequence[Variant]) -> Iterator[Measurement]:
    first, seconds = variants[0].config, {"seconds": options.seconds}
    own_workers = num_workers(first)
    workers = (None,) if own_workers is None else options.num_workers
    for envs, count in itertools.product(options.num_envs, workers):
        arguments = {"config": sized(first, envs, count), **seconds}
        sizes: dict[str, Any] = {"num_envs": envs, "num_workers": count}
        yield Measurement("env", sizes, Job("env_only", "vector", arguments))
    for part, function in (("policy", "acting"), ("learner", "learning"), ("end-to-end", "end_to_end")):
        for variant in variants:
            arguments = {"config": variant.config, **seconds}
            yield Measurement(part, {"variant": variant.name}, Job("training", function, arguments))
    points = [("num_envs", envs, own_workers) for envs in options.num_envs]
    if own_workers is not None:
        points += [("num_workers", first.env["num_envs"], count) for count in options.num_workers]
    for over, envs, count in points:
        config = sized(first, envs, count)
        sizes = {"over": over, "num_envs": envs, "num_workers": count, "num_steps": config.ppo.num_steps}
        yield Measurement("scaling", sizes, Job("training", "end_to_end", {"config": config, **seconds}))
    cores = len(os.sched_getaffinity(0))
    yield Measurement("limit", {"rate": "NLE"}, Job("env_only", "core", {"processes": cores, **seconds}))
    matrix = Job("arithmetic", "matrix_rate", {"config": first, **seconds})
    yield Measurement("limit", {"rate": "matrix"}, matrix)
    for variant in variants:
        job = Job("arithmetic", "flops", {"config": variant.config})
        yield Measurement("limit", {"variant": variant.name}, job, once=True)
