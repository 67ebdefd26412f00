"""Collecting a rollout: everything the update reads is stored with the step it belongs to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tedg.envs.observation import EpisodeEnd, Observation, Position, Resumed, Step, VectorEnv
from tedg.learn.acting import Actor, Valuer, full
from tedg.learn.capture import Capture, Plain
from tedg.learn.held import HeldSettings
from tedg.learn.stages import Settings
from tedg.models.logic import remembering
from tedg.models.policy import ActionAndValue, MoEPolicy, require_finite


@dataclass(slots=True)
class Rollout:
    """T steps of N environments, tensors [T, N, ...]; the update's samples are all T * N steps.

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
    incidents: list[str] = field(default_factory=list)  # processes lost and replaced, for the user
    advantage: Tensor | None = None
    value_target: Tensor | None = None

    @property
    def num_samples(self) -> int:
        """T * N."""
        return self.action.numel()

    def flat_observation(self) -> Observation:
        """The stored observations as one batch of T * N."""
        return self.observation.map(lambda x: x.flatten(0, 1))


@dataclass(frozen=True, slots=True)
class CollectorState:
    """What lives on between rollouts."""

    positions: list[Position]  # of the N environments
    continues: Tensor  # [N] bool: the running episode began before
    previous_alpha: Tensor | None  # [N, K] of the last step; None before the first


class Collector:
    """Steps the environments with the policy. It owns what lives on between rollouts.

    While the policy acts in one group of environments the others step. It acts group by group in a fixed
    order, so a rollout does not depend on which group is ready first.
    """

    def __init__(
        self,
        env: VectorEnv,
        policy: MoEPolicy,
        num_steps: int,
        device: torch.device,
        generator: torch.Generator,
        state: CollectorState | None = None,
        capture: Capture | None = None,
    ) -> None:
        """Begin new games, or go on where `state` says; games that cannot are lost with the next rollout.

        Nothing is captured without `capture`.
        """
        self.env, self.policy, self.device = env, policy, device
        self.num_steps = num_steps
        self._capture = capture = capture or Plain()
        self._held_settings = HeldSettings(capture.fixed, next(policy.parameters()).detach())
        self._actors = [Actor(policy, device, generator, capture) for _ in env.groups]
        self._valuer = Valuer(policy, capture)
        self.env_seconds = 0.0  # wall-clock spent waiting for the environments, over all rollouts
        self._previous_alpha: Tensor | None = None
        self._continues = torch.zeros(env.num_envs, dtype=torch.bool, device=device)
        begun = Resumed(env.reset(), []) if state is None else env.resume(state.positions)
        if state is not None:
            self._previous_alpha = None if state.previous_alpha is None else state.previous_alpha.to(device)
            self._continues |= state.continues.to(device)
            self._continues[[end.env for end in begun.lost]] = False
        self._observation = begun.observation.select(policy.inputs).to(device)
        for actor, rows in zip(self._actors, env.groups, strict=True):
            actor.see(begun.observation[rows])
        self._lost, self._incidents = begun.lost, begun.incidents  # for the next rollout to tell of

    def state(self) -> CollectorState:
        """Where everything stands between two rollouts; a copy."""
        alpha = self._previous_alpha
        return CollectorState(
            self.env.positions(), self._continues.clone(), None if alpha is None else alpha.clone()
        )

    @torch.no_grad()
    def collect(self, settings: Settings) -> Rollout:
        """Play `num_steps` in every environment under one stage's settings."""
        settings = self._held_settings.take(settings)
        record = _Record(self._observation, self.num_steps, self.policy, settings)
        record.episodes, self._lost = self._lost, []
        record.incidents, self._incidents = self._incidents, []
        # Faster than no_grad, but compiled code cannot be guarded in it, nor its tensors be used elsewhere.
        plain = not self.policy.compiled and not self._capture.fixed
        acting = torch.inference_mode() if plain else torch.no_grad()
        with remembering(self.policy):
            with acting:
                self._play(record, settings)
            require_finite(record.log_prob)
            return self._finish(record, settings)

    def _play(self, record: _Record, settings: Settings) -> None:
        groups = self.env.groups
        for t in range(self.num_steps):
            for group, rows in enumerate(groups):
                if t:
                    self._receive(record, t - 1, group)
                acted = self._actors[group].act(settings)
                record.note_acted(t, rows, acted)
                self._send(group, acted.action)
        for group in range(len(groups)):
            self._receive(record, self.num_steps - 1, group)

    def _send(self, group: int, action: Tensor) -> None:
        actions = action.cpu().numpy()
        before = time.monotonic()
        self.env.send(group, actions)
        self.env_seconds += time.monotonic() - before

    def _receive(self, record: _Record, t: int, group: int) -> None:
        before = time.monotonic()
        step = self.env.receive(group)
        self.env_seconds += time.monotonic() - before
        self._actors[group].see(step.observation)
        record.note_step(t, self.env.groups[group], step, self._actors[group].shown)

    def _finish(self, record: _Record, settings: Settings) -> Rollout:
        device = self.device
        terminated = torch.as_tensor(record.terminated, device=device)
        truncated = torch.as_tensor(record.truncated, device=device)
        ended = terminated | truncated
        value, soft_alpha = record.value, record.soft_alpha
        self._observation = record.observation[-1].map(torch.clone)
        next_value = torch.cat([value[1:], self._valuer.value(self._observation, settings).unsqueeze(0)])
        next_value[ended] = 0.0
        if record.cut:
            final = Observation.concatenate(record.cut_observations).to(device)
            index = torch.tensor(record.cut, device=device)
            next_value[index[:, 0], index[:, 1]] = self._valuer.value(final, settings)
        first_alpha = soft_alpha[0] if self._previous_alpha is None else self._previous_alpha
        rollout = Rollout(
            observation=record.observation[:-1],
            action=record.action,
            log_prob=record.log_prob,
            value=value,
            temperature=record.temperature,
            soft_alpha=soft_alpha,
            previous_alpha=torch.cat([first_alpha.unsqueeze(0), soft_alpha[:-1]]),
            continues=torch.cat([self._continues.unsqueeze(0), ~ended[:-1]]),
            reward=torch.as_tensor(record.reward, device=device),
            terminated=terminated,
            truncated=truncated,
            next_value=next_value,
            episodes=record.episodes,
            incidents=record.incidents,
        )
        self._previous_alpha = soft_alpha[-1].clone()
        self._continues = ~ended[-1]
        return rollout


