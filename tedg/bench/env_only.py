"""The games without a policy: the vector of environments with every feature, and NLE's core alone."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from nle.env.tasks import TASK_ACTIONS
from nle.nethack import Nethack

from tedg.bench.jobs import Figures, repeat
from tedg.bench.replay import random_legal
from tedg.bench.resources import cpu_seconds, family, memory
from tedg.config.instantiate import build
from tedg.config.run_config import RunConfig
from tedg.envs.observation import VectorEnv
from tedg.envs.seeds import training_seeds

CORE_STEPS = 1000  # of NLE's core between two looks at the clock


def vector(config: RunConfig, seconds: float) -> Figures:
    """Env steps per second of all environments under random legal actions, stepped as a learner does."""
    env: VectorEnv = build(config.env, seeds=training_seeds(config.seed))
    try:
        rng = np.random.default_rng(config.seed)
        mask = env.reset().mask
        for group, rows in enumerate(env.groups):
            env.send(group, random_legal(rng, mask[rows]))

        def step() -> None:
            for group in range(len(env.groups)):
                env.send(group, random_legal(rng, env.receive(group).observation.mask))

        repeat(step, seconds / 4)
        processes = family()
        before = cpu_seconds(processes)
        calls, taken = repeat(step, seconds)
        cpu = cpu_seconds(processes) - before
        seen = memory(processes)
    finally:
        env.close()
    steps = calls * env.num_envs
    return {
        "steps_per_second": steps / taken,
        "env_cpu_us": 1e6 * cpu / steps,
        "memory_bytes": seen.bytes,
        "memory_source": seen.source,
    }


def core(processes: int, seconds: float) -> Figures:
    """Steps per second of NLE's core in `processes` games, one in each process.

    Random actions through NLE's own `Nethack` class; glyphs and blstats are observed; new games count.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as pool:
        rates = list(pool.map(_play, range(processes), [seconds] * processes))
    return {"steps_per_second": sum(rates)}


def _play(number: int, seconds: float) -> float:
    rng = np.random.default_rng(number)
    actions = [int(action) for action in TASK_ACTIONS]
    game = Nethack(observation_keys=("glyphs", "blstats"), ttyrec=None, fix_moon_phase=True)

    def begin() -> None:
        seed = int(rng.integers(2**31))
        game.set_initial_seeds(seed, seed, False)  # NLE forgets them after one reset
        game.reset()

    def play() -> None:
        for key in rng.choice(actions, CORE_STEPS).tolist():
            if game.step(key)[1]:
                begin()

    begin()
    # Processes do not start at once: each plays before and after, so that none is measured alone.
    around = min(1.0, seconds / 2)
    repeat(play, around)
    calls, taken = repeat(play, seconds)
    repeat(play, around)
    game.close()
    return calls * CORE_STEPS / taken
