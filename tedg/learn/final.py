"""What closes a run: held-out games of the policy and of the yardstick players.

A finished run that is asked for more games plays those that are missing (`play_missing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import torch

from tedg.config.run_config import RunConfig
from tedg.envs.observation import EpisodeEnd, Player
from tedg.envs.players import make_player
from tedg.envs.seeds import held_out_seeds, listed_seeds
from tedg.learn.capture import Capture
from tedg.learn.evaluation import PolicyPlayer, Summary, Watching, play
from tedg.learn.figures import episode_figures
from tedg.learn.seen import Seen, Watch
from tedg.learn.setup import make_device, make_env, make_hypergraph, make_policy, set_threads
from tedg.learn.snapshot import load_weights
from tedg.learn.stages import Settings, make_schedule
from tedg.models.policy import MoEPolicy
from tedg.signals import StopFlag
from tedg.store.games import POLICY, GamesByPlayer, asked_games

MAX_ENVS = 32  # games played side by side
# Takes a player's name, how many of its games have ended, and of how many.
Played = Callable[[str, int, int], None]


def evaluate_all(
    config: RunConfig,
    policy: MoEPolicy,
    settings: Settings,
    device: torch.device,
    capture: Capture,
    stop: StopFlag,
    played: Played | None = None,
) -> tuple[GamesByPlayer, Seen]:
    """The held-out games of every player, and states that the policy met in its own.

    `played` is told of each game that has ended. Raises Stopped when `stop` is requested.
    """
    watch = Watch(policy)
    if not config.eval.games:
        env = make_env(config, held_out_seeds(config.eval.first_seed, 1, 1), 1)
        try:
            watch.alone(env.reset())
        finally:
            env.close()
        return {}, watch.seen().to(device)
    own = PolicyPlayer(policy, settings, device, config.seed, capture)
    games = _play_lists(config, own, asked_games(config.eval), stop, played, watch)
    return games, watch.seen().to(device)


def play_missing(
    config: RunConfig,
    run_dir: Path,
    known: GamesByPlayer,
    missing: Mapping[str, Sequence[int]],
    stop: StopFlag,
) -> GamesByPlayer:
    """`known` with the games of the seeds in `missing`, the policy's with the run's newest weights.

    Raises ConfigError where the policy has to play and the run has no checkpoint, StorageError and Stopped.
    """
    set_threads(config)
    policy = _trained_player(config, run_dir) if POLICY in missing else None
    played = _play_lists(config, policy, missing, stop)
    names = dict.fromkeys([*known, *played])
    return {name: {**known.get(name, {}), **played.get(name, {})} for name in names}


def _trained_player(config: RunConfig, run_dir: Path) -> PolicyPlayer:
    """The policy of a finished run, under the settings that its last stage ends with."""
    stages, _ = make_schedule(config)
    settings = stages[-1].settings(stages[-1].end)
    return PolicyPlayer(finished_policy(config, run_dir), settings, make_device(config), config.seed)


def finished_policy(config: RunConfig, weights: Path) -> MoEPolicy:
    """The policy of a run with the weights of a checkpoint, or of a run directory's newest one."""
    env = make_env(config, held_out_seeds(config.eval.first_seed, 1, 1), 1)
    try:
        policy = make_policy(config, env, make_hypergraph(config), make_device(config))
    finally:
        env.close()
    load_weights(policy, weights)
    return policy


def summaries(games: GamesByPlayer, asked: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What result.json says of the games that were asked for. Raises WorkerError where all were lost."""
    listed = {name: [games[name][seed] for seed in sorted(seeds)] for name, seeds in asked.items()}
    return {name: asdict(Summary.of(played)) for name, played in listed.items()}


def _play_lists(
    config: RunConfig,
    policy: Player | None,
    lists: Mapping[str, Sequence[int]],
    stop: StopFlag,
    tell: Played | None = None,
    watch: Watching | None = None,
) -> GamesByPlayer:
    """Every player's list of games; players with equal lists share one vector of environments.

    `policy` may be None where it has no list; `watch` is told of its steps.
    """
    played: GamesByPlayer = {}
    for seeds in dict.fromkeys(tuple(seeds) for seeds in lists.values() if seeds):
        width = min(len(seeds), MAX_ENVS)
        env = make_env(config, listed_seeds(seeds, width), width)
        try:
            for name in (name for name, own in lists.items() if tuple(own) == seeds):
                yardstick = name != POLICY
                player = make_player(name, width, config.seed, env.spec) if yardstick else policy
                assert player is not None
                ended = None if tell is None else _counting(name, len(seeds), tell)
                seen = None if yardstick else watch
                played[name] = {end.seed: end for end in play(env, player, len(seeds), stop, ended, seen)}
        finally:
            env.close()
    return played


def _counting(player: str, total: int, tell: Played) -> Callable[[EpisodeEnd], None]:
    done = count(1)
    return lambda _: tell(player, next(done), total)


def first_episodes(episodes: Sequence[EpisodeEnd], count: int) -> dict[str, float] | None:
    """Figures of the first `count` training episodes; None before so many have ended."""
    return episode_figures(episodes[:count]) if len(episodes) >= count else None
