"""The hypergraph encoder written the obvious way: one explicit graph per state. Slow; an oracle for tests."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tedg.hypergraph.schema import Hypergraph
from tedg.models.distinct import distinct
from tedg.models.logic import HypergraphEncoder


def operator_embeddings(encoder: HypergraphEncoder, atoms: Tensor) -> Tensor:
    """Every operator's embedding in every state, [B, O, d], as the encoder itself computes them."""
    occurring, index = distinct(encoder.pairs(atoms), len(encoder.pair_operator))
    table, _ = encoder._embed(occurring)
    return table[index]


def naive_forward(
    encoder: HypergraphEncoder, hypergraph: Hypergraph, atoms: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(h_logic [B, output_dim], scores [B, O], embeddings [B, O, d]) with the encoder's own parameters."""
    rows = [_one_state(encoder, hypergraph, row.tolist()) for row in atoms]
    h_logic, scores, embeddings = zip(*rows, strict=True)
    return encoder.norm(torch.stack(h_logic)), torch.stack(scores), torch.stack(embeddings)


def _one_state(
    encoder: HypergraphEncoder, hypergraph: Hypergraph, bits: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    column = {name: i for i, name in enumerate(hypergraph.atoms)}
    literals = sorted(
        {literal for o in hypergraph.operators for literal in o.preconditions + o.scene},
        key=lambda literal: (column[literal.atom], literal.positive),
    )
    node_of = {literal: i for i, literal in enumerate(literals)}
    atoms_in_use = sorted({column[literal.atom] for literal in literals})
    holds = {literal: bits[column[literal.atom]] == literal.positive for literal in literals}

    atom_row = torch.tensor([atoms_in_use.index(column[literal.atom]) for literal in literals])
    state_row = torch.tensor([2 * literal.positive + holds[literal] for literal in literals])
    literal_nodes = (
        encoder.atom_embedding.weight[atom_row] + encoder.literal_state_embedding.weight[state_row]
    )
    nodes = torch.cat([literal_nodes, encoder.operator_embedding.weight])

    sources, targets, kinds = [], [], []
    for o, operator in enumerate(hypergraph.operators):
        for kind, group in enumerate((operator.preconditions, operator.scene)):
            for literal in group:
                sources.append(node_of[literal])
                targets.append(len(literals) + o)
                kinds.append(kind)
    for node in range(len(nodes)):
        sources.append(node)
        targets.append(node)
        kinds.append(2)
    edges = torch.tensor([sources, targets])
    kinds_one_hot = torch.eye(3, dtype=nodes.dtype)[torch.tensor(kinds)]

    hidden = F.elu(encoder.conv1(nodes, edges, kinds_one_hot))
    embeddings = encoder.conv2(hidden, edges, kinds_one_hot)[len(literals) :]

    scores = []
    for o, operator in enumerate(hypergraph.operators):
        satisfied = sum(holds[literal] for literal in operator.preconditions)
        gate = math.log((satisfied + 0.5) / (len(operator.preconditions) + 0.5))
        scores.append(encoder.score.weight[0] @ embeddings[o] + gate)
    weights = torch.softmax(torch.stack(scores), 0)
    pooled = sum(weight * embedding for weight, embedding in zip(weights, embeddings, strict=True))
    return encoder.readout.weight @ pooled, torch.stack(scores), embeddings
