"""Fusions: how the visual stream and the symbolic stream become one context.

To add one, write a class that keeps `Fusion`'s contract and one YAML file in conf/fusion.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tedg.models.gate import Gate, ShareGate, WithoutKeys
from tedg.models.largest import softmax_of_largest
from tedg.models.norm import RunningNorm
from tedg.models.tokens import DenseTokens, Tokens


class FusionOutput(NamedTuple):
    """What a fusion returns."""

    context: Float[Tensor, "batch context_dim"]
    attention_weights: Float[Tensor, "batch heads queries keys"] | None


class Fusion(nn.Module):
    """The contract of a fusion: called with both streams' outputs, it returns a `FusionOutput`.

    It is built with the sizes `vision_dim`, `token_dim`, `num_tokens` and `logic_dim`, followed by the
    settings of its YAML file. `noise` is one random number per state, the same while acting and while
    learning; it is there only for a fusion that asks for it in `inputs`.
    """

    inputs: tuple[str, ...] = ()  # observation fields it reads; ("noise",) where it is random
    reads_head: ClassVar[bool]  # whether it uses h_vis; a head that nothing reads is not built
    # Parameters that decide where attention looks, by label; their gradients are measured.
    attention_parameters: ClassVar[dict[str, str]]
    # Parameters whose gradient is exactly zero by construction, as built; a run warns of them.
    without_gradient: tuple[str, ...] = ()
    context_dim: int
    # What makes `attention_weights`, with heads and queries as one dimension, in each forward pass; None
    # without attention. Where there is one, it is measured what its keys are good for (`without_keys`).
    gate: Gate | None = None

    def promised_keys(self, num_keys: int) -> int | None:
        """How many of `num_keys` keys each query's attention keeps; None where the scores decide."""
        return num_keys


@contextmanager
def without_keys(fusion: Fusion, dropped: Bool[Tensor, "B H T"]) -> Iterator[None]:
    """Within it the attention of a fusion that has a gate does without some keys of B states."""
    own = fusion.gate
    assert own is not None
    fusion.gate = WithoutKeys(own, dropped)
    try:
        yield
    finally:
        fusion.gate = own


class ConcatFusion(Fusion):
    """V3: context = [h_vis ; h_logic]."""

    reads_head: ClassVar[bool] = True
    attention_parameters: ClassVar[dict[str, str]] = {}

    def __init__(self, vision_dim: int, token_dim: int, num_tokens: int, logic_dim: int) -> None:
        super().__init__()
        self.context_dim = vision_dim + logic_dim

    def forward(
        self,
        tokens: Tokens,
        h_vis: Float[Tensor, "batch vision_dim"],
        h_logic: Float[Tensor, "batch logic_dim"],
        noise: Int[Tensor, " batch"] | None,
    ) -> FusionOutput:
        return FusionOutput(torch.cat([h_vis, h_logic], dim=1), None)


class ConcatTokensFusion(ConcatFusion):
    """V3 with the mean of the visual tokens added: what tokens bring without attention."""

    def __init__(self, vision_dim: int, token_dim: int, num_tokens: int, logic_dim: int) -> None:
        super().__init__(vision_dim, token_dim, num_tokens, logic_dim)
        self.context_dim += token_dim

    def forward(
        self,
        tokens: Tokens,
        h_vis: Float[Tensor, "batch vision_dim"],
        h_logic: Float[Tensor, "batch logic_dim"],
        noise: Int[Tensor, " batch"] | None,
    ) -> FusionOutput:
        return FusionOutput(torch.cat([h_vis, h_logic, tokens.mean()], dim=1), None)


class MatchedConcatFusion(ConcatFusion):
    """V3 with h_vis as narrow or as wide as it takes to have as many parameters as with another fusion.

    Whoever builds the policy looks at `size_of`, the configuration of that other fusion.
    """


