"""Held-out games after a run's end, each the same whatever is played beside it.

What is random in a game follows from the run's seed, the game's and the step. So a game that an interruption
cut off ends as it would have, and those that were kept are no choice of the short ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tedg.config.run_config import RunConfig
from tedg.envs.observation import EnvSpec, EpisodeEnd, Observation, Player
from tedg.envs.players import make_player
from tedg.envs.seeds import listed_seeds
from tedg.errors import ConfigError, DivergedError, StorageError
from tedg.learn.evaluation import Watching, play
from tedg.learn.final import MAX_ENVS, finished_policy
from tedg.learn.milestones import milestone_in, stage_of
from tedg.learn.modality import Figures, modality
from tedg.learn.seen import Watch
from tedg.learn.setup import make_env, make_hypergraph
from tedg.learn.stages import Settings, make_schedule
from tedg.models.policy import MoEPolicy, PolicyOutput, masked_log_probs
from tedg.models.seeded import uniform
from tedg.signals import StopFlag
from tedg.store import checkpoint
from tedg.store.conditions import Condition
from tedg.store.rundir import CHECKPOINTS

Ended = Callable[[EpisodeEnd], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy does in B states, and what it computed for that."""

    actions: npt.NDArray[np.int64]  # [B]
    probabilities: Tensor  # [B, actions] float64; 0 where the action is illegal
    output: PolicyOutput


class MeasuredPolicy:
    """A policy under a stage's settings: its likeliest action, or one drawn by the step's own number."""

    def __init__(self, policy: MoEPolicy, settings: Settings, greedy: bool, seed: int) -> None:
        self.policy, self.settings, self.greedy = policy, settings, greedy
        self._salt = (
            -1 - seed
        )  # no part of a policy has a salt below 0; runs of two seeds draw unlike numbers

    def act(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Actions [B]."""
        return self.answer(observation).actions

    @torch.no_grad()
    def answer(self, observation: Observation) -> Answer:
        """Actions for B states, and all that they came from. Raises DivergedError."""
        policy, settings = self.policy, self.settings
        device = next(policy.parameters()).device
        shown = observation.select(policy.inputs).to(device)
        output = policy(shown, settings.routing, settings.temperature)
        shares = masked_log_probs(output.policy_logits, shown.mask).double().exp()
        if not bool(shares.sum().isfinite()):
            raise DivergedError("the policy's action probabilities are not finite, so it cannot act")
        if self.greedy:
            chosen = shares.argmax(dim=1)
        else:
            up_to = shares.cumsum(dim=1)
            drawn = uniform(torch.as_tensor(observation.noise).to(device), self._salt, (1,))
            chosen = (up_to <= drawn * up_to[:, -1:]).sum(dim=1)
        return Answer(chosen.cpu().numpy(), shares, output)


class MeasuredYardstick:
    """A player without learning, whose draws follow from each step's own number."""

    def __init__(self, name: str, spec: EnvSpec) -> None:
        """Raises ConfigError where the player cannot play this game."""
        self._name, self._spec = name, spec
        try:
            make_player(name, 1, 0, spec)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def act(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Actions [B]."""
        seeds = (observation.noise.astype(np.uint64) >> np.uint64(1)).tolist()
        games = enumerate(seeds)
        return np.concatenate(
            [make_player(self._name, 1, seed, self._spec).act(observation[i : i + 1]) for i, seed in games]
        )


def policy_under(config: RunConfig, run_dir: Path, condition: Condition) -> tuple[MeasuredPolicy, str]:
    """The policy of a run as the condition wants it, and the stage whose settings it plays under.

    Weights play under the settings of the stage that made them, at the point of the budget where that was.
    Raises ConfigError where the run does not keep them, and StorageError.
    """
    stages, budget = make_schedule(config)
    if condition.weights == "last":
        path, stage, done = checkpoint.latest(run_dir / CHECKPOINTS), stages[-1].name, stages[-1].end
    elif condition.weights == "best":
        found = checkpoint.best(run_dir / CHECKPOINTS)
        path = None if found is None else found[0]
        if path is not None:
            run = checkpoint.load(path).state["run"]
            made = [one.name for one in stages if run["updates_per_stage"].get(one.name)]
            stage, done = (made or [stages[0].name])[-1], budget.done(run["episodes"], run["env_steps"])
    else:
        path = milestone_in(run_dir, int(condition.weights))
        if path is not None:
            stage, done = stage_of(path)
    if path is None:
        raise ConfigError(f"{run_dir} has no weights any more, so it cannot play; name a run that has some")
    own = next((one for one in stages if one.name == stage), None)
    if own is None:
        raise StorageError(f"{path} was saved in stage {stage}, which this run has not")
    policy = finished_policy(config, path)
    return MeasuredPolicy(policy, own.settings(done), condition.mode == "greedy", config.seed), stage


def play_list(
    config: RunConfig,
    seeds: Sequence[int],
    player: Callable[[EnvSpec], Player],
    stop: StopFlag,
    ended: Ended,
    watch: Watching | None = None,
) -> None:
    """Play a list of games side by side; `ended` is called with each, in no order, `watch` with each step.

    Raises Stopped when `stop` is requested, and WorkerError.
    """
    width = min(len(seeds), MAX_ENVS)
    env = make_env(config, listed_seeds(seeds, width), width)
    try:
        play(env, player(env.spec), len(seeds), stop, ended, watch)
    finally:
        env.close()


def modality_of(config: RunConfig, player: MeasuredPolicy, watch: Watch) -> Figures:
    """The figures of a policy over the states that it met in the games which were watched."""
    policy = player.policy
    seen = watch.seen().to(next(policy.parameters()).device)
    generator = torch.Generator().manual_seed(config.seed)
    return modality(policy, seen, player.settings, make_hypergraph(config), generator)


def with_cap(config: RunConfig, cap: int) -> RunConfig:
    """The same run with another step limit, as it plays held-out games: nothing is compiled."""
    return replace(config, compile=False, env={**config.env, "max_episode_steps": cap})
