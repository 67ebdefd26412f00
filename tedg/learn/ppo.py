"""The update: proximal policy optimisation (Schulman et al. 2017) with the auxiliary losses."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tedg.config import PPOConfig
from tedg.envs.observation import Observation
from tedg.learn import losses
from tedg.learn.normalise import ReturnNormaliser
from tedg.learn.rollout import Rollout, advantages
from tedg.learn.stages import LossWeights, Settings
from tedg.models.norm import observing
from tedg.models.policy import ActionAndValue, MoEPolicy, PolicyOutput

OBSERVED_STATES = 1024  # states of a rollout that running statistics are taken from


def clipped_policy_loss(
    log_ratio: Float[Tensor, " batch"], advantage: Float[Tensor, " batch"], clip_range: float
) -> Float[Tensor, ""]:
    """-E[min(r A, clip(r, 1 - c, 1 + c) A)] (equation 7 of the paper)."""
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.minimum(ratio * advantage, clipped * advantage).mean()


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Samples of a rollout, by index; every tensor has the minibatch as its first dimension."""

    observation: Observation
    action: Tensor
    log_prob: Tensor
    temperature: Tensor
    previous_alpha: Tensor
    continues: Tensor
    advantage: Tensor
    value_target: Tensor


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """Figures of one update. `fault` names what was not finite; then everything was rolled back."""

    metrics: dict[str, float]
    probe: PolicyOutput  # one minibatch before the first gradient step, detached
    fault: str | None


class NonFiniteError(Exception):
    """A loss, gradient or weight was NaN or infinite."""


