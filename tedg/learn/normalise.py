"""Rewards on a common scale: divided by the running spread of the discounted return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class ReturnNormaliser:
    """Divides rewards by the running standard deviation of each environment's discounted return.

    Rewards are not centred, so their signs and the best policy stay (Engstrom et al. 2020,
    arXiv:2005.12729, section 3). Statistics are float64 and merged batch by batch (Chan et al. 1983).
    """

    def __init__(self, num_envs: int, gamma: float) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}")
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma must be in [0, 1], not {gamma}")
        self.gamma = gamma
        self._returns = np.zeros(num_envs)
        self._count = 0.0
        self._mean = 0.0
        self._squares = 0.0  # sum of squared deviations from the mean

    @property
    def std(self) -> float:
        """What rewards are divided by: 1 until the returns have any spread."""
        variance = self._squares / self._count if self._count else 0.0
        # Not `< 1e-12`: a NaN must reach the loss, where it is noticed, rather than turn into 1.
        return 1.0 if variance <= 1e-12 else float(np.sqrt(variance))

    def update(
        self,
        rewards: npt.NDArray[np.floating[Any]],
        ends: npt.NDArray[np.bool_],
        continues: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Take in a rollout [T, N] or one step [N] and return its rewards, scaled, in the same shape.

        `ends` is True where the episode ended with that reward, terminated or truncated; `continues` [N] is
        False where the first reward is of another episode than the last one seen. One rollout is scaled by
        one number, the spread after all of it.
        """
        if rewards.shape != ends.shape or rewards.shape[-1] != len(self._returns):
            raise ValueError(
                f"rewards {rewards.shape} and ends {ends.shape} must both end in {len(self._returns)}"
            )
        if continues is not None:
            self._returns = np.where(continues, self._returns, 0.0)
        steps = np.atleast_2d(rewards).astype(np.float64)
        seen = np.empty_like(steps)
        for t, end in enumerate(np.atleast_2d(ends)):
            self._returns = self.gamma * self._returns + steps[t]
            seen[t] = self._returns
            self._returns = np.where(end, 0.0, self._returns)
        self._merge(seen)
        return (rewards / self.std).astype(np.float32)

    def _merge(self, values: npt.NDArray[np.float64]) -> None:
        count = self._count + values.size
        delta = float(values.mean()) - self._mean
        self._squares += float(((values - values.mean()) ** 2).sum())
        self._squares += delta**2 * self._count * values.size / count
        self._mean += delta * values.size / count
        self._count = count

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of everything that `update` changes, float64."""
        return {
            "returns": torch.from_numpy(self._returns.copy()),
            "statistics": torch.tensor([self._count, self._mean, self._squares], dtype=torch.float64),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state_dict` gave; ValueError for another number of environments."""
        returns = state["returns"].numpy().astype(np.float64, copy=True)
        if returns.shape != self._returns.shape:
            raise ValueError(f"normaliser state is for {len(returns)} environments, not {len(self._returns)}")
        self._returns = returns
        self._count, self._mean, self._squares = (float(x) for x in state["statistics"])
