"""Auxiliary losses on the router and the experts: pure functions of one minibatch.

Which there are, and what each reads, stands in `tedg/config/auxiliary.py` under the names of the functions.

Shapes: B samples, K experts, A actions, O operators. `alpha` is always the softmax of the router
logits, also where the policy routes by sparsemax: an expert at exactly zero would pass no gradient on.
`cosines` are those of `expert_cosines`. Every loss is a scalar to be minimised.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

_MIN_NORM = 1e-6  # below it the direction of an expert's logits is rounding noise


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything that an auxiliary loss may read."""

    soft_alpha: Float[Tensor, "B K"]
    log_alpha: Float[Tensor, "B K"]
    cosines: Float[Tensor, "B P"]
    expert_logits: Float[Tensor, "B K A"]
    previous_alpha: Float[Tensor, "B K"]  # stored when the step before was taken
    continues: Bool[Tensor, " B"]  # the step before belongs to the same episode
    alignment_target: Float[Tensor, "B K"] | None  # None where no router can follow operators


def load_balance(alpha: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """mean_k (mean_b alpha_bk - 1/K)^2: zero when the batch uses all experts equally."""
    return (alpha.mean(dim=0) - 1 / alpha.shape[1]).square().mean()


def expert_cosines(expert_logits: Float[Tensor, "B K A"]) -> Float[Tensor, "B P"]:
    """cos(e_i, e_j) of each of the P = K (K - 1) / 2 pairs i < j, in the order of `pairs`.

    e_i are expert i's logits minus their mean over actions, because a constant added to all actions
    changes no policy. 0, with zero gradient, where an expert prefers no action.
    """
    centred = expert_logits - expert_logits.mean(dim=2, keepdim=True)
    squared = centred.square().sum(dim=2, keepdim=True)
    defined = squared > _MIN_NORM**2
    unit = centred * torch.where(defined, squared.where(defined, 1).rsqrt(), 0)
    first, second = pairs(expert_logits.shape[1], expert_logits.device)
    return (unit.index_select(1, first) * unit.index_select(1, second)).sum(dim=2)


def pairs(num_experts: int, device: torch.device) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
    """First and second expert of every pair."""
    first, second = torch.triu_indices(num_experts, num_experts, 1, device=device)
    return first, second


def diversity(cosines: Float[Tensor, "B P"]) -> Float[Tensor, ""]:
    """Mean over pairs and batch of cos(e_i, e_j): experts with opposite preferences are rewarded."""
    return cosines.sum() / max(cosines.numel(), 1)  # a single expert has no pair and no loss


def semantic(cosines: Float[Tensor, "B P"]) -> Float[Tensor, ""]:
    """Mean over pairs and batch of |cos(e_i, e_j)|: experts are pushed to be unrelated."""
    return cosines.abs().sum() / max(cosines.numel(), 1)


def overlap(alpha: Float[Tensor, "B K"], cosines: Float[Tensor, "B P"]) -> Float[Tensor, ""]:
    """Batch mean of sum_{i != j} alpha_i alpha_j cos(e_i, e_j): experts used together should differ."""
    first, second = pairs(alpha.shape[1], alpha.device)
    together = alpha.index_select(1, first) * alpha.index_select(1, second)
    return 2 * (together * cosines).sum() / len(alpha)


def temporal(
    alpha: Float[Tensor, "B K"], previous_alpha: Float[Tensor, "B K"], continues: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean of ||alpha_t - alpha_{t-1}||^2 over the samples whose previous step was in the same episode.

    `previous_alpha` is the stored one and gets no gradient; with no such sample the loss is 0.
    """
    squared = (alpha - previous_alpha.detach()).square().sum(dim=1)
    return squared.where(continues, 0).sum() / continues.sum().clamp_min(1)


def alpha_entropy(log_alpha: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """Mean entropy H(alpha) in nats from log-probabilities; the caller chooses the sign."""
    return -(log_alpha.exp() * log_alpha).sum(dim=1).mean()


def alignment(log_alpha: Float[Tensor, "B K"], target: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """KL(target || alpha) in nats, batch mean: the router follows the experts' operators.

    `log_alpha` are log-probabilities (log-softmax of the router logits, never of alpha); `target` are
    probabilities and get no gradient.
    """
    return functional.kl_div(log_alpha, target.detach(), reduction="batchmean")


class AlignmentTarget(nn.Module):
    """Target of `alignment`: softmax(s / tau), s_k = mean score of expert k's operators minus its average.

    Without the subtraction an expert whose operators are nearly always available would win everywhere.
    The average runs over calls of `update`: exact over the first `window` calls, exponential with rate
    1 / `window` after that. Its buffers travel with checkpoints.
    """

    average: Tensor
    updates: Tensor
    membership: Tensor

    def __init__(self, membership: Float[Tensor, "O K"], window: int = 50) -> None:
        """`membership` averages operators' scores per expert (see `operator_membership`)."""
        super().__init__()
        if window < 1:
            raise ValueError(f"window must be at least 1, not {window}")
        self.window = window
        self.register_buffer("membership", membership, persistent=False)
        self.register_buffer("average", membership.new_zeros(membership.shape[1]))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, operator_scores: Float[Tensor, "B O"] | None) -> None:
        """Let the running average see one batch; call it once per rollout, before the first `forward`."""
        mean = self._expert_means(operator_scores).mean(dim=0)
        self.updates += 1
        self.average += (mean - self.average) / self.updates.clamp_max(self.window)

    @torch.no_grad()
    def forward(
        self, operator_scores: Float[Tensor, "B O"] | None, temperature: float | Float[Tensor, ""] = 1.0
    ) -> Float[Tensor, "B K"]:
        """Detached target distribution; ValueError when there are no operator scores."""
        means = self._expert_means(operator_scores)
        return torch.softmax((means - self.average) / temperature, dim=1)

    def _expert_means(self, operator_scores: Tensor | None) -> Tensor:
        if operator_scores is None:
            raise ValueError(
                "the alignment loss needs operator scores and got none: "
                "use a policy with a hypergraph or set alignment_coef to 0"
            )
        return operator_scores.to(self.membership.dtype) @ self.membership
