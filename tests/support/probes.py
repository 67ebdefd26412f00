"""Trains a policy on a game whose solution is known, and measures how close it came."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from support.settings import QUICK_PROBE
from tedg.config.compose import compose
from tedg.config.run_config import RunConfig
from tedg.envs.observation import Observation, Player, VectorEnv
from tedg.envs.players import make_player
from tedg.envs.seeds import held_out_seeds, training_seeds
from tedg.learn.evaluation import PolicyPlayer
from tedg.learn.ppo import Learner
from tedg.learn.rollout import Collector
from tedg.learn.setup import make_env, make_hypergraph, make_policy
from tedg.learn.stages import Settings, make_schedule
from tedg.models.policy import MoEPolicy

CPU = torch.device("cpu")
# What each state is worth under the discount gamma, where that does not depend on the policy.
VALUES = {
    "constant": lambda seen, gamma: torch.ones(len(seen.state)),
    "seen": lambda seen, gamma: torch.where(seen.state[:, 0] > 0.5, 1.0, -1.0),
    "two_step": lambda seen, gamma: torch.where(seen.state[:, 0] > 0.5, gamma, 1.0),
    "endless": lambda seen, gamma: torch.full((len(seen.state),), 1 / (1 - gamma)),
}
SOLVED = 0.95  # of the best reward
VALUE_TOLERANCE = 0.05  # of the largest known value


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of training on one game. Rewards are means per step over 32 steps of fresh games."""

    reward: float  # of the policy as it samples
    best: float  # of the game's own player
    chance: float  # uniform over the legal actions
    value_error: float | None  # largest |V - what is known|, over the largest known |V|; None where unknown
    illegal: int  # actions that the policy took and the mask forbids
    env_steps: int  # trained
    seconds: float  # trained

    @property
    def solved(self) -> bool:
        """Whether the known values, or where there are none the best reward, were reached legally."""
        if self.value_error is not None:
            return self.value_error <= VALUE_TOLERANCE
        return self.reward >= SOLVED * self.best and not self.illegal


def solve(probe: str, *overrides: str, updates: int = 60, settings: tuple[str, ...] = QUICK_PROBE) -> Figures:
    """Train on `probe`, a name in conf/env/game, under `settings` and `overrides`, and measure.

    Training ends when the rollouts of three updates in a row show the solution, or after `updates`.
    """
    own = probe in ("needle", "sparse_needle", "fake")
    game = [f"env={probe}"] if own else ["env=probe", f"env/game={probe}"]
    config = compose([*game, *settings, *overrides]).config
    env = make_env(config, training_seeds(config.seed))
    policy = make_policy(config, env, make_hypergraph(config), CPU)
    stage = make_schedule(config)[0][0].settings(0)
    best = _reward(config, make_player("script", env.num_envs, 0, env.spec))[0]
    collector = Collector(env, policy, config.ppo.num_steps, CPU, torch.Generator().manual_seed(0))
    learner = Learner(policy, config.ppo, env.num_envs, torch.Generator().manual_seed(0))
    start, env_steps, solved = time.monotonic(), 0, 0
    for _ in range(updates):
        rollout = collector.collect(stage)
        env_steps += rollout.num_samples
        error = _value_error(probe, rollout.flat_observation(), rollout.value.flatten(), config.ppo.gamma)
        # Values on fresh states err a little more than on those just trained on.
        value_close = error is not None and error <= 0.7 * VALUE_TOLERANCE
        close = float(rollout.reward.mean()) >= SOLVED * best if error is None else value_close
        solved = solved + 1 if close else 0
        if solved == 3:
            break
        learner.update(rollout, stage)
    learner.close()
    seconds = time.monotonic() - start
    reward, illegal = _reward(config, PolicyPlayer(policy, stage, CPU, seed=0))
    return Figures(
        reward=reward,
        best=best,
        chance=_reward(config, make_player("random_legal", env.num_envs, 0, env.spec))[0],
        value_error=_fresh_value_error(probe, config, policy, stage),
        illegal=illegal,
        env_steps=env_steps,
        seconds=seconds,
    )


def _fresh(config: RunConfig) -> VectorEnv:
    width = config.env["num_envs"]
    return make_env(config, held_out_seeds(0, 32 * width, width))


def _reward(config: RunConfig, player: Player, steps: int = 32) -> tuple[float, int]:
    """Mean reward per step, and how many actions were illegal."""
    env = _fresh(config)
    observation, total, illegal = env.reset(), 0.0, 0
    for _ in range(steps):
        actions = player.act(observation)
        illegal += int((~observation.mask[np.arange(len(actions)), actions]).sum())
        step = env.step(actions)
        total += float(step.reward.mean())
        observation = step.observation
    return total / steps, illegal


@torch.no_grad()
def _fresh_value_error(probe: str, config: RunConfig, policy: MoEPolicy, stage: Settings) -> float | None:
    env = _fresh(config)
    env.reset()
    seen = env.step(np.ones(env.num_envs, np.int64)).observation
    both = Observation.concatenate([env.reset(), seen]).to(CPU)
    values = policy(both.select(policy.inputs), stage.routing, stage.temperature).value
    return _value_error(probe, both, values, config.ppo.gamma)


def _value_error(probe: str, seen: Observation, values: torch.Tensor, gamma: float) -> float | None:
    if probe not in VALUES:
        return None
    known = VALUES[probe](seen, gamma)
    return float((values - known).abs().max() / known.abs().max())
