"""What an update minimises: the clipped policy loss, the value loss, entropies and the auxiliary losses."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tedg.config.auxiliary import AUXILIARY
from tedg.config.run_config import PPOConfig
from tedg.learn import losses
from tedg.learn.stages import LossWeights
from tedg.models.policy import ActionAndValue


@dataclass(frozen=True, slots=True)
class Targets:
    """What was stored or computed for the B samples of a minibatch, besides what the policy reads."""

    log_prob: Float[Tensor, " B"]  # of the action, when it was taken
    advantage: Float[Tensor, " B"]
    value_target: Float[Tensor, " B"]
    previous_alpha: Float[Tensor, "B K"]
    continues: Bool[Tensor, " B"]

    def __getitem__(self, index: Int[Tensor, " M"]) -> Targets:
        """Those of some of the samples."""
        return Targets(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the policy of now says of the same samples: all that the losses are functions of.

    A new field is one line in each of: the fields, `of` and `shapes`.
    """

    log_prob: Float[Tensor, " B"]
    entropy: Float[Tensor, " B"]
    value: Float[Tensor, " B"]
    router_logits: Float[Tensor, "B K"]
    expert_logits: Float[Tensor, "B K A"]

    @staticmethod
    def of(acted: ActionAndValue) -> Evaluation:
        """What the losses need of one forward pass."""
        return Evaluation(
            log_prob=acted.log_prob,
            entropy=acted.entropy,
            value=acted.output.value,
            router_logits=acted.output.router_logits,
            expert_logits=acted.output.expert_logits,
        )

    @staticmethod
    def shapes(samples: int, experts: int, actions: int) -> dict[str, tuple[int, ...]]:
        """The fields' shapes, for memory that is made before there is an evaluation."""
        return {
            "log_prob": (samples,),
            "entropy": (samples,),
            "value": (samples,),
            "router_logits": (samples, experts),
            "expert_logits": (samples, experts, actions),
        }

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name, in their order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


# Terms that are weighed, and no losses.
_ENTROPIES = {"entropy": "policy/entropy", "alpha_entropy": "router/soft_entropy"}


def clipped_policy_loss(
    log_ratio: Float[Tensor, " batch"], advantage: Float[Tensor, " batch"], clip_range: float
) -> Float[Tensor, ""]:
    """-E[min(r A, clip(r, 1 - c, 1 + c) A)] (equation 7 of the paper)."""
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.minimum(ratio * advantage, clipped * advantage).mean()


def objective_terms(
    now: Evaluation,
    targets: Targets,
    config: PPOConfig,
    alignment_target: Float[Tensor, "B K"] | None,
) -> dict[str, Tensor]:
    """Every loss and entropy of a minibatch by name, unweighted.

    The alignment is left out where there is no target.
    """
    advantage = targets.advantage
    advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
    log_alpha = torch.log_softmax(now.router_logits, dim=-1)
    # A one-hot sparsemax row passes no gradient to its router; the softmax of the same logits always does.
    soft_alpha = log_alpha.exp()
    readings = losses.Readings(
        soft_alpha=soft_alpha,
        log_alpha=log_alpha,
        cosines=losses.expert_cosines(now.expert_logits),
        expert_logits=now.expert_logits,
        previous_alpha=targets.previous_alpha,
        continues=targets.continues,
        alignment_target=alignment_target,
    )
    return {
        "policy": clipped_policy_loss(now.log_prob - targets.log_prob, advantage, config.clip_range),
        "value": 0.5 * (now.value - targets.value_target).square().mean(),
        "entropy": now.entropy.mean(),
        "alpha_entropy": losses.alpha_entropy(log_alpha),
        **auxiliary_terms(readings),
    }


def figure_of(term: str) -> str:
    """The name under which a term of the objective is logged."""
    return _ENTROPIES.get(term, f"loss/{term}")


def auxiliary_terms(readings: losses.Readings) -> dict[str, Tensor]:
    """Every auxiliary loss by name, but for those that would read what is not there."""
    read = {name: [getattr(readings, what) for what in reads] for name, reads in AUXILIARY.items()}
    return {
        name: getattr(losses, name)(*values)
        for name, values in read.items()
        if all(value is not None for value in values)
    }


def weighted_total(terms: dict[str, Tensor], weights: LossWeights, value_coef: float) -> Tensor:
    """The scalar that is minimised. Entropies enter with a minus where they are maximised."""
    total = (
        terms["policy"]
        + value_coef * terms["value"]
        - weights.entropy * terms["entropy"]
        - weights.alpha_entropy * terms["alpha_entropy"]
    )
    for name in AUXILIARY:
        if name in terms:
            total = total + weights.auxiliary[name] * terms[name]
    return total
