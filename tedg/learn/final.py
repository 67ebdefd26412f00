"""What closes a run: held-out games of the policy and of the yardstick players."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from tedg.config.run_config import RunConfig
from tedg.envs.observation import EpisodeEnd, Observation, Player
from tedg.envs.players import make_player
from tedg.envs.vector import held_out_seeds
from tedg.learn.evaluation import PolicyPlayer, play
from tedg.learn.figures import episode_figures
from tedg.learn.setup import make_env
from tedg.learn.stages import Settings
from tedg.models.policy import MoEPolicy
from tedg.signals import StopFlag

MAX_ENVS = 32  # games played side by side


def evaluate_all(
    config: RunConfig, policy: MoEPolicy, settings: Settings, device: torch.device, stop: StopFlag
) -> tuple[dict[str, Any], Observation]:
    """Summaries by player, on the same held-out games, and states that the policy met in them."""
    games = config.eval.games
    width = min(max(games, 1), MAX_ENVS)
    env = make_env(config, held_out_seeds(config.eval.first_seed, max(games, 1), width), width)
    try:
        own = _Recorder(PolicyPlayer(policy, settings, device, config.seed), policy.inputs)
        players: dict[str, Player] = {"policy": own}
        for name in config.eval.players:
            players[name] = make_player(name, width, config.seed, env.spec)
        if not games:
            own.act(env.reset())
            return {}, own.states().to(device)
        summaries = {name: asdict(play(env, player, games, stop)) for name, player in players.items()}
        return summaries, own.states().to(device)
    finally:
        env.close()


def first_episodes(episodes: Sequence[EpisodeEnd], count: int) -> dict[str, float] | None:
    """Figures of the first `count` training episodes; None before so many have ended."""
    return episode_figures(episodes[:count]) if len(episodes) >= count else None


class _Recorder:
    """Passes a player's choices on and keeps some of the states it saw."""

    def __init__(self, player: Player, fields: tuple[str, ...], every: int = 16, most: int = 64) -> None:
        self._player, self._fields, self._every, self._most = player, fields, every, most
        self._kept: list[Observation] = []
        self._calls = 0

    def act(self, observation: Observation) -> Any:
        """The player's actions; every sixteenth observation is kept."""
        if self._calls % self._every == 0 and len(self._kept) < self._most:
            self._kept.append(observation.select(self._fields))
        self._calls += 1
        return self._player.act(observation)

    def states(self) -> Observation:
        """Everything kept, as one batch."""
        names = self._fields
        return Observation(**{n: np.concatenate([getattr(o, n) for o in self._kept]) for n in names})
