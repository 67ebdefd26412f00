"""Playing held-out games: the policy and the yardstick players through the same code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tedg.envs.observation import EpisodeEnd, Observation, Player, Step, VectorEnv
from tedg.errors import Stopped
from tedg.learn.acting import Actor
from tedg.learn.capture import Capture, Plain
from tedg.learn.held import HeldSettings
from tedg.learn.stages import Settings
from tedg.models.policy import MoEPolicy, require_finite
from tedg.processes import WorkerError
from tedg.signals import StopFlag
from tedg.statistics.skewed import mean_of_games

Watching = Callable[[Observation, Step], None]  # told of each step: what was shown, and what came of it


@dataclass(frozen=True, slots=True)
class Summary:
    """Held-out games of one player. Intervals are over games: they say how well this one player is
    measured, never whether one kind of player beats another."""

    games: int  # that count: all but the lost ones
    lost: int  # with the process that played them
    mean_score: float
    standard_error: float
    low: float  # 95 % interval of the mean score, which stays above the least score there is
    high: float
    median_score: float
    best_score: float
    nonzero_share: float  # games with a score above 0
    mean_return: float
    mean_length: float  # env steps
    deepest: int
    deaths: int

    @staticmethod
    def of(played: list[EpisodeEnd]) -> Summary:
        """Summarise finished games; at least two are needed for an interval.

        Raises WorkerError when all of them were lost.
        """
        episodes = [e for e in played if e.end != "lost"]
        if not episodes:
            raise WorkerError(
                f"all {len(played)} held-out games were lost with the processes that played them"
            )
        scores = np.array([e.score for e in episodes], float)
        error = float(scores.std(ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else math.nan
        mean = mean_of_games(scores, least=min(0.0, float(scores.min())))
        return Summary(
            games=len(episodes),
            lost=len(played) - len(episodes),
            mean_score=float(scores.mean()),
            standard_error=error,
            low=mean.low,
            high=mean.high,
            median_score=float(np.median(scores)),
            best_score=float(scores.max()),
            nonzero_share=float((scores > 0).mean()),
            mean_return=float(np.mean([e.episode_return for e in episodes])),
            mean_length=float(np.mean([e.length for e in episodes])),
            deepest=max(e.depth for e in episodes),
            deaths=sum(e.end == "death" for e in episodes),
        )


class PolicyPlayer:
    """The policy as a player: samples actions under one stage's routing and temperature."""

    def __init__(
        self,
        policy: MoEPolicy,
        settings: Settings,
        device: torch.device,
        seed: int,
        capture: Capture | None = None,
    ) -> None:
        """Nothing is captured without `capture`; with it, all calls of `act` need equally many rows."""
        capture = capture or Plain()
        self._settings = HeldSettings(capture.fixed, next(policy.parameters()).detach()).take(settings)
        self._actor = Actor(policy, device, torch.Generator(device).manual_seed(seed), capture)

    @torch.no_grad()
    def act(self, observation: Observation) -> npt.NDArray[np.int64]:
        """One action per row."""
        self._actor.see(observation)
        acted = self._actor.act(self._settings)
        require_finite(acted.log_prob)
        actions: npt.NDArray[np.int64] = acted.action.cpu().numpy()
        return actions


def play(
    env: VectorEnv,
    player: Player,
    games: int,
    stop: StopFlag,
    ended: Callable[[EpisodeEnd], None] | None = None,
    watch: Watching | None = None,
) -> list[EpisodeEnd]:
    """Play the first `games` games of `env`'s seed plan to their end; returns them in the order of seeds.

    `ended` is called with each game as soon as it has ended, `watch` with each step.

    Environment i must play games i, i + N, i + 2N, ... of the list, so that which games count depends
    neither on the player nor on how fast games end. Games beyond the list are not counted. Raises
    Stopped when `stop` is requested.
    """
    counted: list[EpisodeEnd] = []
    played = np.zeros(env.num_envs, int)
    quota = np.array([len(range(i, games, env.num_envs)) for i in range(env.num_envs)])
    observation = env.reset()
    while (played < quota).any():
        if stop.requested:
            raise Stopped(stop.exit_code)
        step = env.step(player.act(observation))
        for end in step.episodes:
            if played[end.env] < quota[end.env]:
                counted.append(end)
                if ended is not None:
                    ended(end)
            played[end.env] += 1
        if watch is not None:
            watch(observation, step)
        observation = step.observation
    return sorted(counted, key=lambda end: end.seed)
