"""The update: proximal policy optimisation (Schulman et al. 2017) with the auxiliary losses."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from tedg.config.run_config import PPOConfig
from tedg.learn import losses
from tedg.learn.normalise import ReturnNormaliser
from tedg.learn.objective import Evaluation, Targets, objective_terms, weighted_total
from tedg.learn.parameters import FlatParameters
from tedg.learn.rollout import Rollout, advantages
from tedg.learn.shards import Inputs, Shards
from tedg.learn.stages import Settings
from tedg.models.norm import observing
from tedg.models.policy import MoEPolicy, PolicyOutput
from tedg.processes import WorkerError

OBSERVED_STATES = 512  # states of a rollout that running statistics are taken from
MAX_RESTARTS = 3  # of the learner's processes in one update


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """Figures of one update. `fault` names what was wrong with it; then everything was rolled back."""

    metrics: dict[str, float]
    probe: PolicyOutput  # one minibatch before the first gradient step, detached
    fault: str | None
    incidents: list[str] = field(default_factory=list)  # processes lost and replaced, for the user


@runtime_checkable
class Part(Protocol):
    """Something with a state that can be taken and given back."""

    def state_dict(self) -> dict[str, Any]:
        """The state; it may share memory with the part."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Take up a state."""
        ...


class FaultError(Exception):
    """A loss, gradient or weight was NaN or infinite, or a figure beyond its limit."""


