"""Figures that say whether router and attention are doing anything, and warnings with a remedy."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tedg.config.run_config import RunConfig
from tedg.models.fusion import Fusion
from tedg.watch.remedies import Remedies, more_tokens, real_attention

DEAD_SHARE = 0.01  # an expert with a smaller mean share is dead
ALIGNMENT_WINDOW = 20  # updates; the alignment loss is compared between the first and the last so many
ALIGNMENT_DONE = 0.01  # nats; an alignment loss this small need not fall further


@torch.no_grad()
def router_figures(alpha: Float[Tensor, "B K"]) -> dict[str, float]:
    """How the routing in use (exact zeros included) shares a batch among K experts; entropies in nats.

    `router/entropy` is E[H(alpha)], how undecided the router is in a state; `router/usage_entropy` is
    H(E[alpha]), how evenly it uses the experts over all states; their difference
    `router/specialisation` is the mutual information I(expert; state). `router/usage_k` is expert k's
    mean share, `router/dead_experts` how many experts are under `DEAD_SHARE`.
    """
    usage = alpha.mean(dim=0)
    entropy = float(torch.special.entr(alpha).sum(dim=1).mean())
    usage_entropy = float(torch.special.entr(usage).sum())
    figures = {
        "router/entropy": entropy,
        "router/usage_entropy": usage_entropy,
        "router/specialisation": max(usage_entropy - entropy, 0.0),  # never negative but for rounding
        "router/dead_experts": float(len(dead_experts(alpha))),
    }
    return figures | {f"router/usage_{k}": share for k, share in enumerate(usage.tolist())}


def dead_experts(alpha: Float[Tensor, "B K"]) -> list[int]:
    """Experts whose mean share is under `DEAD_SHARE`."""
    return (alpha.mean(dim=0) < DEAD_SHARE).nonzero().flatten().tolist()


@torch.no_grad()
def attention_figures(weights: Float[Tensor, "B H Q T"]) -> dict[str, float]:
    """How attention spreads over T keys; means over batch, heads and queries, entropy in nats.

    `attention/sparsity` is the share of weights under 0.1 / T, `attention/sparsity_0.01` of those
    under 0.01; `attention/effective_keys` is 1 / sum A^2 (T when uniform, 1 when all is on one key).
    `attention/kept_similarity` is `kept_similarity` where a gate drops keys, else absent.
    """
    num_keys = weights.shape[-1]
    figures = {
        "attention/sparsity": float((weights < 0.1 / num_keys).float().mean()),
        "attention/sparsity_0.01": float((weights < 0.01).float().mean()),
        "attention/effective_keys": float((1 / weights.square().sum(dim=-1)).mean()),
        "attention/entropy": float(torch.special.entr(weights).sum(dim=-1).mean()),
    }
    similarity = kept_similarity(weights)
    return figures if similarity is None else figures | {"attention/kept_similarity": similarity}


@torch.no_grad()
def kept_similarity(weights: Float[Tensor, "B H Q T"]) -> float | None:
    """Mean Jaccard overlap of the sets of kept keys over pairs of states, averaged over heads and queries.

    1 means the gate keeps the same keys whatever the state. None where it drops nothing, or for
    fewer than two states.
    """
    kept = (weights > 0).float().flatten(1, 2).transpose(0, 1)  # [H * Q, B, T]
    states = kept.shape[1]
    if states < 2 or bool(kept.all()):
        return None
    shared = kept @ kept.transpose(1, 2)
    size = kept.sum(dim=-1)
    overlap = shared / (size.unsqueeze(2) + size.unsqueeze(1) - shared)
    pairs = overlap.sum(dim=(1, 2)) - overlap.diagonal(dim1=1, dim2=2).sum(dim=1)
    return float((pairs / (states * (states - 1))).mean())


def dead_attention_warning(fusion: Fusion, num_keys: int) -> str | None:
    """What to say, before training, of attention that is dead by construction; None where it is not."""
    if not fusion.without_gradient:
        return None
    dead = ", ".join(fusion.without_gradient)
    if num_keys > 1:
        why, remedy = "this fusion's weights are the same whatever it is shown", real_attention()
    else:
        why, remedy = "with one visual token attention is the constant 1", more_tokens()
    void = "get exactly zero gradient, so comparisons of attention with this run are void"
    return f"{why}: {dead} {void}; {remedy}"


class Warnings:
    """Turns an update's figures into warnings, each with the override to try.

    Reads, where present: `router/usage_entropy`, `router/specialisation`, `router/usage_1` (more than
    one expert), `attention/kept_similarity`, `context/drift`, `gradient/norm`, `loss/alignment`,
    `train/initial_log_ratio` and `stage`. A warning is given when its condition
    begins and again only after the condition has ended.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._active: set[str] = set()
        self._first_alignment: list[float] = []
        self._last_alignment: deque[float] = deque(maxlen=ALIGNMENT_WINDOW)

    def check(self, metrics: Mapping[str, Any], fraction: float) -> list[str]:
        """Warnings that begin with this update; `fraction` of the budget is spent."""
        remedies = Remedies(self._config, metrics.get("stage"))
        current = dict(self._conditions(metrics, fraction, remedies))
        new = [message for key, message in current.items() if key not in self._active]
        self._active = set(current)
        return new

    def _conditions(
        self, metrics: Mapping[str, Any], fraction: float, remedies: Remedies
    ) -> Iterator[tuple[str, str]]:
        """(key, message) of every condition that holds now."""
        limits = self._config.diagnostics
        several_experts = "router/usage_1" in metrics
        usage = _number(metrics, "router/usage_entropy")
        if several_experts and usage < limits.min_usage_entropy:
            yield (
                "usage",
                f"the router has collapsed: usage entropy {usage:.3f} nats is below "
                f"{limits.min_usage_entropy:g}; {remedies.balance()}",
            )
        specialisation = _number(metrics, "router/specialisation")
        if (
            several_experts
            and fraction >= limits.late_fraction
            and specialisation < limits.min_specialisation
        ):
            yield (
                "specialisation",
                f"experts do not specialise: I(expert; state) is {specialisation:.4f} nats, below "
                f"{limits.min_specialisation:g}, with {fraction:.0%} of the budget spent; "
                f"{remedies.diversity()}",
            )
        similarity = _number(metrics, "attention/kept_similarity")
        if similarity > limits.max_kept_similarity:
            yield (
                "kept",
                f"the gate keeps the same keys in every state (overlap {similarity:.3f}); "
                f"{remedies.keep_more()}",
            )
        drift = _number(metrics, "context/drift")
        if drift > limits.max_context_drift or drift < 1 / limits.max_context_drift:
            yield (
                "drift",
                f"the context's norm is {drift:.3g} times that at the start; {remedies.slower()}",
            )
        gradient = _number(metrics, "gradient/norm")
        if gradient > limits.max_grad_norm:
            yield (
                "gradient",
                f"gradient norm {gradient:.3g} is above {limits.max_grad_norm:g}; {remedies.slower()}",
            )
        log_ratio = _number(metrics, "train/initial_log_ratio")
        if log_ratio > limits.max_log_ratio:
            yield (
                "ratio",
                f"before the first gradient step the policy already differs from the one that acted: mean "
                f"|log ratio| {log_ratio:.2g} is above {limits.max_log_ratio:g}; {remedies.same_policy()}",
            )
        if self._alignment_stuck(_number(metrics, "loss/alignment")):
            yield (
                "alignment",
                "the alignment loss is not falling: the router does not follow the operators; "
                f"{remedies.alignment()}",
            )

    def _alignment_stuck(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return False
        if len(self._first_alignment) < ALIGNMENT_WINDOW:
            self._first_alignment.append(loss)
            return False
        self._last_alignment.append(loss)
        if len(self._last_alignment) < ALIGNMENT_WINDOW:
            return False
        recent = sum(self._last_alignment) / ALIGNMENT_WINDOW
        return recent > ALIGNMENT_DONE and recent >= sum(self._first_alignment) / ALIGNMENT_WINDOW


def _number(metrics: Mapping[str, Any], name: str) -> float:
    """The figure, or NaN, which no threshold is above or below, where it is missing."""
    value = metrics.get(name)
    return math.nan if value is None else float(value)
