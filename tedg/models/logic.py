"""What the symbols say: a graph attention network over the hypergraph of operators, and its control."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
from tedg.models.distinct import distinct
from tedg.models.gat import CONTEXT_OF, NUM_EDGE_TYPES, SATISFIES, layered_gat
from tedg.models.norm import RunningNorm
from tedg.models.rows import pooled_rows

MAX_PAIRS = 1 << 19  # pairs a graph may have: one for every on/off pattern of every operator's conditions
MAX_REMEMBERED = 1 << 14  # pairs up to which all of them are embedded ahead of acting


@dataclass(frozen=True, slots=True)
class LogicOutput:
    """Output for B states; scores are None when there is no hypergraph to score."""

    h_logic: Float[Tensor, "B output_dim"]
    operator_scores: Float[Tensor, "B O"] | None = None


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
    and on which of its own literals hold. Attention therefore runs once per batch, over two rows per
    literal (off, on) and the D distinct (operator, on/off-pattern) pairs that occur, instead of once per
    state; the result equals that of B separate graphs. The other states of a batch decide only in
    which order equal sums are rounded: a state's output agrees across batches to floating-point rounding.

    While parameters stand still (see `remembering`), all pairs are embedded once and looked up.
    """

    inputs: ClassVar[tuple[str, ...]] = ("atoms",)
    literal_atom: Tensor
    literal_positive: Tensor
    literal_row: Tensor
    pattern_weight: Tensor
    first_pair: Tensor
    pair_operator: Tensor
    pair_neighbours: Tensor
    pair_log_satisfied: Tensor
    expert_of_operator: Tensor

    def __init__(
        self, hypergraph: Hypergraph, embedding_dim: int, num_heads: int, output_dim: int, freeze: bool
    ) -> None:
        """Build for `hypergraph`; `freeze` keeps every parameter at its initial or loaded value.

        Raises ValueError when `num_heads` does not divide `embedding_dim`, and for a hypergraph whose
        operators have more than MAX_PAIRS on/off patterns together.
        """
        super().__init__()
        if embedding_dim % num_heads:
            raise ValueError(f"num_heads={num_heads} must divide embedding_dim={embedding_dim}")
        self.num_atoms = len(hypergraph.atoms)
        self.num_operators = len(hypergraph.operators)
        self.output_dim = output_dim
        num_atom_rows = self._register_graph(hypergraph)
        self._remembered: tuple[Tensor, Tensor] | None = None
        self._tables: tuple[Tensor, Tensor] | None = None  # the memory for it, which is kept

        self.atom_embedding = nn.Embedding(num_atom_rows, embedding_dim)
        self.literal_state_embedding = nn.Embedding(4, embedding_dim)  # row 2 * positive + holds
        self.operator_embedding = nn.Embedding(self.num_operators, embedding_dim)
        self.conv1, self.conv2 = (
            GATConv(
                embedding_dim,
                embedding_dim // num_heads,
                num_heads,
                add_self_loops=False,  # `layered_gat` adds them, with an edge type of their own
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

    def _register_graph(self, hypergraph: Hypergraph) -> int:
        """Index buffers of conditions and pairs; returns how many atoms some condition uses."""
        conditions = hypergraph.conditions()
        keys = 2 * conditions.atom + conditions.positive
        literals = np.unique(keys[conditions.valid])
        atoms, rows = np.unique(literals // 2, return_inverse=True)
        condition_literal = np.where(conditions.valid, np.searchsorted(literals, keys), 0)
        weight = np.zeros((len(literals), self.num_operators))
        at = conditions.valid.nonzero()
        weight[condition_literal[at], at[0]] = 1 << at[1]

        # Pair number = first_pair[operator] + the bits of those of its conditions that hold.
        patterns = 1 << conditions.valid.sum(1)
        if (total := int(patterns.sum())) > MAX_PAIRS:
            raise ValueError(
                f"hypergraph {hypergraph.name!r} has {total} on/off patterns of its operators' conditions, "
                f"at most {MAX_PAIRS} are supported: give operators fewer conditions"
            )
        operator = np.repeat(np.arange(self.num_operators), patterns)
        first = np.cumsum(patterns) - patterns
        bits = np.arange(total) - first[operator]
        holds = (bits[:, None] >> np.arange(keys.shape[1])) & 1 == 1
        gates = (conditions.is_precondition & conditions.valid)[operator]
        edge_type = np.where(conditions.is_precondition, SATISFIES, CONTEXT_OF)
        off = 2 * len(literals) * edge_type + 2 * condition_literal  # rows as `layered_gat` numbers them
        neighbours = np.where(conditions.valid[operator], off[operator] + holds, 4 * len(literals))
        satisfied = np.log(((gates & holds).sum(1) + 0.5) / (gates.sum(1) + 0.5))
        buffers = {
            "literal_atom": literals // 2,  # [U] column of the observation's atoms
            "literal_positive": literals % 2 == 1,  # [U]
            "literal_row": rows,  # [U] row of atom_embedding: only atoms in use are embedded
            "pattern_weight": weight,  # [U, O] float64, the bit that a literal sets in an operator's pattern
            "first_pair": first,  # [O]
            "pair_operator": operator,  # [P]
            "pair_neighbours": neighbours,  # [P, L] rows of literals, off or on
            "pair_log_satisfied": satisfied,  # [P] log((satisfied + 1/2) / (n + 1/2)) of n preconditions
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
        pairs = self.pairs(atoms)
        if self._remembered is None:
            occurring, index = distinct(pairs, len(self.pair_operator))
            table, table_scores = self._embed(occurring)
        else:
            index, (table, table_scores) = pairs, self._remembered
        scores = table_scores.index_select(0, index.flatten()).view_as(index)
        pooled = pooled_rows(table, index, scores.softmax(dim=1).unsqueeze(2))
        return LogicOutput(self.norm(self.readout(pooled)), scores)

    def pairs(self, atoms: Bool[Tensor, "B A"]) -> Int[Tensor, "B O"]:
        """The number of every operator's (operator, which of its conditions hold) pair in every state."""
        literal_holds = atoms.index_select(1, self.literal_atom) == self.literal_positive
        # Sums of distinct powers of two are exact in float64, whose matrix product is fast.
        return (literal_holds.double() @ self.pattern_weight.double()).long() + self.first_pair

    def literal_features(self) -> Float[Tensor, "N d"]:
        """Input features of the 2U nodes of literals: each one off, then on."""
        off_on = torch.arange(2, device=self.literal_row.device)
        state = 2 * self.literal_positive.long().unsqueeze(1) + off_on
        atom = self.atom_embedding(self.literal_row).unsqueeze(1)
        return (atom + self.literal_state_embedding(state)).flatten(0, 1)

    def _embed(self, pairs: Int[Tensor, " D"]) -> tuple[Float[Tensor, "D d"], Float[Tensor, " D"]]:
        """Embeddings and scores of the numbered pairs: both attention layers, with ELU between."""
        neighbours = self.pair_neighbours.index_select(0, pairs)
        literals, operators = layered_gat(
            self.conv1,
            self.literal_features(),
            self.operator_embedding(self.pair_operator[pairs]),
            neighbours,
        )
        _, table = layered_gat(self.conv2, F.elu(literals), F.elu(operators), neighbours)
        return table, self.score(table).squeeze(1) + self.pair_log_satisfied[pairs].to(table.dtype)

    @torch.no_grad()
    def remember(self) -> None:
        """Embed all pairs now and look them up from now on; without effect where there are too many."""
        if len(self.pair_operator) > MAX_REMEMBERED:
            return
        tables = self._embed(torch.arange(len(self.pair_operator), device=self.first_pair.device))
        if self._tables is None or self._tables[0].dtype != tables[0].dtype:
            self._tables = tables
        else:  # in their place, where captured functions read them
            for kept, table in zip(self._tables, tables, strict=True):
                kept.copy_(table)
        self._remembered = self._tables

    def forget(self) -> None:
        """Embed the pairs of each batch again."""
        self._remembered = None


@contextmanager
def remembering(module: nn.Module) -> Iterator[None]:
    """Within it no parameter of `module` may change: its hypergraph encoders look embeddings up."""
    encoders = [part for part in module.modules() if isinstance(part, HypergraphEncoder)]
    try:
        for encoder in encoders:
            encoder.remember()
        yield
    finally:
        for encoder in encoders:
            encoder.forget()


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
