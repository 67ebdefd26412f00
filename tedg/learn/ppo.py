"""The update: proximal policy optimisation (Schulman et al. 2017) with the auxiliary losses."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from tedg.config.run_config import PPOConfig
from tedg.learn import losses
from tedg.learn.adam import Adam
from tedg.learn.capture import Capture, Function, Plain
from tedg.learn.held import Held, HeldSettings
from tedg.learn.ledger import Ledger
from tedg.learn.normalise import ReturnNormaliser
from tedg.learn.objective import Targets, figure_of, objective_terms, weighted_total
from tedg.learn.parameters import FlatParameters
from tedg.learn.rollout import Rollout, advantages
from tedg.learn.shards import Inputs, Shards
from tedg.learn.stages import Settings
from tedg.models.norm import observing
from tedg.models.policy import MoEPolicy, PolicyOutput
from tedg.processes import WorkerError

OBSERVED_STATES = 512  # states of a rollout that running statistics are taken from, and at most of a probe
MAX_RESTARTS = 3  # of the learner's processes in one update


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """Figures of one update. `fault` names what was wrong with it; then everything was rolled back."""

    metrics: dict[str, float]
    probe: PolicyOutput  # states of the first minibatch before the first gradient step, detached
    fault: str | None
    incidents: list[str] = field(default_factory=list)  # processes lost and replaced, for the user


@runtime_checkable
class Part(Protocol):
    """Something with a state that can be taken, and given back: its values are copied."""

    def state_dict(self) -> dict[str, Any]:
        """The state; it may share memory with the part."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Take up a state."""
        ...


