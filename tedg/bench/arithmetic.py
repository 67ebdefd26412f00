"""The arithmetic of a variant: its parameters, the FLOPs it takes, and how fast the machine does them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from tedg.bench.flops import FlopCounter
from tedg.bench.jobs import Figures, repeat
from tedg.bench.workbench import workbench
from tedg.config.run_config import RunConfig
from tedg.envs.seeds import training_seeds
from tedg.learn.setup import make_device, make_env, make_hypergraph, make_policy, set_threads
from tedg.models.build import parameters_per_part

MATRIX_SIZE = 1024


def describe(configs: Sequence[RunConfig]) -> Figures:
    """Device and threads of the first configuration, and every one's parameters per part."""
    device = make_device(configs[0])
    return {
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": set_threads(configs[0]),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "parameters": [_parameters(config) for config in configs],
    }


def _parameters(config: RunConfig) -> dict[str, int]:
    env = make_env(config, training_seeds(config.seed), num_envs=1)
    try:
        return parameters_per_part(make_policy(config, env, make_hypergraph(config), torch.device("cpu")))
    finally:
        env.close()


def matrix_rate(config: RunConfig, seconds: float) -> Figures:
    """FLOPs per second of the fastest of many float32 products of two square matrices, on all threads."""
    device = make_device(config)
    torch.set_num_threads(set_threads(config))
    left, right, result = (torch.randn(MATRIX_SIZE, MATRIX_SIZE, device=device) for _ in range(3))
    times: list[float] = []

    def multiply() -> None:
        start = time.perf_counter()
        torch.mm(left, right, out=result)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)

    repeat(multiply, seconds)
    return {"flops_per_second": 2 * MATRIX_SIZE**3 / min(times)}


def flops(config: RunConfig) -> Figures:
    """FLOPs per env step of a real rollout and of its whole update, all epochs included."""
    with workbench(replace(config, threads=1)) as bench:  # the counter sees its own thread only
        with FlopCounter() as acting:
            rollout = bench.collect()
        with FlopCounter() as learning:
            bench.update(rollout)
    return {
        "acting_flops": acting.total / rollout.num_samples,
        "learning_flops": learning.total / rollout.num_samples,
        "learning_flops_of": {name: flops / rollout.num_samples for name, flops in learning.flops.items()},
    }
