"""One timed run of Stable-Baselines3's PPO on the 115 state features."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from feature_games import ACTIONS, OBSERVATIONS, make_games
from gymnasium.spaces import Box
from learning import Learnt
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from work import CYCLE_STEPS, MINIBATCH_SIZE, NUM_EPOCHS, Timing, Window, run_parser

from tedg.envs.vector import NetHackVectorEnv

NUM_ENVS = 256
HIDDEN = 256


class FeatureVecEnv(VecEnv):
    """tedg's vector of games as Stable-Baselines3's.

    Both of its own vectors take one game per environment object: SubprocVecEnv a process for each game,
    DummyVecEnv all games on one core. Here the games are spread over the cores and their features computed
    for many at once, as its documentation advises for environments that are vectors already.
    """

    def __init__(self, games: NetHackVectorEnv) -> None:
        self._games = games
        super().__init__(games.num_envs, OBSERVATIONS, ACTIONS)

    def reset(self) -> npt.NDArray[np.float32]:
        """First observations, [B, 115]."""
        state: npt.NDArray[np.float32] = self._games.reset().state
        return state

    def step_async(self, actions: npt.NDArray[np.int64]) -> None:
        """Begin a step of all games, with actions [B]."""
        self._games.send(0, actions)

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Observations, rewards, whether episodes ended, and what is to be known of those that did."""
        step = self._games.receive(0)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for number, (row, end) in enumerate(zip(step.final_index.tolist(), step.episodes, strict=True)):
            assert step.final_observation is not None
            infos[row] = {
                "terminal_observation": step.final_observation.state[number],
                "TimeLimit.truncated": bool(step.truncated[row]),
                "episode": {"r": end.episode_return, "l": end.length},
            }
        return step.observation.state, step.reward, step.terminated | step.truncated, infos

    def close(self) -> None:
        """Release the games."""
        self._games.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Only the render mode is ever asked for, and there is none."""
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Games have nothing to be set."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Games have no methods of their own."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> Sequence[bool]:
        """Games are not wrapped."""
        return [False for _ in self._get_indices(indices)]


class SharedMLP(BaseFeaturesExtractor):
    """Two layers that policy and value share, which Stable-Baselines3 has as the features' extractor."""

    def __init__(self, observation_space: Box) -> None:
        super().__init__(observation_space, HIDDEN)
        self.layers = nn.Sequential(
            *(nn.Linear(observation_space.shape[0], HIDDEN), nn.Tanh()),
            *(nn.Linear(HIDDEN, HIDDEN), nn.Tanh()),
        )

    def forward(self, observations: Tensor) -> Tensor:
        """From [B, 115] to [B, 256]."""
        features: Tensor = self.layers(observations)
        return features


NETWORKS: dict[str, dict[str, Any]] = {
    "shared": {"features_extractor_class": SharedMLP, "net_arch": []},
    "separate": {"net_arch": [HIDDEN, HIDDEN]},  # its own: one MLP for the policy, another for the value
}


class _Stopwatch(BaseCallback):
    """Ends training when the window closes. A rollout's start is the end of the cycle before it."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self._window = window
        self._started = False
        self.before: Learnt | None = None

    def _on_rollout_start(self) -> None:
        if self._started:
            self._window.cycle_ended()
            if self._window.opens:
                self.before = learnt(self.model)
        self._started = True

    def _on_step(self) -> bool:
        return not self._window.closed


def learnt(model: PPO) -> Learnt:
    """Where the learning of `model` stands."""
    return Learnt.of(model.policy.parameters(), model.policy.optimizer.state_dict())


def main() -> None:
    """Train until the window closes, and write down the timing."""
    parser = run_parser(__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--networks", choices=NETWORKS, default="shared")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    workers = len(os.sched_getaffinity(0))
    window = Window(arguments.steps)
    stopwatch = _Stopwatch(window)
    env = FeatureVecEnv(make_games(NUM_ENVS, workers, seed=0))
    try:
        model = PPO(
            "MlpPolicy",
            env,
            n_steps=CYCLE_STEPS // NUM_ENVS,
            batch_size=MINIBATCH_SIZE,
            n_epochs=NUM_EPOCHS,
            policy_kwargs=NETWORKS[arguments.networks],
            device="cpu",
            seed=0,
        )
        model.learn(10**12, callback=stopwatch)
    finally:
        env.close()
    assert stopwatch.before is not None
    after = learnt(model)
    Timing(
        cycles=window.cycles,
        seconds=window.seconds,
        checked_cycles=window.cycles,
        gradient_steps=after.gradient_steps_since(stopwatch.before),
        parameters=len(after.parameters),
        settings={
            "envs": NUM_ENVS,
            "workers": workers,
            "torch threads": arguments.threads,
            "networks": arguments.networks,
        },
        versions={name: version(name) for name in ("stable-baselines3", "torch", "numpy", "gymnasium")},
    ).write(arguments.result)


if __name__ == "__main__":
    main()