class Learner:
    """Owns policy, optimiser, reward normaliser and alignment target, and updates them together."""

    def __init__(
        self,
        policy: MoEPolicy,
        config: PPOConfig,
        num_envs: int,
        generator: torch.Generator,
        threads: int = 1,
    ) -> None:
        """`generator` (CPU) shuffles minibatches; `threads` processes share each of them."""
        self.policy, self.config, self.generator = policy, config, generator
        self.parameters = FlatParameters(p for p in policy.parameters() if p.requires_grad)
        self.optimizer = torch.optim.Adam([self.parameters.value], lr=0.0, eps=config.adam_eps, fused=True)
        self.normaliser = ReturnNormaliser(num_envs, config.gamma)
        self._watched = {
            name: self.parameters.gradients([policy.fusion.get_parameter(path)])
            for name, path in policy.fusion.attention_parameters.items()
        }
        if policy.router is not None:
            self._watched["router"] = self.parameters.gradients(policy.router.parameters())
        self.shards = Shards(policy, self.parameters, config.minibatch_size, threads)
        self.alignment: losses.AlignmentTarget | None = None
        if policy.router is not None and policy.operator_membership is not None:
            self.alignment = losses.AlignmentTarget(policy.operator_membership)

    @property
    def parts(self) -> dict[str, Part]:
        """Everything an update changes, by the names that checkpoints give it."""
        parts: dict[str, Part | None] = {
            "model": self.policy,
            "optim": self.optimizer,
            "normaliser": self.normaliser,
            "alignment": self.alignment,
        }
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def alignment_off(self) -> str | None:
        """Why there is no alignment loss in any stage; None where there is one."""
        if self.alignment is not None:
            return None
        if self.policy.logic.expert_of_operator is None:
            return "there is no hypergraph"
        return "there is no router" if self.policy.router is None else "operators have other experts"

    def close(self) -> None:
        """End the processes that share the work, if there are any. May be called again."""
        self.shards.close()

    def state(self) -> dict[str, Any]:
        """Everything an update changes, as it is now (copies)."""
        return {name: copy.deepcopy(part.state_dict()) for name, part in self.parts.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` gave."""
        for name, part in self.parts.items():
            part.load_state_dict(copy.deepcopy(state[name]))  # an optimiser would keep and change it

    def update(self, rollout: Rollout, settings: Settings) -> UpdateResult:
        """Run all epochs over the rollout; on anything not finite roll back and say what it was.

        A process that is lost on the way costs time alone: the update is begun anew with another one.
        Raises WorkerError when they are lost again and again.
        """
        good, order = self.state(), self.generator.get_state()
        incidents: list[str] = []
        while True:
            try:
                return replace(self._update(rollout, settings, good), incidents=incidents)
            except WorkerError as error:
                if len(incidents) == MAX_RESTARTS:
                    raise
                incidents.append(str(error))
                self.restore(good)
                self.generator.set_state(order)
                self.shards.restart()

    def _update(self, rollout: Rollout, settings: Settings, good: dict[str, Any]) -> UpdateResult:
        sums: dict[str, list[Tensor]] = defaultdict(list)
        probe: PolicyOutput | None = None
        targets = self._prepare(rollout)
        inputs = Inputs(rollout.flat_observation(), rollout.action.flatten(), rollout.temperature.flatten())
        self.shards.begin(inputs, settings.routing)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate
        try:
            for index in self._minibatches(rollout):
                now, scores = self.shards.evaluate(index)
                held = targets[index]
                if probe is None:
                    probe = self._probe(inputs, index, settings)
                    # The running average must see scores before the first target is made from it.
                    if self.alignment is not None:
                        self.alignment.update(scores)
                    log_ratio = now.log_prob.detach() - held.log_prob
                    sums["train/initial_log_ratio"].append(log_ratio.abs().mean())
                self._step(now, scores, held, settings, sums)
            self._require_finite(self.parameters.value.detach().sum().unsqueeze(0), "weight")
            self._require_within_limits(sums)
            self._observe(rollout, settings)
        except FaultError as fault:
            self.restore(good)
            first = torch.arange(self.config.minibatch_size, device=inputs.action.device)
            return UpdateResult({}, probe or self._probe(inputs, first, settings), str(fault))
        metrics = {name: float(torch.stack(values).mean()) for name, values in sums.items()}
        assert probe is not None  # a rollout holds at least one minibatch, by validation
        return UpdateResult(metrics, probe, None)

    def _prepare(self, rollout: Rollout) -> Targets:
        """Advantages and what else the losses compare with, for all samples in one row."""
        ended = rollout.terminated | rollout.truncated
        reward = rollout.reward
        if self.config.normalise_rewards:
            arrays = (x.cpu().numpy() for x in (reward, ended, rollout.continues[0]))
            scaled = self.normaliser.update(*arrays)
            reward = torch.as_tensor(scaled, device=reward.device)
        rollout.advantage = advantages(
            reward.to(rollout.value.dtype),
            rollout.value,
            rollout.next_value,
            ended,
            self.config.gamma,
            self.config.gae_lambda,
        )
        rollout.value_target = rollout.advantage + rollout.value
        return Targets(
            log_prob=rollout.log_prob.flatten(),
            advantage=rollout.advantage.flatten(),
            value_target=rollout.value_target.flatten(),
            previous_alpha=rollout.previous_alpha.flatten(0, 1),
            continues=rollout.continues.flatten(),
        )

    def _minibatches(self, rollout: Rollout) -> Iterator[Tensor]:
        """Indices of samples: every epoch a new order, cut into minibatches."""
        for _ in range(self.config.num_epochs):
            order = torch.randperm(rollout.num_samples, generator=self.generator)
            yield from torch.split(order.to(rollout.action.device), self.config.minibatch_size)

    def _step(
        self,
        now: Evaluation,
        scores: Tensor | None,
        targets: Targets,
        settings: Settings,
        sums: dict[str, list[Tensor]],
    ) -> None:
        """One optimiser step; losses are functions of the whole minibatch, however it is shared."""
        # Off only where no router can follow operators; a hypergraph without scores is an error inside.
        aligned = None
        if self.alignment is not None and settings.routing.source == "router":
            aligned = self.alignment(scores, settings.weights.alignment_temperature)
        terms = objective_terms(now, targets, self.config, aligned)
        total = weighted_total(terms, settings.weights, self.config.value_coef)
        self._require_finite(torch.stack(list(terms.values())), "loss", list(terms))
        outputs = now.tensors()
        gradients = torch.autograd.grad(total, list(outputs.values()))
        self.parameters.set_gradient(self.shards.backward(dict(zip(outputs, gradients, strict=True))))
        self._clip_and_measure(sums)
        self.optimizer.step()
        for name, value in {**terms, "total": total}.items():
            sums[f"loss/{name}"].append(value.detach())
        log_ratio = now.log_prob.detach() - targets.log_prob
        ratio = log_ratio.exp()
        sums["train/kl"].append((ratio - 1 - log_ratio).mean())
        sums["train/clip_fraction"].append(((ratio - 1).abs() > self.config.clip_range).float().mean())

    def _clip_and_measure(self, sums: dict[str, list[Tensor]]) -> None:
        """Scale the gradient down to `max_grad_norm`; figures are those before."""
        norm = self.parameters.gradient.norm()
        self._require_finite(norm.unsqueeze(0), "gradient")
        sums["gradient/norm"].append(norm)
        for name, gradients in self._watched.items():
            own = [gradient.norm() for gradient in gradients] or [torch.zeros_like(norm)]  # none where frozen
            sums[f"gradient/{name}"].append(torch.stack(own).norm())
        self.parameters.gradient.mul_((self.config.max_grad_norm / (norm + 1e-6)).clamp_max(1.0))

    @torch.no_grad()
    def _observe(self, rollout: Rollout, settings: Settings) -> None:
        """Let running statistics see the rollout, now that nothing is compared with the old policy."""
        order = torch.randperm(rollout.num_samples, generator=self.generator)[:OBSERVED_STATES]
        sample = rollout.flat_observation()[order.to(rollout.action.device)]
        with observing(self.policy):
            self.policy(sample, settings.routing, settings.temperature)

    def _require_finite(self, values: Tensor, what: str, names: list[str] | None = None) -> None:
        finite = torch.isfinite(values).tolist()
        if not all(finite):
            bad = [n for n, ok in zip(names, finite, strict=True) if not ok] if names else []
            raise FaultError(f"{what}{' ' + ', '.join(bad) if bad else ''} is not finite")

    def _require_within_limits(self, sums: dict[str, list[Tensor]]) -> None:
        for name, key in (("train/kl", "max_kl"), ("loss/value", "max_value_loss")):
            found, limit = float(torch.stack(sums[name]).mean()), getattr(self.config, key)
            if not found <= limit:
                raise FaultError(f"{name} is {found:g}, above ppo.{key}={limit:g}")

    @torch.no_grad()
    def _probe(self, inputs: Inputs, index: Tensor, settings: Settings) -> PolicyOutput:
        return self.policy(inputs.observation[index], settings.routing, inputs.temperature[index])


def explained_variance(value: Tensor, target: Tensor) -> float:
    """1 - Var(target - value) / Var(target); NaN when the target does not vary."""
    variance = float(target.var())
    return math.nan if variance == 0 else 1 - float((target - value).var()) / variance
