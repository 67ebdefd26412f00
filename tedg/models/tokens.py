"""Visual tokens, kept in the form in which attention reads them most cheaply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from tedg.models.formulas import loops_serve
from tedg.models.kernels import outer_products


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
        queries = queries.contiguous()
        narrow = (queries @ self.projection).to(self.features.dtype)
        scores: Tensor = _Products.apply(  # type: ignore[no-untyped-call]
            self.features, self.last.to(narrow.dtype), narrow, queries.to(narrow.dtype)
        )
        return scores + queries @ self.offset.t()

    def pooled(self, weights: Float[Tensor, "B Q T"]) -> Float[Tensor, "B Q d"]:
        """Sums of tokens under each row of weights."""
        first, last = torch.split(weights, [self.features.shape[1], 1], dim=2)
        if torch.compiler.is_compiling():
            # torch's compiler writes over a softmax's result while parts of it are still to be read, which
            # gives vision a wrong gradient (inductor of torch 2.11 and 2.13).
            first, last = first.clone(memory_format=torch.contiguous_format), last.clone()
        narrow: Tensor = _Pooled.apply(first, self.features)  # type: ignore[no-untyped-call]
        return narrow @ self.projection.t() + weights @ self.offset + last * self.last.unsqueeze(1)

    def dense(self) -> Float[Tensor, "B T d"]:
        """The tokens themselves."""
        return torch.cat([self.features @ self.projection.t(), self.last.unsqueeze(1)], dim=1) + self.offset

    def mean(self) -> Float[Tensor, "B d"]:
        """The mean over tokens."""
        summed = self.features.sum(dim=1) @ self.projection.t() + self.last
        return summed / len(self.offset) + self.offset.mean(dim=0)


class _Products(torch.autograd.Function):
    """narrow [B, Q, c] . f_t for all features f_t, then wide [B, Q, d] . last.

    With few queries some orders of a batched product take four times as long as others. Autograd would
    take those that follow from the forward pass; here both passes use the fast ones.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, last: Tensor, narrow: Tensor, wide: Tensor) -> Tensor:
        ctx.save_for_backward(features, last, narrow, wide)
        own = (wide * last.unsqueeze(1)).sum(dim=2, keepdim=True)
        return torch.cat([torch.bmm(narrow, features.transpose(1, 2)), own], dim=2)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, ...]:
        features, last, narrow, wide = ctx.saved_tensors
        grad = grad_outputs[0].to(features.dtype)  # bfloat16 where the forward pass was of mixed precision
        first, own = torch.split(grad, [features.shape[1], 1], dim=2)
        return (
            _outer_products(first, narrow),
            (own * wide).sum(dim=1),
            torch.bmm(first, features),
            own * last.unsqueeze(1),
        )


class _Pooled(torch.autograd.Function):
    """Sums of features [B, F, c] under weights [B, Q, F]."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, features: Tensor) -> Tensor:
        ctx.save_for_backward(weights, features)
        return torch.bmm(weights, features)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, ...]:
        weights, features = ctx.saved_tensors
        grad = grad_outputs[0].to(features.dtype)  # as above
        by_weight = torch.bmm(grad, features.transpose(1, 2)).to(weights.dtype)
        return by_weight, _outer_products(weights.to(features.dtype), grad)


def _outer_products(left: Float[Tensor, "B Q F"], right: Float[Tensor, "B Q c"]) -> Float[Tensor, "B F c"]:
    """Sums over q of left[b, q, f] * right[b, q, c]: a batched product over so few that loops are faster."""
    if not loops_serve(left) or torch.compiler.is_compiling() or left.dtype == torch.bfloat16:
        return torch.bmm(left.transpose(1, 2), right)
    missing = -left.shape[1] % 4
    if missing:
        left, right = (functional.pad(x, (0, 0, 0, missing)) for x in (left, right))
    sums = left.new_empty(len(left), left.shape[2], right.shape[2])
    outer_products(left.contiguous().numpy(), right.contiguous().numpy(), sums.numpy())
    return sums