class Learner:
    """Owns policy, optimiser, reward normaliser and alignment target, and updates them together.

    An update is three functions of tensors that are put to their places first: one before its minibatches,
    one for each, one after them. On a GPU each is captured and replayed. So none of them looks at a value:
    figures, and whether they are finite, are read once, when all minibatches are done.
    """

    def __init__(
        self,
        policy: MoEPolicy,
        config: PPOConfig,
        num_envs: int,
        generator: torch.Generator,
        threads: int = 1,
        capture: Capture | None = None,
    ) -> None:
        """`generator` (CPU) shuffles minibatches; `threads` processes share each of them.

        Nothing is captured without `capture`.
        """
        self.policy, self.config, self.generator = policy, config, generator
        self.parameters = FlatParameters(p for p in policy.parameters() if p.requires_grad)
        value = self.parameters.value
        self._capture = capture or Plain()
        self.optimizer = Adam(value, config.adam_eps, captured=self._capture.fixed)
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

        self._given = Held(self._capture.fixed)  # the rollout, and the order of its samples
        self._computed = Held(self._capture.fixed)  # from all of it: what samples are compared with
        self._observed = Held(self._capture.fixed)  # which samples running statistics are taken from
        self._held_settings = HeldSettings(self._capture.fixed, value.detach())
        self._settings: Settings | None = None  # as the functions read them
        self._functions: dict[str | int, Function] = {}  # "begin", a minibatch by its size, "end"
        self._sizes: list[int] = []  # of the minibatches of an epoch
        self._first = torch.zeros(1, dtype=torch.int64, device=value.device)  # place of the next minibatch
        self._ledger = Ledger(0, value.detach())
        self._terms: dict[str, str] = {}  # of the objective, by the figures that tell them
        self._probe: PolicyOutput | None = None  # states of a minibatch before the first gradient step

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
            part.load_state_dict(state[name])

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
        self._take(rollout, settings)
        self._functions["begin"]()
        for _ in range(self.config.num_epochs):
            for size in self._sizes:
                self._functions[size]()
        rollout.advantage, rollout.value_target = (
            self._computed[name].view_as(rollout.value) for name in ("advantage", "value_target")
        )
        assert self._probe is not None
        figures = self._ledger.read()
        if (fault := self._fault(figures)) is not None:
            self.restore(good)
            return UpdateResult({}, self._probe, fault)
        observed = torch.randperm(rollout.num_samples, generator=self.generator)[:OBSERVED_STATES]
        self._observed.take({"index": observed.to(self._first.device)})
        self._functions["end"]()
        metrics = {"train/initial_log_ratio": float(figures.pop("log_ratio")[0])}
        metrics |= {name: float(values.mean()) for name, values in figures.items()}
        return UpdateResult(metrics, self._probe, None)

    def _take(self, rollout: Rollout, settings: Settings) -> None:
        """Put everything that the functions read to its place."""
        samples, device = rollout.num_samples, rollout.action.device
        size = self.config.minibatch_size
        sizes = [min(size, samples - first) for first in range(0, samples, size)]
        if sizes != self._sizes:
            self._sizes, self._functions = sizes, {}
            self._ledger = Ledger(self.config.num_epochs * len(sizes), self.parameters.value.detach())
        inputs = Inputs(rollout.flat_observation(), rollout.action.flatten(), rollout.temperature.flatten())
        ended = rollout.terminated | rollout.truncated
        reward = rollout.reward
        if self.config.normalise_rewards:
            arrays = (x.cpu().numpy() for x in (reward, ended, rollout.continues[0]))
            reward = torch.as_tensor(self.normaliser.update(*arrays), device=device)
        orders = [torch.randperm(samples, generator=self.generator) for _ in range(self.config.num_epochs)]
        self._given.take(
            {
                **{f"input.{name}": value for name, value in inputs.tensors().items()},
                "target.log_prob": rollout.log_prob.flatten(),
                "target.previous_alpha": rollout.previous_alpha.flatten(0, 1),
                "target.continues": rollout.continues.flatten(),
                "reward": reward.to(rollout.value.dtype),
                "value": rollout.value,
                "next_value": rollout.next_value,
                "ended": ended,
                "order": torch.cat(orders).to(device),
            }
        )
        self.optimizer.set_rate(settings.learning_rate)
        held = self._held_settings.take(settings)
        if held is not self._settings or not self._functions:
            self._settings = held
            functions: dict[str | int, Function] = {"begin": self._begin, "end": self._end}
            functions |= {size: partial(self._minibatch, size) for size in set(self._sizes)}
            self._functions = {name: self._capture(f, self._changing) for name, f in functions.items()}
        self.shards.begin(self._inputs(), held.routing)

    def _changing(self) -> list[Tensor]:
        """All that the functions write and later ones read."""
        alignment = {} if self.alignment is None else self.alignment.state_dict()
        own = [self._first, *self._ledger.tensors(), *self.optimizer.tensors()]
        return [*self.policy.state_dict().values(), *alignment.values(), *own]

    @torch.no_grad()
    def _begin(self) -> None:
        """Advantages, and what the policy says before it changes."""
        given, config = self._given, self.config
        reward, value, next_value, ended = (given[n] for n in ("reward", "value", "next_value", "ended"))
        advantage = advantages(reward, value, next_value, ended, config.gamma, config.gae_lambda)
        target = (advantage + value).flatten()
        self._computed.take({"advantage": advantage.flatten(), "value_target": target})
        self._first.zero_()
        self._ledger.begin()
        assert self._settings is not None
        first = self._inputs()[given["order"][: min(self._sizes[0], OBSERVED_STATES)]]
        self._probe = self.policy(first.observation, self._settings.routing, first.temperature)
        # The running average must see scores before the first target is made from it.
        if self.alignment is not None:
            self.alignment.update(self._probe.operator_scores)

    def _minibatch(self, size: int) -> None:
        """One optimiser step; losses are functions of the whole minibatch, however it is shared."""
        assert self._settings is not None
        settings, places = self._settings, torch.arange(size, device=self._first.device) + self._first
        index = self._given["order"].index_select(0, places)
        now, scores = self.shards.evaluate(index)
        targets = Targets(**self._given.part("target"), **self._computed.tensors)[index]
        # Off only where no router can follow operators; a hypergraph without scores is an error inside.
        aligned = None
        if self.alignment is not None and settings.routing.source == "router":
            aligned = self.alignment(scores, settings.weights.alignment_temperature)
        terms = objective_terms(now, targets, self.config, aligned)
        total = weighted_total(terms, settings.weights, self.config.value_coef)
        outputs = now.tensors()
        gradients = torch.autograd.grad(total, list(outputs.values()))
        self.parameters.set_gradient(self.shards.backward(dict(zip(outputs, gradients, strict=True))))
        log_ratio = now.log_prob.detach() - targets.log_prob
        ratio = log_ratio.exp()
        figures = self._clip()
        figures["log_ratio"] = log_ratio.abs().mean()
        figures |= {figure_of(name): value.detach() for name, value in {**terms, "total": total}.items()}
        self._terms = {figure_of(name): name for name in terms}
        figures["train/kl"] = (ratio - 1 - log_ratio).mean()
        figures["train/clip_fraction"] = ((ratio - 1).abs() > self.config.clip_range).to(ratio.dtype).mean()
        self._ledger.note(figures)
        self.optimizer.step()
        self._first += size

    def _clip(self) -> dict[str, Tensor]:
        """Scale the gradient down to `max_grad_norm`; returns norms from before."""
        norm = self.parameters.gradient.norm()
        watched = {}
        for name, gradients in self._watched.items():
            own = [gradient.norm() for gradient in gradients] or [torch.zeros_like(norm)]  # none where frozen
            watched[f"gradient/{name}"] = torch.stack(own).norm()
        self.parameters.gradient.mul_((self.config.max_grad_norm / (norm + 1e-6)).clamp_max(1.0))
        return {"gradient/norm": norm, **watched}

    @torch.no_grad()
    def _end(self) -> None:
        """Let running statistics see the rollout, now that nothing is compared with the old policy."""
        assert self._settings is not None
        sample = self._inputs()[self._observed["index"]].observation
        with observing(self.policy):
            self.policy(sample, self._settings.routing, self._settings.temperature)

    def _inputs(self) -> Inputs:
        return Inputs.of(self._given.part("input"))

    def _fault(self, figures: Mapping[str, Tensor]) -> str | None:
        """What was wrong with the minibatches, beginning with the first that was."""
        finite = {name: values.isfinite().tolist() for name, values in figures.items()}
        for row in range(len(finite["gradient/norm"])):
            if bad := [term for name, term in self._terms.items() if not finite[name][row]]:
                return f"loss {', '.join(bad)} is not finite"
            if not finite["gradient/norm"][row]:
                return "gradient is not finite"
        if not bool(self.parameters.value.detach().sum().isfinite()):
            return "weight is not finite"
        for name, key in (("train/kl", "max_kl"), ("loss/value", "max_value_loss")):
            found, limit = float(figures[name].mean()), getattr(self.config, key)
            if not found <= limit:
                return f"{name} is {found:g}, above ppo.{key}={limit:g}"
        return None


def explained_variance(value: Tensor, target: Tensor) -> float:
    """1 - Var(target - value) / Var(target); NaN when the target does not vary."""
    variance = float(target.var())
    return math.nan if variance == 0 else 1 - float((target - value).var()) / variance
