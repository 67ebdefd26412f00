"""Puts a policy together from its configured parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tedg import scratch
from tedg.config.instantiate import build, locate
from tedg.envs.glyphs import GLYPH_ATTRIBUTES
from tedg.envs.observation import EnvSpec
from tedg.errors import ConfigError
from tedg.hypergraph.schema import Hypergraph
from tedg.models.policy import MoEPolicy

Nodes = Mapping[str, Mapping[str, Any]]
SIZE_TOLERANCE = 0.01  # of the other policy's parameters


# PyTorch Geometric writes code for each kind of layer into a temporary file and leaves it there.
@scratch.temporary_files()
def build_policy(nodes: Nodes, spec: EnvSpec, hypergraph: Hypergraph, with_router: bool = True) -> MoEPolicy:
    """A policy from the nodes `vision`, `logic`, `fusion` and `policy` of a configuration.

    `with_router`: some stage's routing reads a router. Static settings come from the nodes, sizes from
    the environment and from the parts built before. A fusion node with `size_of`, another fusion's node,
    makes h_vis as wide as it takes to have as many parameters as with that one. Raises ConfigError where
    no width does.
    """
    fusion_node = dict(nodes["fusion"])
    if (other := fusion_node.pop("size_of", None)) is not None:
        nodes = {**nodes, "fusion": fusion_node}
        return _matched(nodes, {**nodes, "fusion": other}, spec, hypergraph, with_router)
    settings = nodes["policy"]
    logic = build(nodes["logic"], hypergraph=hypergraph)
    # A class's own `reads_head` says whether anything reads the visual head, before sizes are known.
    fusion_reads_head = locate(fusion_node["_target_"]).reads_head
    vision = build(
        nodes["vision"],
        spec=spec,
        glyph_attributes=GLYPH_ATTRIBUTES,
        with_head=fusion_reads_head or settings["expert_input"] == "vision",
        hide_symbols=logic.expert_of_operator is None,
    )
    fusion = build(
        fusion_node,
        vision_dim=vision.vision_dim,
        token_dim=vision.token_dim,
        num_tokens=vision.num_tokens,
        logic_dim=logic.output_dim,
    )
    return MoEPolicy(vision, logic, fusion, num_actions=spec.num_actions, with_router=with_router, **settings)


def parameters_per_part(policy: nn.Module) -> dict[str, int]:
    """Trainable and frozen parameters of each part, and their total."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in policy.named_children()}
    return {**counts, "total": sum(counts.values())}


def _matched(
    nodes: Nodes, other: Nodes, spec: EnvSpec, hypergraph: Hypergraph, with_router: bool
) -> MoEPolicy:
    """The policy of `nodes` with the `vision.head_dim` that gives it the size of that of `other`."""

    def policy(of: Nodes) -> MoEPolicy:
        return build_policy(of, spec, hypergraph, with_router)

    def with_width(width: int) -> Nodes:
        return {**nodes, "vision": {**nodes["vision"], "head_dim": width}}

    with torch.random.fork_rng(devices=[]):  # what is built to be counted must not change the weights
        # Every unit of h_vis is read and made by linear layers only, so sizes lie on a line.
        one, two, target = (_size(policy(of)) for of in (with_width(1), with_width(2), other))
    width = max(1, round(1 + (target - one) / (two - one)))
    matched = policy(with_width(width))
    if abs(_size(matched) - target) > SIZE_TOLERANCE * target:
        raise ConfigError(
            f"fusion.size_of: no width of h_vis gives the policy {target:,} parameters; with {width} it has "
            f"{_size(matched):,}. Change vision.token_dim, or take fusion=concat"
        )
    return matched


def _size(policy: nn.Module) -> int:
    return parameters_per_part(policy)["total"]
