"""Training as a whole and its halves: acting alone, learning alone, and rollouts and updates in turn."""

from __future__ import annotations

import time

import numpy as np
import torch

from tedg.bench.jobs import Figures, repeat
from tedg.bench.replay import Replay
from tedg.bench.resources import MemoryPeak, cpu_seconds, family
from tedg.bench.variants import num_workers
from tedg.bench.workbench import workbench
from tedg.config.run_config import RunConfig
from tedg.learn.rollout import Collector


def acting(config: RunConfig, seconds: float) -> Figures:
    """Env steps per second of collecting rollouts from games that cost nothing."""
    with workbench(config) as bench:
        replay = Replay(bench.env, config.ppo.num_steps, config.seed)
        generator = torch.Generator(bench.device).manual_seed(config.seed)
        steps, device = config.ppo.num_steps, bench.device
        collector = Collector(replay, bench.policy, steps, device, generator, capture=bench.capture)

        def act() -> None:
            collector.collect(bench.settings)
            bench.synchronise()

        act()
        cpu = time.process_time()
        calls, taken = repeat(act, seconds)
        cpu = time.process_time() - cpu
        forwards = calls * config.ppo.num_steps * len(bench.env.groups)
        played = calls * config.ppo.num_steps * bench.env.num_envs
    return {
        "steps_per_second": played / taken,
        "batch": played / forwards,
        "call_ms": 1e3 * taken / forwards,
        "policy_cpu_us": 1e6 * cpu / played,
    }


def learning(config: RunConfig, seconds: float) -> Figures:
    """Env steps per second that whole updates of one stored rollout, all epochs included, keep up with."""
    with workbench(config) as bench:
        rollout = bench.collect()
        bench.update(rollout)
        children = family()[1:]
        cpu = time.process_time() + cpu_seconds(children)
        calls, taken = repeat(lambda: bench.update(rollout), seconds)
        cpu = time.process_time() + cpu_seconds(children) - cpu
    steps = calls * rollout.num_samples
    return {
        "steps_per_second": steps / taken,
        "batch": config.ppo.minibatch_size,
        "call_ms": 1e3 * taken / calls,
        "learning_cpu_us": 1e6 * cpu / steps,
    }


def end_to_end(config: RunConfig, seconds: float) -> Figures:
    """Env steps per second of rollouts and updates in turn, and where the time goes, per env step.

    Wall-clock: `env` is waiting for the games, `policy` the rest of collecting, `learning` the update. CPU:
    `env` is used by the games' processes (or, where there are none, by this one while it waits, which is all
    work then), `policy` by this process while it collects, `learning` by all processes in the update.
    """
    with workbench(config) as bench:
        marks: list[tuple[float, float, float]] = []  # at the start, when collected, when learnt, ...
        children: list[int] = []

        def mark() -> None:
            marks.append((time.perf_counter(), time.process_time(), cpu_seconds(children)))

        def iterate() -> None:
            mark()
            rollout = bench.collect()
            mark()
            bench.update(rollout)
            mark()

        peak = MemoryPeak()
        with peak.watching():
            iterate()
        marks.clear()
        children += family()[1:]
        waited = bench.collector.env_seconds
        calls, taken = repeat(iterate, seconds)
        waited = bench.collector.env_seconds - waited
        peak.sample()
        on_gpu = bench.device.type == "cuda"
        gpu_bytes = torch.cuda.max_memory_reserved(bench.device) if on_gpu else None
    collecting, learning = np.diff(np.reshape(marks, (-1, 3, 3)), axis=1).sum(axis=0).tolist()
    games_here = 0.0 if num_workers(config) else waited
    seconds_of = {
        "env_wall": waited,
        "policy_wall": collecting[0] - waited,
        "learning_wall": learning[0],
        "env_cpu": collecting[2] + games_here,
        "policy_cpu": collecting[1] - games_here,
        "learning_cpu": learning[1] + learning[2],
    }
    steps = calls * config.env["num_envs"] * config.ppo.num_steps
    return {
        "steps_per_second": steps / taken,
        **{f"{name}_us": 1e6 * value / steps for name, value in seconds_of.items()},
        "memory_bytes": peak.most.bytes,
        "memory_source": peak.most.source,
        "gpu_bytes": gpu_bytes,
    }
