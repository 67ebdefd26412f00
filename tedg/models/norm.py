"""Standardising features by statistics that only change between an update and the next rollout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

WINDOW = 20  # batches; the average is exact over the first so many, exponential after that
LIMIT = 10.0  # standard deviations; what lies further out is cut off there


class RunningNorm(nn.Module):
    """(x - mean) / std per feature, with running statistics.

    At the start of training almost all of a stream's output is the same in every state: features
    that differ between states by 1 % of their size teach a policy slowly, and a stream ten times
    larger than another drowns it. This puts every feature of every stream on one scale.

    Unlike batch normalisation, the statistics are constants within a rollout and its update, or the
    ratio of the updated to the acting policy would not start at 1. They are buffers, so checkpoints
    and rollbacks carry them, and evaluation leaves them alone.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.observing = False
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("variance", torch.ones(num_features))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """Standardised features, cut off at `LIMIT`; the identity before any batch was observed."""
        if self.observing:
            self._observe(x)
        # A feature that never varied stays near zero instead of being blown up by a tiny spread.
        return nn.functional.batch_norm(x, self.mean, self.variance, eps=1e-4).clamp(-LIMIT, LIMIT)

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        self.batches += 1
        weight = 1 / self.batches.clamp_max(WINDOW).to(x.dtype)
        shift = x.mean(dim=0) - self.mean
        # The distance between the means counts as variance too; else drifting features would look narrow.
        between = (1 - weight) * shift.square()
        self.variance += (x.var(dim=0, correction=0) + between - self.variance) * weight
        self.mean += shift * weight


@contextmanager
def observing(module: nn.Module) -> Iterator[None]:
    """Within it, every RunningNorm of `module` takes in the batches that pass through it."""
    norms = [part for part in module.modules() if isinstance(part, RunningNorm)]
    for norm in norms:
        norm.observing = True
    try:
        yield
    finally:
        for norm in norms:
            norm.observing = False
