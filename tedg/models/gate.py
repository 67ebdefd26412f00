"""Which keys an attention head may look at, decided from its own scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from tedg.models.kernels import keep_largest

FEW_KEYS = 512  # up to which comparing all pairs of scores is faster than selecting


@runtime_checkable
class Gate(Protocol):
    """A stateless selection of keys, applied to attention scores before their softmax."""

    def __call__(self, scores: Float[Tensor, "... T"]) -> Float[Tensor, "... T"]:
        """The scores with every dropped key at -inf."""
        ...

    def num_kept(self, num_keys: int) -> int:
        """How many of `num_keys` keys each head and query keeps."""
        ...


@dataclass(frozen=True, slots=True)
class NoGate:
    """Every key takes part: dense attention."""

    def __call__(self, scores: Float[Tensor, "... T"]) -> Float[Tensor, "... T"]:
        """The scores, unchanged."""
        return scores

    def num_kept(self, num_keys: int) -> int:
        """All of them."""
        return num_keys


@dataclass(frozen=True, slots=True)
class TopKGate:
    """Each head and query keeps its k highest-scored keys (explicit sparse attention, arXiv:1912.11637).

    k = min(T, max(2, ceil(keep * T))): at least two, because attention over one key is the constant 1
    and gives queries and keys no gradient. ValueError for `keep` outside (0, 1].
    """

    keep: float  # share of the keys

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must be in (0, 1], not {self.keep}")

    def __call__(self, scores: Float[Tensor, "... T"]) -> Float[Tensor, "... T"]:
        """The scores with all but k keys at -inf; of equal scores the lower index is kept.

        Dropped keys get exactly zero gradient.
        """
        k = self.num_kept(scores.shape[-1])
        if k == scores.shape[-1]:
            return scores
        values = scores.detach()
        if values.device.type == "cpu" and values.shape[-1] <= FEW_KEYS:
            kept = torch.empty(values.shape, dtype=torch.bool)
            rows = values.reshape(-1, values.shape[-1])
            rows = rows.float() if rows.dtype == torch.bfloat16 else rows  # which compiled loops do not know
            keep_largest(rows.numpy(), k, kept.view(rows.shape).numpy())
        else:
            # topk promises no order among equals, so it gives only the k-th value, and ties are settled here.
            lowest = values.topk(k, dim=-1, sorted=False).values.amin(dim=-1, keepdim=True)
            above, tied = values > lowest, values == lowest
            kept = above | (tied & (tied.cumsum(dim=-1) <= k - above.sum(dim=-1, keepdim=True)))
        return scores.where(kept, -torch.inf)

    def num_kept(self, num_keys: int) -> int:
        """k for `num_keys` keys."""
        # In floats 0.28 * 25 lies above 7 and would be rounded up to 8; the decimal as written does not.
        return min(num_keys, max(2, math.ceil(Fraction(str(self.keep)) * num_keys)))