class CrossAttentionFusion(Fusion):
    """V4: the symbols query vision by multi-head cross-attention (Vaswani et al. 2017) with a gate.

    q = W_Q h_logic per head; score of token x: (W_K^T q) . x / sqrt(head_dim); the gate drops keys
    before the softmax; context = LayerNorm(norm(W_O [W_V sum_t a_t x_t]) + h_logic), norm a RunningNorm.

    There is one query per head, so W_K is folded into W_Q, and W_V, which is applied after pooling, into W_O:
    the tokens are read twice (see `Tokens`) instead of being projected twice. A key bias would shift all
    scores of a query alike and get no gradient, so there is none.
    """

    reads_head: ClassVar[bool] = False
    attention_parameters: ClassVar[dict[str, str]] = {"W_Q": "query.weight", "W_K": "key"}
    gate: Gate

    def __init__(
        self,
        vision_dim: int,
        token_dim: int,
        num_tokens: int,
        logic_dim: int,
        gate: Gate,
        num_heads: int,
        head_dim: int,
    ) -> None:
        super().__init__()
        self.context_dim = logic_dim
        self.gate = gate
        self.inputs = ("noise",) if gate.random else ()
        if num_tokens == 1:  # attention over one key is the constant 1
            self.without_gradient = ("query.weight", "query.bias", "key")
        self.num_heads = num_heads
        self.scale = head_dim**-0.5
        self.query = nn.Linear(logic_dim, num_heads * head_dim)
        self.key = nn.Parameter(torch.empty(num_heads, head_dim, token_dim))
        self.value = nn.Parameter(torch.empty(num_heads, token_dim, head_dim))
        self.output = nn.Linear(num_heads * head_dim, logic_dim, bias=False)
        # Both summands on one scale: pooled over many keys, vision varies far less than h_logic does.
        self.attended_norm = RunningNorm(logic_dim)
        self.norm = nn.LayerNorm(logic_dim)
        nn.init.orthogonal_(self.query.weight)
        nn.init.zeros_(self.query.bias)
        for weight in (*self.key, *self.value):
            nn.init.orthogonal_(weight.data)

    def forward(
        self,
        tokens: Tokens,
        h_vis: Float[Tensor, "batch vision_dim"],
        h_logic: Float[Tensor, "batch logic_dim"],
        noise: Int[Tensor, " batch"] | None,
    ) -> FusionOutput:
        batch, heads = len(h_logic), self.num_heads
        to_tokens = self.key.transpose(1, 2) * self.scale  # [heads, token_dim, head_dim]
        weight = torch.bmm(to_tokens, self.query.weight.view(heads, -1, h_logic.shape[1]))
        bias = torch.bmm(to_tokens, self.query.bias.view(heads, -1, 1))
        folded = functional.linear(h_logic, weight.flatten(0, 1), bias.flatten()).view(batch, heads, -1)
        weights = self.gate(tokens.scores(folded), noise)
        pooled = tokens.pooled(weights)  # [B, heads, token_dim]
        from_values = self.output.weight.t().view(heads, -1, h_logic.shape[1])
        attended = pooled.flatten(1) @ torch.bmm(self.value, from_values).flatten(0, 1)
        context = self.norm(self.attended_norm(attended) + h_logic)
        return FusionOutput(context, weights.unsqueeze(2))

    def promised_keys(self, num_keys: int) -> int | None:
        """As the gate says."""
        return self.gate.num_kept(num_keys)


class HeadGateFusion(CrossAttentionFusion):
    """V4 as an earlier implementation had it, kept to reproduce its figures: a gate over heads, not keys.

    All of vision is one token, the mean. Each head scores it, the k highest-scored heads are kept, and
    the softmax runs over heads. With 30 % of four heads one head is left, so its weight is always 1 and
    three of four weights are always 0 (a "sparsity" of 0.75), whatever the state; W_Q and W_K get exactly
    zero gradient.
    """

    def __init__(
        self,
        vision_dim: int,
        token_dim: int,
        num_tokens: int,
        logic_dim: int,
        num_heads: int,
        head_dim: int,
        keep: float,
    ) -> None:
        """`keep` is the share of heads, at least one. ValueError outside (0, 1]."""
        super().__init__(vision_dim, token_dim, 1, logic_dim, _HeadGate(keep), num_heads, head_dim)

    def forward(
        self,
        tokens: Tokens,
        h_vis: Float[Tensor, "batch vision_dim"],
        h_logic: Float[Tensor, "batch logic_dim"],
        noise: Int[Tensor, " batch"] | None,
    ) -> FusionOutput:
        pooled = DenseTokens(tokens.mean().unsqueeze(1))
        return super().forward(pooled, h_vis, h_logic, noise)

    def promised_keys(self, num_keys: int) -> int | None:
        """There is one key, and the gate chooses among heads."""
        return num_keys


class _HeadGate(ShareGate):
    """From the scores of one key by H heads to weights over heads."""

    def __call__(
        self, scores: Float[Tensor, "B H 1"], noise: Int[Tensor, " B"] | None
    ) -> Float[Tensor, "B H 1"]:
        """Softmax over the heads that are kept."""
        kept_heads = max(1, int(self.keep * scores.shape[1]))
        return softmax_of_largest(scores.transpose(1, 2), kept_heads).transpose(1, 2)

    def num_kept(self, num_keys: int) -> None:
        """It depends on the scores."""
        return
