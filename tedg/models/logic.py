"""What the symbols say: a graph attention network over the hypergraph of operators, and its control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GATConv

from tedg.envs.observation import Observation
from tedg.hypergraph.schema import Hypergraph
from tedg.models.norm import RunningNorm

NUM_EDGE_TYPES = 3
SATISFIES, CONTEXT_OF, SELF_LOOP = range(NUM_EDGE_TYPES)  # precondition, scene, a node to itself


@dataclass(frozen=True, slots=True)
class LogicOutput:
    """Output for B states; scores, table and index are None when there is no hypergraph to score."""

    h_logic: Float[Tensor, "B output_dim"]
    operator_scores: Float[Tensor, "B O"] | None = None
    embedding_table: Float[Tensor, "D d"] | None = None  # one row per distinct (operator, pattern) pair
    operator_index: Int[Tensor, "B O"] | None = None  # row of the table for every state and operator

    @property
    def operator_embeddings(self) -> Float[Tensor, "B O d"] | None:
        """Every operator's embedding in every state; built on demand because few callers need it."""
        if self.embedding_table is None or self.operator_index is None:
            return None
        return self.embedding_table[self.operator_index]


class LogicEncoder(nn.Module):
    """The contract of the symbolic stream: called with an observation, it returns a `LogicOutput`.

    It is built with `hypergraph`, followed by the settings of its YAML file.
    """

    inputs: ClassVar[tuple[str, ...]]  # observation fields it reads
    output_dim: int  # width of h_logic
    expert_of_operator: Tensor | None  # [O] int64; None where there are no operators to score


