"""Graph attention over a layered graph, without building the graph."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.nn import GATConv

from tedg.models.rows import pooled_rows

NUM_EDGE_TYPES = 3
SATISFIES, CONTEXT_OF, SELF_LOOP = range(NUM_EDGE_TYPES)  # precondition, scene, a node to itself


def layered_gat(
    conv: GATConv,
    sources: Float[Tensor, "S d"],
    targets: Float[Tensor, "D d"],
    neighbours: Int[Tensor, "D L"],
) -> tuple[Float[Tensor, "S e"], Float[Tensor, "D e"]]:
    """What `conv` (Veličković et al. 2018) gives for S source and D target nodes, all with self-loops.

    Edges run from sources to targets only, typed by one-hot features as numbered above. A target's
    neighbours are given as rows of the table that stacks the sources once per edge type other than the
    loop, followed by one row for "none": source s by edge type t is row t * S + s, none is row 2 * S.

    A source hears only itself, so its attention is 1. A target's attention runs over a padded row of
    neighbours and itself: dense products and one gather, where message passing scatters edge by edge.
    """
    heads, channels = conv.heads, conv.out_channels
    width, num_sources, num_targets = heads * channels, len(sources), len(targets)
    weight = conv.lin.weight
    per_head = weight.view(heads, channels, -1)

    def folded(attention: Tensor) -> Tensor:
        # a . (W x) = (W^T a) . x, so scores come out of the same product as the values.
        return (per_head * attention.view(heads, channels, 1)).sum(1)

    projection = torch.cat([weight, folded(conv.att_src), folded(conv.att_dst)])
    nodes = torch.cat([sources, targets]) @ projection.t()
    source, target = torch.split(nodes, [num_sources, num_targets])
    value, score, _ = torch.split(source, [width, heads, heads], dim=1)
    own_value, own_score, listens = torch.split(target, [width, heads, heads], dim=1)
    by_type = (conv.lin_edge.weight.t().reshape(-1, heads, channels) * conv.att_edge).sum(-1)

    none = score.new_full((1, heads), -torch.inf)
    scores = torch.cat(
        [score + by_type[SATISFIES], score + by_type[CONTEXT_OF], none, own_score + by_type[SELF_LOOP]]
    )
    itself = torch.arange(2 * num_sources + 1, len(scores), device=neighbours.device).unsqueeze(1)
    rows = torch.cat([neighbours, itself], dim=1)
    # The gradient of index_select is several times faster than that of an embedding.
    heard = scores.index_select(0, rows.flatten()).view(*rows.shape, heads) + listens.unsqueeze(1)
    attention = F.leaky_relu(heard, conv.negative_slope).softmax(dim=1)
    values = torch.cat([value, value, value.new_zeros(1, width), own_value])
    return value + conv.bias, pooled_rows(values, rows, attention) + conv.bias
