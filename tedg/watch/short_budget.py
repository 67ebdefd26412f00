"""What to say, before training, of a budget too short for its number of games."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tedg.config.run_config import RunConfig

FEWEST_UPDATES = 4  # of a stage; with fewer it can hardly learn
FEWEST_EPISODES = 2  # of a stage and game; with fewer, those that end early are most of what is counted
SMALL_ROLLOUT = 2048  # env steps, of preset=small
SMALL_GAMES = 32  # of preset=small


def short_budget_warning(config: RunConfig) -> str | None:
    """Names the shortest stage and what would fit; None where every stage is long enough."""
    own = sum(node["episodes"] for node in config.phases)
    shortest = min(config.phases, key=lambda node: int(node["episodes"]))
    share = shortest["episodes"] / own
    if config.budget.env_steps is not None:
        return _steps(config, shortest, config.budget.env_steps * share, share)
    return _episodes(config, shortest, (config.budget.episodes or own) * share, share)


def _steps(config: RunConfig, stage: Mapping[str, Any], steps: float, share: float) -> str | None:
    envs, length = config.env["num_envs"], config.ppo.num_steps
    rollout = envs * length
    if steps >= FEWEST_UPDATES * rollout:
        return None
    smaller = " or preset=small" if rollout > SMALL_ROLLOUT else ""
    return (
        f"stage {stage['name']} has {steps / rollout:.1f} updates, each of {rollout:,} env steps "
        f"(env.num_envs={envs} times ppo.num_steps={length}), too few to learn much; "
        f"try budget.env_steps={math.ceil(FEWEST_UPDATES * rollout / share)}{smaller}"
    )


def _episodes(config: RunConfig, stage: Mapping[str, Any], episodes: float, share: float) -> str | None:
    envs = config.env["num_envs"]
    if episodes >= FEWEST_EPISODES * envs:
        return None
    fitting, smaller = int(episodes / FEWEST_EPISODES), ""
    if fitting * config.ppo.num_steps >= config.ppo.minibatch_size:
        smaller = f" or env.num_envs={fitting}"
    elif SMALL_GAMES <= fitting < envs:
        smaller = " or preset=small"
    return (
        f"stage {stage['name']} ends after {episodes:.0f} episodes of env.num_envs={envs} games at once, "
        f"so games that end early are most of what it learns from; "
        f"try budget.episodes={math.ceil(FEWEST_EPISODES * envs / share)}{smaller}"
    )
