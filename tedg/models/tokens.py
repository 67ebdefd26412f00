"""Visual tokens, kept in the form in which attention reads them most cheaply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Tokens(Protocol):
    """T tokens of width d for each of B states; attention needs no more than these reads."""

    def scores(self, queries: Float[Tensor, "B Q d"]) -> Float[Tensor, "B Q T"]:
        """The product of every query with every token."""
        ...

    def pooled(self, weights: Float[Tensor, "B Q T"]) -> Float[Tensor, "B Q d"]:
        """Sums of tokens under each row of weights."""
        ...

    def dense(self) -> Float[Tensor, "B T d"]:
        """The tokens themselves."""
        ...

    def mean(self) -> Float[Tensor, "B d"]:
        """The mean over tokens."""
        ...


@dataclass(frozen=True, slots=True)
class DenseTokens:
    """Tokens written out."""

    values: Float[Tensor, "B T d"]

    def scores(self, queries: Float[Tensor, "B Q d"]) -> Float[Tensor, "B Q T"]:
        """The product of every query with every token."""
        # In this order the gradient of the values comes out in their own layout.
        return torch.bmm(self.values, queries.transpose(1, 2)).transpose(1, 2)

    def pooled(self, weights: Float[Tensor, "B Q T"]) -> Float[Tensor, "B Q d"]:
        """Sums of tokens under each row of weights."""
        return torch.bmm(weights, self.values)

    def dense(self) -> Float[Tensor, "B T d"]:
        """The tokens themselves."""
        return self.values

    def mean(self) -> Float[Tensor, "B d"]:
        """The mean over tokens."""
        return self.values.mean(dim=1)


@dataclass(frozen=True, slots=True)
class ProjectedTokens:
    """F tokens that are a projection of narrow features and one that is not, all plus an offset.

    x_t = W f_t + p_t for t < F, and x_F = last + p_F. Products with a query are taken as
    q . x_t = (W^T q) . f_t + q . p_t, sums as W (sum_t a_t f_t) + sum_t a_t p_t, so that the B * T
    tokens, most of the memory that a forward pass would touch, are never written out.
    """

    features: Float[Tensor, "B F c"]
    projection: Float[Tensor, "d c"]  # W
    last: Float[Tensor, "B d"]
    offset: Float[Tensor, "T d"]  # p; T = F + 1

    def scores(self, queries: Float[Tensor, "B Q d"]) -> Float[Tensor, "B Q T"]:
        """The product of every query with every token."""
        narrow = queries @ self.projection
        # In this order the gradient of the features comes out in their own layout.
        first = torch.bmm(self.features, narrow.transpose(1, 2)).transpose(1, 2)
        last = torch.bmm(queries, self.last.unsqueeze(2))
        return torch.cat([first, last], dim=2) + queries @ self.offset.t()

    def pooled(self, weights: Float[Tensor, "B Q T"]) -> Float[Tensor, "B Q d"]:
        """Sums of tokens under each row of weights."""
        first, last = torch.split(weights, [self.features.shape[1], 1], dim=2)
        narrow = torch.bmm(first, self.features)
        return narrow @ self.projection.t() + weights @ self.offset + last * self.last.unsqueeze(1)

    def dense(self) -> Float[Tensor, "B T d"]:
        """The tokens themselves."""
        return torch.cat([self.features @ self.projection.t(), self.last.unsqueeze(1)], dim=1) + self.offset

    def mean(self) -> Float[Tensor, "B d"]:
        """The mean over tokens."""
        summed = self.features.sum(dim=1) @ self.projection.t() + self.last
        return summed / len(self.offset) + self.offset.mean(dim=0)