class Learner:
    """Owns policy, optimiser, reward normaliser and alignment target, and updates them together."""

    def __init__(
        self, policy: MoEPolicy, config: PPOConfig, num_envs: int, generator: torch.Generator
    ) -> None:
        """`generator` (CPU) shuffles minibatches."""
        self.policy, self.config, self.generator = policy, config, generator
        self.parameters = [p for p in policy.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=0.0, eps=config.adam_eps, fused=True)
        self.normaliser = ReturnNormaliser(num_envs, config.gamma)
        self.alignment: losses.AlignmentTarget | None = None
        if (experts := policy.logic.expert_of_operator) is not None:
            device = self.parameters[0].device
            num_experts = policy.experts.num_experts
            self.alignment = losses.AlignmentTarget(experts.cpu(), num_experts).to(device)

    def state(self) -> dict[str, Any]:
        """Everything an update changes, as it is now (copies)."""
        return copy.deepcopy(
            {
                "policy": self.policy.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "normaliser": self.normaliser.state_dict(),
                "alignment": None if self.alignment is None else self.alignment.state_dict(),
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` gave."""
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.normaliser.load_state_dict(state["normaliser"])
        if self.alignment is not None:
            self.alignment.load_state_dict(state["alignment"])

    def update(self, rollout: Rollout, settings: Settings) -> UpdateResult:
        """Run all epochs over the rollout; on anything not finite roll back and say what it was."""
        good = self.state()
        sums: dict[str, list[Tensor]] = defaultdict(list)
        probe: PolicyOutput | None = None
        self._prepare(rollout)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate
        try:
            for batch in self._minibatches(rollout):
                acted = self.policy.get_action_and_value(
                    batch.observation, settings.routing, batch.temperature, batch.action
                )
                if probe is None:
                    probe = acted.output.detach()
                    # The running average must see scores before the first target is made from it.
                    if self.alignment is not None:
                        self.alignment.update(probe.operator_scores)
                    log_ratio = (acted.log_prob.detach() - batch.log_prob).abs()
                    sums["train/initial_log_ratio"].append(log_ratio.mean())
                terms = self._terms(batch, acted, settings)
                total = weighted_total(terms, settings.weights, self.config.value_coef)
                self._step(total, terms, sums)
                for name, value in {**terms, "total": total}.items():
                    sums[f"loss/{name}"].append(value.detach())
                self._measure(batch, acted, sums)
            self._require_finite(torch.stack([p.detach().sum() for p in self.parameters]), "weight")
            self._observe(rollout, settings)
        except NonFiniteError as fault:
            self.restore(good)
            return UpdateResult({}, probe or self._probe(rollout, settings), str(fault))
        metrics = {name: float(torch.stack(values).mean()) for name, values in sums.items()}
        assert probe is not None  # a rollout holds at least one minibatch, by validation
        return UpdateResult(metrics, probe, None)

    def _prepare(self, rollout: Rollout) -> None:
        ended = rollout.terminated | rollout.truncated
        reward = rollout.reward
        if self.config.normalise_rewards:
            scaled = self.normaliser.update(reward.cpu().numpy(), ended.cpu().numpy())
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

    def _minibatches(self, rollout: Rollout) -> Iterator[Minibatch]:
        assert rollout.advantage is not None
        assert rollout.value_target is not None
        observation = rollout.flat_observation()
        fields = {
            name: getattr(rollout, name).flatten(0, 1)
            for name in Minibatch.__dataclass_fields__
            if name != "observation"
        }
        for _ in range(self.config.num_epochs):
            order = torch.randperm(rollout.num_samples, generator=self.generator).to(fields["action"].device)
            for index in torch.split(order, self.config.minibatch_size):
                yield Minibatch(observation[index], **{n: v[index] for n, v in fields.items()})

    def _terms(self, batch: Minibatch, acted: ActionAndValue, settings: Settings) -> dict[str, Tensor]:
        """Every loss of this minibatch by name, unweighted."""
        output = acted.output
        advantage = batch.advantage
        advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
        soft_alpha = output.soft_alpha
        log_alpha = torch.log_softmax(output.router_logits, dim=-1)
        terms = {
            "policy": clipped_policy_loss(acted.log_prob - batch.log_prob, advantage, self.config.clip_range),
            "value": 0.5 * (acted.output.value - batch.value_target).square().mean(),
            "entropy": acted.entropy.mean(),
            "alpha_entropy": losses.alpha_entropy(log_alpha),
            "load_balance": losses.load_balance(soft_alpha),
            "diversity": losses.diversity(output.expert_logits),
            "semantic": losses.semantic_orthogonality(output.expert_logits),
            "temporal": losses.temporal_consistency(soft_alpha, batch.previous_alpha, batch.continues),
            "overlap": losses.overlap(soft_alpha, output.expert_logits),
        }
        # Off only where there is no hypergraph; a hypergraph without scores is an error inside.
        if self.alignment is not None:
            target = self.alignment(output.operator_scores, settings.weights.alignment_temperature)
            terms["alignment"] = losses.alignment(log_alpha, target)
        return terms

    def _step(self, total: Tensor, terms: dict[str, Tensor], sums: dict[str, list[Tensor]]) -> None:
        self._require_finite(torch.stack(list(terms.values())), "loss", list(terms))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        self._require_finite(norm.unsqueeze(0), "gradient")
        sums["gradient/norm"].append(norm)
        # Clipping scaled the gradients; undo it, so that the figures are those of the losses.
        unclipped = (norm / self.config.max_grad_norm).clamp_min(1.0)
        for name, path in self.policy.fusion.attention_parameters.items():
            gradient = self.policy.fusion.get_parameter(path).grad
            assert gradient is not None
            sums[f"gradient/{name}"].append(gradient.norm() * unclipped)
        router = torch.nn.utils.get_total_norm([p.grad for p in self.policy.router.parameters()])  # type: ignore[misc]
        sums["gradient/router"].append(router * unclipped)
        self.optimizer.step()

    @torch.no_grad()
    def _measure(self, batch: Minibatch, acted: ActionAndValue, sums: dict[str, list[Tensor]]) -> None:
        log_ratio = acted.log_prob - batch.log_prob
        ratio = log_ratio.exp()
        sums["train/kl"].append((ratio - 1 - log_ratio).mean())
        sums["train/clip_fraction"].append(((ratio - 1).abs() > self.config.clip_range).float().mean())

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
            raise NonFiniteError(f"{what}{' ' + ', '.join(bad) if bad else ''} is not finite")

    @torch.no_grad()
    def _probe(self, rollout: Rollout, settings: Settings) -> PolicyOutput:
        return self.policy(rollout.observation[0], settings.routing, settings.temperature)


def weighted_total(terms: dict[str, Tensor], weights: LossWeights, value_coef: float) -> Tensor:
    """The scalar that is minimised. Entropies enter with a minus where they are maximised."""
    total = (
        terms["policy"]
        + value_coef * terms["value"]
        - weights.entropy * terms["entropy"]
        - weights.alpha_entropy * terms["alpha_entropy"]
        + weights.load_balance * terms["load_balance"]
        + weights.diversity * terms["diversity"]
        + weights.semantic * terms["semantic"]
        + weights.temporal * terms["temporal"]
        + weights.overlap * terms["overlap"]
    )
    if "alignment" in terms:
        total = total + weights.alignment * terms["alignment"]
    return total


def explained_variance(value: Tensor, target: Tensor) -> float:
    """1 - Var(target - value) / Var(target); NaN when the target does not vary."""
    variance = float(target.var())
    return math.nan if variance == 0 else 1 - float((target - value).var()) / variance
