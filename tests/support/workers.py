"""Vectors of NetHack games with or without worker processes, and everything that they hand out."""

from __future__ import annotations

import numpy as np

from tedg.envs.vector import NetHackVectorEnv, training_seeds

SEARCH = 22  # an action that is always possible


def make_games(num_envs=5, cap=25, seeds=None, **kwargs):
    """NetHack's score task, cut off after `cap` steps; games of run seed 3 unless `seeds` says otherwise."""
    return NetHackVectorEnv(
        "NetHackScore", "score", "nethack", num_envs, cap, "legal", seeds or training_seeds(3), **kwargs
    )


def values_of(observation):
    """An observation as values that can be compared with ==."""
    return {name: (array.shape, array.dtype, array.tobytes()) for name, array in observation.items()}


def play(env, observation, steps, player):
    """The last observation, and everything that the environment hands out until then, as plain values."""
    kept = []
    for _ in range(steps):
        step = env.step(player.act(observation))
        observation = step.observation
        final = None if step.final_observation is None else values_of(step.final_observation)
        arrays = (step.reward, step.terminated, step.truncated, step.final_index)
        kept.append((values_of(observation), final, [a.tobytes() for a in arrays], step.episodes))
    return observation, kept


def search(env):
    """One step in which every hero searches."""
    return env.step(np.full(env.num_envs, SEARCH))