class HypergraphEncoder(LogicEncoder):
    """Two GATConv layers (Veličković et al. 2018) over literals and operators, read out by operator scores.

    A literal's feature is its atom's embedding plus one for its sign and whether it holds; an operator's
    is its own embedding. Edges run from literals to operators only (`satisfies`, `context_of`), every
    node has a self-loop, and the edge's type enters the attention. h_logic is standardised by running
    statistics.

    Edges are directed and atoms are bits, so an operator's embedding depends only on which operator it is
    and on which of its own literals hold. The graph is therefore built once per batch, from two rows per
    literal (off, on) and the D distinct (operator, on/off-pattern) pairs that occur, instead of once per
    state; the result equals that of B separate graphs. The other states of a batch decide only in
    which order equal sums are rounded: a state's output agrees across batches to floating-point rounding.
    """

    inputs: ClassVar[tuple[str, ...]] = ("atoms",)
    literal_atom: Tensor
    literal_positive: Tensor
    literal_row: Tensor
    condition_literal: Tensor
    condition_valid: Tensor
    condition_is_precondition: Tensor
    pattern_weight: Tensor
    expert_of_operator: Tensor

    def __init__(
        self, hypergraph: Hypergraph, embedding_dim: int, num_heads: int, output_dim: int, freeze: bool
    ) -> None:
        """Build for `hypergraph`; `freeze` keeps every parameter at its initial or loaded value.

        Raises ValueError when `num_heads` does not divide `embedding_dim`.
        """
        super().__init__()
        if embedding_dim % num_heads:
            raise ValueError(f"num_heads={num_heads} must divide embedding_dim={embedding_dim}")
        self.num_atoms = len(hypergraph.atoms)
        self.num_operators = len(hypergraph.operators)
        self.output_dim = output_dim
        num_atom_rows = self._register_conditions(hypergraph)

        self.atom_embedding = nn.Embedding(num_atom_rows, embedding_dim)
        self.literal_state_embedding = nn.Embedding(4, embedding_dim)  # row 2 * positive + holds
        self.operator_embedding = nn.Embedding(self.num_operators, embedding_dim)
        self.conv1, self.conv2 = (
            GATConv(
                embedding_dim,
                embedding_dim // num_heads,
                num_heads,
                add_self_loops=False,  # `convolve` adds them, with an edge type of their own
                edge_dim=NUM_EDGE_TYPES,
            )
            for _ in range(2)
        )
        # No bias: softmax ignores a constant added to all scores, and conv2 has the readout's bias already.
        self.score = nn.Linear(embedding_dim, 1, bias=False)
        self.readout = nn.Linear(embedding_dim, output_dim, bias=False)
        self.norm = RunningNorm(output_dim)
        if freeze:
            self.requires_grad_(False)

    def _register_conditions(self, hypergraph: Hypergraph) -> int:
        """Index buffers of the conditions; returns how many atoms some condition uses."""
        conditions = hypergraph.conditions()
        keys = 2 * conditions.atom + conditions.positive
        literals = np.unique(keys[conditions.valid])
        atoms, rows = np.unique(literals // 2, return_inverse=True)
        condition_literal = np.where(conditions.valid, np.searchsorted(literals, keys), 0)
        weight = np.zeros((len(literals), self.num_operators), np.int64)
        operator, position = conditions.valid.nonzero()
        weight[condition_literal[operator, position], operator] = 1 << position
        buffers = {
            "literal_atom": literals // 2,  # [U] column of the observation's atoms
            "literal_positive": literals % 2 == 1,  # [U]
            "literal_row": rows,  # [U] row of atom_embedding: only atoms in use are embedded
            "condition_literal": condition_literal,  # [O, L]
            "condition_valid": conditions.valid,  # [O, L]
            "condition_is_precondition": conditions.is_precondition,  # [O, L]
            "pattern_weight": weight,  # [U, O] the bit that a literal sets in an operator's pattern
            "expert_of_operator": conditions.expert,  # [O]
        }
        for name, array in buffers.items():
            self.register_buffer(name, torch.as_tensor(array), persistent=False)
        return len(atoms)

    def forward(self, observation: Observation) -> LogicOutput:
        """Encode `observation.atoms`, Bool [B, A]; raises ValueError when A is not the hypergraph's."""
        atoms: Bool[Tensor, "B A"] = observation.atoms
        if atoms.shape[1] != self.num_atoms:
            raise ValueError(f"{atoms.shape[1]} atoms given, the hypergraph has {self.num_atoms}")
        operator, holds, index = self.distinct_pairs(atoms)
        table = self._embed(operator, holds)
        table_scores = self.score(table).squeeze(1) + self._log_satisfied(operator, holds, table.dtype)
        scores = table_scores[index]
        weights = F.softmax(scores, dim=1)
        # A row of `spread` holds each of the state's O weights in its own column, for no two operators
        # share a pair: a matrix product then sums what would else be a [B, O, d] tensor.
        spread = weights.new_zeros(len(atoms), len(table)).scatter(1, index, weights)
        return LogicOutput(self.norm(self.readout(spread @ table)), scores, table, index)

    def distinct_pairs(
        self, atoms: Bool[Tensor, "B A"]
    ) -> tuple[Int[Tensor, " D"], Bool[Tensor, "D L"], Int[Tensor, "B O"]]:
        """The D distinct (operator, which of its conditions hold) pairs, and each state's row among them."""
        num_positions = self.condition_valid.shape[1]
        literal_holds = atoms[:, self.literal_atom] == self.literal_positive
        # Sums of distinct powers of two up to 2**31 are exact in float64, whose matrix product is fast.
        pattern = (literal_holds.double() @ self.pattern_weight.double()).long()
        operators = torch.arange(self.num_operators, device=atoms.device)
        codes, index = torch.unique(pattern + (operators << num_positions), return_inverse=True)
        positions = torch.arange(num_positions, device=atoms.device)
        holds = ((codes.unsqueeze(1) >> positions) & 1).bool()
        return codes >> num_positions, holds, index

    def literal_features(self, literal: Int[Tensor, " N"], holds: Bool[Tensor, " N"]) -> Float[Tensor, "N d"]:
        """Input features of literal nodes that hold or do not."""
        state = 2 * self.literal_positive[literal].long() + holds.long()
        return self.atom_embedding(self.literal_row[literal]) + self.literal_state_embedding(state)

    def _embed(self, operator: Int[Tensor, " D"], holds: Bool[Tensor, "D L"]) -> Float[Tensor, "D d"]:
        """Embeddings of the pairs, from one graph of 2U literal nodes followed by D operator nodes."""
        device = operator.device
        literal = torch.arange(len(self.literal_atom), device=device).repeat_interleave(2)
        off_on = torch.arange(len(literal), device=device) % 2 == 1
        nodes = torch.cat([self.literal_features(literal, off_on), self.operator_embedding(operator)])
        pair, position = self.condition_valid[operator].nonzero(as_tuple=True)
        source = 2 * self.condition_literal[operator[pair], position] + holds[pair, position].long()
        is_precondition = self.condition_is_precondition[operator[pair], position]
        edge_type = torch.where(is_precondition, SATISFIES, CONTEXT_OF)
        edges = torch.stack([source, pair + len(literal)])
        return self.convolve(nodes, edges, edge_type)[len(literal) :]

    def convolve(
        self, nodes: Float[Tensor, "N d"], edges: Int[Tensor, "2 E"], edge_type: Int[Tensor, " E"]
    ) -> Float[Tensor, "N d"]:
        """Both graph attention layers with ELU between, over the edges (source, target) and self-loops."""
        loops = torch.arange(len(nodes), device=nodes.device).expand(2, -1)
        edges = torch.cat([edges, loops], dim=1)
        types = torch.cat([edge_type, edge_type.new_full((len(nodes),), SELF_LOOP)])
        features = F.one_hot(types, NUM_EDGE_TYPES).to(nodes.dtype)
        hidden = F.elu(self.conv1(nodes, edges, features))
        return self.conv2(hidden, edges, features)

    def _log_satisfied(
        self, operator: Int[Tensor, " D"], holds: Bool[Tensor, "D L"], dtype: torch.dtype
    ) -> Float[Tensor, " D"]:
        """log((satisfied + 1/2) / (n + 1/2)) of each pair's n preconditions; 0 when all hold."""
        gates = self.condition_is_precondition[operator]
        satisfied = (holds & gates).sum(1).to(dtype)
        return torch.log((satisfied + 0.5) / (gates.sum(1).to(dtype) + 0.5))


class NoLogic(LogicEncoder):
    """The control without symbols: h_logic is the same learned vector in every state, nothing is scored."""

    inputs: ClassVar[tuple[str, ...]] = ()
    expert_of_operator = None

    def __init__(self, hypergraph: Hypergraph, output_dim: int) -> None:
        """`hypergraph` is taken so that both kinds are built alike, and not used."""
        super().__init__()
        del hypergraph
        self.output_dim = output_dim
        self.constant = nn.Parameter(torch.randn(output_dim) / output_dim**0.5)

    def forward(self, observation: Observation) -> LogicOutput:
        """The constant once per row of `observation.mask`."""
        return LogicOutput(self.constant.expand(len(observation.mask), -1))
