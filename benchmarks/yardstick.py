"""One yardstick: train a player, if it learns, let it play held-out games, and write down its scores."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from feature_games import games_of

from tedg.envs.observation import EnvSpec, Observation
from tedg.envs.players import make_player
from tedg.envs.vector import held_out_seeds, training_seeds

UNTRAINED = ("random", "random_legal", "script")
TRAINED = ("ppo", "maskable_ppo")
CAPS = (500, 5000)  # steps of a held-out game
NUM_ENVS = 256
HELD_OUT_ENVS = 50
# The numbers of tedg's default where Stable-Baselines3 has the same, its own elsewhere.
SETTINGS: dict[str, Any] = {
    "n_steps": 32,
    "batch_size": 2048,
    "n_epochs": 4,
    "learning_rate": 5e-4,
    "ent_coef": 0.005,
    "gamma": 0.995,
    "gae_lambda": 0.97,
}

Act = Callable[[Observation], npt.NDArray[np.int64]]


def train(name: str, seed: int, steps: int, cap: int, exploration_bonus: float) -> Any:
    """A model of Stable-Baselines3, trained on one core.

    Rewards are divided by the running spread of returns, as tedg's are.
    """
    # Imported here, because the other players do without.
    import torch
    from sb3_contrib import MaskablePPO
    from sb3_games import NETWORKS, FeatureVecEnv
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize

    torch.set_num_threads(1)
    games = games_of(NUM_ENVS, 0, training_seeds(seed), cap, "legal", exploration_bonus)
    env = VecNormalize(FeatureVecEnv(games), norm_obs=False, clip_reward=1e9, gamma=SETTINGS["gamma"])
    kind = {"ppo": PPO, "maskable_ppo": MaskablePPO}[name]
    networks = NETWORKS["separate"]
    try:
        model = kind("MlpPolicy", env, policy_kwargs=networks, device="cpu", seed=seed, **SETTINGS)
        return model.learn(steps)
    finally:
        env.close()


def player(name: str, model: Any, spec: EnvSpec, seed: int) -> Act:
    """Who acts in held-out games; trained ones sample, as tedg's policies do."""
    if model is None:
        return make_player(name, HELD_OUT_ENVS, seed, spec).act
    model.set_random_seed(seed)
    if name == "maskable_ppo":
        return lambda seen: model.predict(seen.state, action_masks=seen.mask)[0]
    return lambda seen: model.predict(seen.state)[0]


def held_out(name: str, model: Any, first: int, games: int, cap: int) -> list[float]:
    """Scores of the games of seeds `first`, `first` + 1, ..., in that order."""
    env = games_of(HELD_OUT_ENVS, 0, held_out_seeds(first, games, HELD_OUT_ENVS), cap, "legal")
    scores: dict[int, float] = {}
    try:
        act = player(name, model, env.spec, first)
        observation = env.reset()
        while len(scores) < games:
            step = env.step(act(observation))
            for end in step.episodes:
                scores.setdefault(end.seed, end.score)  # past the last game, the list begins anew
            observation = step.observation
    finally:
        env.close()
    return [scores[seed] for seed in range(first, first + games)]


def main() -> None:
    """Train, play, write."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("player", choices=[*UNTRAINED, *TRAINED])
    parser.add_argument("--seed", type=int, default=0, help="of training")
    parser.add_argument("--steps", type=int, default=1_000_000, help="env steps of training")
    parser.add_argument("--cap", type=int, default=5000, help="steps of a training game")
    parser.add_argument("--exploration-bonus", type=float, default=0.0, help="as env.exploration_bonus")
    parser.add_argument("--games", type=int, default=200, help="held-out games at each cap")
    parser.add_argument("--first-seed", type=int, default=700_000, help="of the held-out games")
    parser.add_argument("--result", type=Path, required=True, help="file for the scores")
    given = parser.parse_args()
    about: dict[str, Any] = {"player": given.player, "first_seed": given.first_seed}
    model = None
    if given.player in TRAINED:
        model = train(given.player, given.seed, given.steps, given.cap, given.exploration_bonus)
        names = ("stable-baselines3", "sb3-contrib", "torch", "numpy", "gymnasium", "nle")
        about |= {"seed": given.seed, "steps": model.num_timesteps, "cap": given.cap, "envs": NUM_ENVS}
        about |= {"exploration_bonus": given.exploration_bonus, "settings": SETTINGS}
        about |= {"versions": {name: version(name) for name in names}}
    about["scores"] = {
        str(cap): held_out(given.player, model, given.first_seed, given.games, cap) for cap in CAPS
    }
    given.result.write_text(json.dumps(about) + "\n")


if __name__ == "__main__":
    main()
