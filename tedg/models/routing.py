"""How the experts' scores become their shares alpha, and whose scores these are.

To add one, write a class that keeps `Routing`'s contract and one YAML file in conf/routing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tedg.models.largest import softmax_of_largest
from tedg.models.simplex import at_least_float32, entmax, sparsemax

Source = Literal["router", "operators", "none"]


class Routing:
    """The contract: a stateless map from the experts' scores to a distribution over them.

    `source` says whose scores it reads: the router's; those of the operators, averaged over each
    expert's; or nobody's, which makes all scores 0. A router that no stage reads is not built.
    """

    source: ClassVar[Source] = "router"

    def at(self, stage: str, progress: float) -> Routing:
        """The map in force at `progress` (0 to 1) of a stage; itself where nothing is annealed."""
        del stage, progress
        return self

    @property
    def form(self) -> object:
        """A value that is equal for maps that compute alike, whatever their `numbers` are."""
        return self

    def numbers(self) -> dict[str, float | Tensor]:
        """Numbers of the map that are annealed, by name."""
        return {}

    def with_numbers(self, numbers: Mapping[str, float | Tensor]) -> Routing:
        """The same map with other numbers, which may be tensors without dimensions."""
        del numbers
        return self

    def __call__(self, logits: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Rows on the simplex, float32 or wider; the temperature has been divided out of the logits."""
        return self.shares(at_least_float32(logits))

    def shares(self, z: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """The map itself."""
        raise NotImplementedError


class Softmax(Routing):
    """alpha = softmax(z): every expert keeps a positive share."""

    def shares(self, z: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Softmax."""
        return torch.softmax(z, dim=-1)


class Sparsemax(Routing):
    """alpha = the point of the simplex nearest to z (Martins & Astudillo 2016, arXiv:1602.02068).

    A row is one-hot exactly when its two largest logits are at least 1 apart; such a row gives its
    logits no gradient.
    """

    def shares(self, z: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Sparsemax."""
        return sparsemax(z)


@dataclass(frozen=True, slots=True)
class Entmax(Routing):
    """alpha-entmax of z with a fixed exponent: softmax at 1, sparsemax at 2."""

    exponent: float | Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.exponent, Tensor) and not 1 <= self.exponent <= 2:
            raise ValueError(f"exponent must be from 1 to 2, not {self.exponent}")

    @property
    def form(self) -> object:
        """Softmax, sparsemax, or any exponent in between."""
        return Entmax, self.exponent if self.exponent in (1, 2) else None

    def numbers(self) -> dict[str, float | Tensor]:
        """The exponent, unless it is an end of its range."""
        return {} if self.exponent in (1, 2) else {"exponent": self.exponent}

    def with_numbers(self, numbers: Mapping[str, float | Tensor]) -> Entmax:
        """Entmax with another exponent."""
        return Entmax(**numbers) if numbers else self

    def shares(self, z: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Entmax."""
        return entmax(z, self.exponent)


@dataclass(frozen=True, slots=True)
class AnnealedEntmax(Routing):
    """Entmax whose exponent moves linearly within a stage: a continuous path from softmax to sparsemax.

    Cooling a softmax leads to argmax instead, and the step from there to sparsemax is a jump.
    """

    exponent: Mapping[str, Sequence[float]]  # of each stage, at its start and at its end

    def at(self, stage: str, progress: float) -> Entmax:
        """Entmax with the exponent of this point."""
        first, last = self.exponent[stage]
        return Entmax(first + (last - first) * progress)


@dataclass(frozen=True, slots=True)
class TopKSoftmax(Routing):
    """Softmax over the k largest logits, 0 for the others; of equal logits the first is kept.

    The earlier implementation called this sparsemax. With k = 2 the entropy is at most ln 2, and the
    number of experts in use never follows from the logits, as it does under sparsemax.
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")

    def shares(self, z: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Softmax of the logits that are kept."""
        return softmax_of_largest(z, self.k)


class Uniform(Softmax):
    """The control without a choice: every expert has the same share in every state."""

    source: ClassVar[Source] = "none"


class Symbolic(Softmax):
    """The control without a router: softmax of the mean score of each expert's operators."""

    source: ClassVar[Source] = "operators"


def operator_membership(operator_experts: Int[Tensor, " O"], num_experts: int) -> Float[Tensor, "O K"]:
    """Weights that average operators' scores per expert; columns sum to 1.

    ValueError for an operator of no such expert, and for an expert without operators.
    """
    if ((operator_experts < 0) | (operator_experts >= num_experts)).any():
        raise ValueError(f"operators must belong to experts 0 to {num_experts - 1}")
    counts = torch.bincount(operator_experts, minlength=num_experts)
    empty = (counts == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"every expert needs operators; none for expert {empty}")
    return torch.nn.functional.one_hot(operator_experts, num_experts).float() / counts
