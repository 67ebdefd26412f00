"""What an update minimises: the clipped policy loss, the value loss, entropies and the auxiliary losses."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tedg.config.run_config import PPOConfig
from tedg.learn import losses
from tedg.learn.stages import LossWeights


@dataclass(frozen=True, slots=True)
class Targets:
    """What was stored or computed for the B samples of a minibatch, besides what the policy reads."""

    log_prob: Float[Tensor, " B"]  # of the action, when it was taken
    advantage: Float[Tensor, " B"]
    value_target: Float[Tensor, " B"]
    previous_alpha: Float[Tensor, "B K"]
    continues: Bool[Tensor, " B"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the policy of now says of the same samples: all that the losses are functions of."""

    log_prob: Float[Tensor, " B"]
    entropy: Float[Tensor, " B"]
    value: Float[Tensor, " B"]
    router_logits: Float[Tensor, "B K"]
    expert_logits: Float[Tensor, "B K A"]

    def tensors(self) -> list[Tensor]:
        """The fields in their order."""
        return [getattr(self, f.name) for f in fields(self)]


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
    """Every loss of a minibatch by name, unweighted; no alignment where there is no target for it."""
    advantage = targets.advantage
    advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
    log_alpha = torch.log_softmax(now.router_logits, dim=-1)
    # A one-hot sparsemax row passes no gradient to its router; the softmax of the same logits always does.
    soft_alpha = log_alpha.exp()
    cosines = losses.expert_cosines(now.expert_logits)
    terms = {
        "policy": clipped_policy_loss(now.log_prob - targets.log_prob, advantage, config.clip_range),
        "value": 0.5 * (now.value - targets.value_target).square().mean(),
        "entropy": now.entropy.mean(),
        "alpha_entropy": losses.alpha_entropy(log_alpha),
        "load_balance": losses.load_balance(soft_alpha),
        "diversity": losses.diversity(cosines),
        "semantic": losses.semantic_orthogonality(cosines),
        "temporal": losses.temporal_consistency(soft_alpha, targets.previous_alpha, targets.continues),
        "overlap": losses.overlap(soft_alpha, cosines),
    }
    if alignment_target is not None:
        terms["alignment"] = losses.alignment(log_alpha, alignment_target)
    return terms


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
