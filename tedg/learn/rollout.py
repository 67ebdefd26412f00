"""Collecting a rollout: everything the update reads is stored with the step it belongs to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tedg.envs.observation import EpisodeEnd, Observation, VectorEnv
from tedg.learn.stages import Settings
from tedg.models.policy import MoEPolicy


@dataclass(slots=True)
class Rollout:
    """T steps of N environments, tensors [T, N, ...]; `flat` gives the samples of the update.

    An observation is stored with the legality mask, atoms and routing temperature it was acted on
    with, so that the update evaluates the very policy that acted.
    """

    observation: Observation
    action: Tensor  # int64
    log_prob: Tensor
    value: Tensor
    temperature: Tensor
    soft_alpha: Tensor  # [T, N, K] softmax of the router's logits
    previous_alpha: Tensor  # [T, N, K] soft_alpha of the step before
    continues: Tensor  # bool: the step before belongs to the same episode
    reward: Tensor  # raw
    terminated: Tensor  # bool
    truncated: Tensor  # bool
    next_value: Tensor  # V of the true next observation; 0 after a terminated step
    episodes: list[EpisodeEnd] = field(default_factory=list)
    advantage: Tensor | None = None
    value_target: Tensor | None = None

    @property
    def num_samples(self) -> int:
        """T * N."""
        return self.action.numel()

    def flat_observation(self) -> Observation:
        """The stored observations as one batch of T * N."""
        return self.observation.map(lambda x: x.flatten(0, 1))


def _empty_like_rollout(observation: Observation, steps: int) -> Observation:
    return observation.map(lambda x: torch.empty((steps, *x.shape), dtype=x.dtype, device=x.device))


class Collector:
    """Steps the environments with the policy. It owns what lives on between rollouts."""

    def __init__(
        self,
        env: VectorEnv,
        policy: MoEPolicy,
        num_steps: int,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.env, self.policy, self.device, self.generator = env, policy, device, generator
        self.num_steps = num_steps
        self.env_seconds = 0.0  # wall-clock spent inside the environments, over all rollouts
        self._observation = self._tensors(env.reset())
        self._previous_alpha: Tensor | None = None
        self._continues = torch.zeros(env.num_envs, dtype=torch.bool, device=device)

    def _tensors(self, observation: Observation) -> Observation:
        return observation.select(self.policy.inputs).to(self.device)

    @torch.no_grad()
    def collect(self, settings: Settings) -> Rollout:
        """Play `num_steps` in every environment under one stage's settings."""
        steps, envs = self.num_steps, self.env.num_envs
        device = self.device
        observation = _empty_like_rollout(self._observation, steps)
        temperature = torch.full((envs,), settings.temperature, device=device)
        rows: dict[str, list[Tensor]] = {
            name: [] for name in ("action", "log_prob", "value", "soft_alpha", "previous_alpha", "continues")
        }
        reward = np.zeros((steps, envs), np.float32)
        terminated = np.zeros((steps, envs), bool)
        truncated = np.zeros((steps, envs), bool)
        episodes: list[EpisodeEnd] = []
        cut: list[tuple[int, int]] = []  # (step, env) of every truncation
        cut_observations: list[Observation] = []
        for t in range(steps):
            for (_, kept), (_, now) in zip(observation.items(), self._observation.items(), strict=True):
                kept[t] = now
            acted = self.policy.get_action_and_value(
                self._observation, settings.routing, temperature, generator=self.generator
            )
            soft_alpha = acted.output.soft_alpha
            rows["action"].append(acted.action)
            rows["log_prob"].append(acted.log_prob)
            rows["value"].append(acted.output.value)
            rows["soft_alpha"].append(soft_alpha)
            rows["previous_alpha"].append(
                soft_alpha if self._previous_alpha is None else self._previous_alpha
            )
            rows["continues"].append(self._continues)
            before = time.monotonic()
            step = self.env.step(acted.action.cpu().numpy())
            self.env_seconds += time.monotonic() - before
            reward[t], terminated[t], truncated[t] = step.reward, step.terminated, step.truncated
            episodes += step.episodes
            if step.final_observation is not None:
                is_cut = step.truncated[step.final_index] & ~step.terminated[step.final_index]
                if is_cut.any():
                    cut += [(t, int(env)) for env in step.final_index[is_cut]]
                    cut_observations.append(step.final_observation[is_cut].select(self.policy.inputs))
            self._previous_alpha = soft_alpha
            self._continues = torch.as_tensor(~(step.terminated | step.truncated), device=device)
            self._observation = self._tensors(step.observation)
        stacked = {name: torch.stack(values) for name, values in rows.items()}
        ended = torch.as_tensor(terminated | truncated, device=device)
        next_value = torch.empty_like(stacked["value"])
        next_value[:-1] = stacked["value"][1:]
        next_value[-1] = self._value(self._observation, settings)
        next_value[ended] = 0.0
        if cut:
            final = _concatenate(cut_observations).to(device)
            index = torch.tensor(cut, device=device)
            next_value[index[:, 0], index[:, 1]] = self._value(final, settings)
        return Rollout(
            observation=observation,
            temperature=temperature.expand(steps, envs).clone(),
            reward=torch.as_tensor(reward, device=device),
            terminated=torch.as_tensor(terminated, device=device),
            truncated=torch.as_tensor(truncated, device=device),
            next_value=next_value,
            episodes=episodes,
            **stacked,
        )

    def _value(self, observation: Observation, settings: Settings) -> Tensor:
        value: Tensor = self.policy(observation, settings.routing, settings.temperature).value
        return value


def _concatenate(parts: list[Observation]) -> Observation:
    names = tuple(name for name, _ in parts[0].items())
    return Observation(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def advantages(
    reward: Float[Tensor, "steps envs"],
    value: Float[Tensor, "steps envs"],
    next_value: Float[Tensor, "steps envs"],
    ended: Bool[Tensor, "steps envs"],
    gamma: float,
    gae_lambda: float,
) -> Float[Tensor, "steps envs"]:
    """Generalised advantage estimates (Schulman et al. 2016), in the order the steps were played.

    delta_t = r_t + gamma V(s'_t) - V(s_t); A_t = delta_t + gamma lambda (1 - ended_t) A_{t+1}.
    `next_value` is V of the true next observation (0 after a terminated step, the last living frame's
    after a truncated one), so a step limit is not mistaken for a death.
    """
    delta = reward + gamma * next_value - value
    carry = gamma * gae_lambda * (~ended).to(delta.dtype)
    result = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        running = delta[t] + carry[t] * running
        result[t] = running
    return result
