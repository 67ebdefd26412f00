"""Puts a policy together from its configured parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from tedg.envs.glyphs import GLYPH_ATTRIBUTES
from tedg.envs.observation import EnvSpec
from tedg.hypergraph.schema import Hypergraph
from tedg.instantiate import build, locate
from tedg.models.policy import MoEPolicy


def build_policy(
    nodes: Mapping[str, Mapping[str, Any]], spec: EnvSpec, hypergraph: Hypergraph, with_router: bool = True
) -> MoEPolicy:
    """A policy from the nodes `vision`, `logic`, `fusion` and `policy` of a configuration.

    `with_router`: some stage's routing reads a router. Static settings come from the nodes, sizes from
    the environment and from the parts built before.
    """
    settings = nodes["policy"]
    logic = build(nodes["logic"], hypergraph=hypergraph)
    # A class's own `reads_head` says whether anything reads the visual head, before sizes are known.
    fusion_reads_head = locate(nodes["fusion"]["_target_"]).reads_head
    vision = build(
        nodes["vision"],
        spec=spec,
        glyph_attributes=GLYPH_ATTRIBUTES,
        with_head=fusion_reads_head or settings["expert_input"] == "vision",
        hide_symbols=logic.expert_of_operator is None,
    )
    fusion = build(
        nodes["fusion"],
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
