"""NetHackScore as the peers see it: tedg's 115 state features, every action allowed."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Discrete
from work import MAX_EPISODE_STEPS

from tedg.envs.actions import NUM_ACTIONS
from tedg.envs.features import STATE_HIGH, STATE_LOW
from tedg.envs.vector import NetHackVectorEnv, training_seeds

OBSERVATIONS = Box(STATE_LOW, STATE_HIGH, dtype=np.float32)
ACTIONS = Discrete(NUM_ACTIONS)


def make_games(num_games: int, num_workers: int, seed: int) -> NetHackVectorEnv:
    """Games that are stepped as one group: by `num_workers` processes, or in this one with 0."""
    return NetHackVectorEnv(
        task="NetHackScore",
        goal="score",
        hypergraph="nethack",
        num_envs=num_games,
        max_episode_steps=MAX_EPISODE_STEPS,
        action_mask="none",
        seeds=training_seeds(seed),
        num_workers=num_workers,
        num_groups=1,
    )