class _Record:
    """A rollout in the making: T steps of N environments, filled group by group."""

    def __init__(self, first: Observation, steps: int, policy: MoEPolicy, settings: Settings) -> None:
        """`first` [N] are the tensors that the rollout begins with; the record has T + 1 observations."""
        self._inputs = policy.inputs
        envs, device = len(first), first.mask.device
        real = next(policy.parameters()).dtype
        self.observation = first.map(lambda x: x.new_empty((steps + 1, *x.shape)))
        for name, kept in self.observation.items():
            kept[0] = getattr(first, name)
        self.temperature = full(envs, settings.temperature, next(policy.parameters())).expand(steps, -1)
        self.action = torch.empty((steps, envs), dtype=torch.int64, device=device)
        self.log_prob = torch.empty((steps, envs), dtype=real, device=device)
        self.value = torch.empty_like(self.log_prob)
        experts = policy.experts.num_experts
        self.soft_alpha = torch.empty((steps, envs, experts), dtype=real, device=device)
        self.reward = np.zeros((steps, envs), np.float32)
        self.terminated = np.zeros((steps, envs), bool)
        self.truncated = np.zeros((steps, envs), bool)
        self.episodes: list[EpisodeEnd] = []
        self.incidents: list[str] = []
        self.cut: list[tuple[int, int]] = []  # (step, env) of every truncation
        self.cut_observations: list[Observation] = []

    def note_acted(self, t: int, rows: slice, acted: ActionAndValue) -> None:
        """Keep what the policy did in the environments `rows` at step t."""
        self.action[t, rows] = acted.action
        self.log_prob[t, rows] = acted.log_prob
        self.value[t, rows] = acted.output.value
        self.soft_alpha[t, rows] = acted.output.soft_alpha

    def note_step(self, t: int, rows: slice, step: Step, shown: Observation) -> None:
        """Keep what came of it; `shown` is the step's observation as tensors."""
        for name, kept in self.observation.items():
            kept[t + 1, rows] = getattr(shown, name)
        self.reward[t, rows] = step.reward
        self.terminated[t, rows], self.truncated[t, rows] = step.terminated, step.truncated
        self.episodes += step.episodes
        self.incidents += step.incidents
        if step.final_observation is not None:
            is_cut = step.truncated[step.final_index] & ~step.terminated[step.final_index]
            if is_cut.any():
                self.cut += [(t, rows.start + int(row)) for row in step.final_index[is_cut]]
                self.cut_observations.append(step.final_observation[is_cut].select(self._inputs))


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
