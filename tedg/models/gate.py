"""Which keys an attention head looks at, and how much: from its scores to its weights.

To add one, write a class that keeps `Gate`'s contract and one YAML file in conf/fusion/gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tedg.models.largest import softmax_of_largest
from tedg.models.seeded import Salt, uniform
from tedg.models.simplex import entmax


class Gate:
    """The contract: a stateless map from attention scores to weights, rows on the simplex.

    A dropped key has the weight 0 and gives its score exactly zero gradient.
    """

    random: ClassVar[bool] = False  # whether it needs `noise`

    def __call__(
        self, scores: Float[Tensor, "B H T"], noise: Int[Tensor, " B"] | None
    ) -> Float[Tensor, "B H T"]:
        """Weights of T keys for B states and H heads; `noise` are the states' random numbers."""
        raise NotImplementedError

    def num_kept(self, num_keys: int) -> int | None:
        """How many of `num_keys` keys each head keeps; None where that depends on the scores."""
        raise NotImplementedError


class NoGate(Gate):
    """Every key takes part: dense attention, softmax of the scores."""

    def __call__(
        self, scores: Float[Tensor, "B H T"], noise: Int[Tensor, " B"] | None
    ) -> Float[Tensor, "B H T"]:
        """Softmax."""
        return torch.softmax(scores, dim=-1)

    def num_kept(self, num_keys: int) -> int:
        """All of them."""
        return num_keys


@dataclass(frozen=True, slots=True)
class ShareGate(Gate):
    """A gate that keeps a fixed share of what it chooses from. ValueError for `keep` outside (0, 1]."""

    keep: float

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must be in (0, 1], not {self.keep}")


class TopKGate(ShareGate):
    """Each head keeps its k highest-scored keys (explicit sparse attention, arXiv:1912.11637).

    k = min(T, max(2, ceil(keep * T))): at least two, because attention over one key is the constant 1
    and gives queries and keys no gradient. Of equal scores the lower index is kept.
    """

    def __call__(
        self, scores: Float[Tensor, "B H T"], noise: Int[Tensor, " B"] | None
    ) -> Float[Tensor, "B H T"]:
        """Softmax over the keys that are kept."""
        return softmax_of_largest(scores, self.num_kept(scores.shape[-1]))

    def num_kept(self, num_keys: int) -> int:
        """k for `num_keys` keys."""
        # In floats 0.28 * 25 lies above 7 and would be rounded up to 8. Whole billionths do not, and
        # torch's compiler follows them, as it does not follow a Fraction.
        billionths = round(self.keep * 10**9)
        return min(num_keys, max(2, -(-billionths * num_keys // 10**9)))


class RandomTopKGate(TopKGate):
    """The control for `TopKGate`: as many keys, but a random set of them for every state and head.

    The set follows from the state's own random number, so acting and learning use the same one.
    """

    random: ClassVar[bool] = True

    def __call__(
        self, scores: Float[Tensor, "B H T"], noise: Int[Tensor, " B"] | None
    ) -> Float[Tensor, "B H T"]:
        """Softmax over the keys that are kept. ValueError without noise."""
        order = uniform(noise, Salt.GATE, scores.shape[1:])
        return softmax_of_largest(scores, self.num_kept(scores.shape[-1]), by=order)


@dataclass(frozen=True, slots=True)
class EntmaxGate(Gate):
    """alpha-entmax of the scores: how many keys take part follows from how far their scores lie apart.

    ValueError for an exponent that is not above 1 (softmax, which drops nothing) and at most 2.
    """

    exponent: float  # 2 is sparsemax

    def __post_init__(self) -> None:
        if not 1 < self.exponent <= 2:
            raise ValueError(f"exponent must be above 1 and at most 2, not {self.exponent}")

    def __call__(
        self, scores: Float[Tensor, "B H T"], noise: Int[Tensor, " B"] | None
    ) -> Float[Tensor, "B H T"]:
        """Entmax."""
        return entmax(scores, self.exponent)

    def num_kept(self, num_keys: int) -> None:
        """It depends on the scores."""
        return


@dataclass(frozen=True, slots=True)
class WithoutKeys(Gate):
    """Another gate's weights without some of its keys, for measuring what these are good for.

    They get the weight 0, and the other weights are divided by what is left of the sum: after a softmax that
    is what scores of minus infinity would have given. A head must keep one key that has a weight.
    """

    gate: Gate
    dropped: Bool[Tensor, "B H T"]

    def __call__(
        self, scores: Float[Tensor, "B H T"], noise: Int[Tensor, " B"] | None
    ) -> Float[Tensor, "B H T"]:
        """The weights that are left."""
        left = self.gate(scores, noise).masked_fill(self.dropped, 0)
        return left / left.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(left.dtype).tiny)

    def num_kept(self, num_keys: int) -> None:
        """It depends on the scores."""
        return
