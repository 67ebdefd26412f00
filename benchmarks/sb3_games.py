"""tedg's games as Stable-Baselines3 wants them, and the networks that read their features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from feature_games import ACTIONS, OBSERVATIONS
from gymnasium.spaces import Box
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from tedg.envs.vector import NetHackVectorEnv

HIDDEN = 256


class FeatureVecEnv(VecEnv):
    """tedg's vector of games as Stable-Baselines3's.

    Both of its own vectors take one game per environment object: SubprocVecEnv a process for each game,
    DummyVecEnv all games on one core. Here the games are spread over the cores and their features computed
    for many at once, as its documentation advises for environments that are vectors already.
    """

    def __init__(self, games: NetHackVectorEnv) -> None:
        self._games = games
        self._legal: npt.NDArray[np.bool_] | None = None  # [B, 23]
        super().__init__(games.num_envs, OBSERVATIONS, ACTIONS)

    def reset(self) -> npt.NDArray[np.float32]:
        """First observations, [B, 115]."""
        observation = self._games.reset()
        self._legal = observation.mask
        state: npt.NDArray[np.float32] = observation.state
        return state

    def step_async(self, actions: npt.NDArray[np.int64]) -> None:
        """Begin a step of all games, with actions [B]."""
        self._games.send(0, actions)

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Observations, rewards, whether episodes ended, and what is to be known of those that did."""
        step = self._games.receive(0)
        self._legal = step.observation.mask
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
        """Asked for are the render mode, and there is none, and whether there are masks."""
        if attr_name not in ("render_mode", "action_masks"):
            raise AttributeError(attr_name)
        return [None for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Games have nothing to be set."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """sb3-contrib asks which actions are legal; games have no other methods."""
        if method_name != "action_masks":
            raise AttributeError(method_name)
        assert self._legal is not None
        return [self._legal[row] for row in self._get_indices(indices)]

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
