"""NetHackScore as the peers see it: tedg's 115 state features, every action allowed unless asked."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Discrete
from work import MAX_EPISODE_STEPS

from tedg.envs.actions import NUM_ACTIONS
from tedg.envs.features import STATE_HIGH, STATE_LOW
from tedg.envs.seeds import Seeds
from tedg.envs.vector import NetHackVectorEnv, training_seeds

OBSERVATIONS = Box(STATE_LOW, STATE_HIGH, dtype=np.float32)
ACTIONS = Discrete(NUM_ACTIONS)


def make_games(num_games: int, num_workers: int, seed: int) -> NetHackVectorEnv:
    """Training games that are stepped as one group: by `num_workers` processes, or in this one with 0."""
    return games_of(num_games, num_workers, training_seeds(seed), MAX_EPISODE_STEPS, "none")


def games_of(
    num_games: int,
    num_workers: int,
    seeds: Seeds,
    max_episode_steps: int,
    action_mask: str,
    exploration_bonus: float = 0.0,
) -> NetHackVectorEnv:
    """The games of these seeds, as one group; `action_mask` is `legal` or `none`."""
    return NetHackVectorEnv(
        task="NetHackScore",
        goal="score",
        hypergraph="nethack",
        num_envs=num_games,
        max_episode_steps=max_episode_steps,
        action_mask=action_mask,
        seeds=seeds,
        num_workers=num_workers,
        num_groups=1,
        exploration_bonus=exploration_bonus,
    )
