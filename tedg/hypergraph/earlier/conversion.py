"""Turns the earlier project's graph into operators of ours, with an account of every node and every edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tedg.hypergraph.earlier.graph import EarlierGraph, Edge, Node
from tedg.hypergraph.earlier.links import (
    CONTRADICTED,
    CUT,
    EITHER,
    Fate,
    Link,
    Outcome,
    condition_links,
    effect_links,
)
from tedg.hypergraph.earlier.meanings import (
    COMMANDS,
    CONDITIONS,
    EFFECTS,
    HOLDS_ALWAYS,
    NAMES_SOURCE,
    NOT_COMMANDS,
    UNKNOWN_COMMAND,
    Command,
    command_name,
    why_not,
)
from tedg.hypergraph.schema import MAX_CONDITIONS, Hypergraph, Literal, Operator

# The earlier graph's commands are meant outside of prompts, where keys mean other things.
OUTSIDE_PROMPTS = Literal("prompt", positive=False)
REPEATED = "the same edge again"
NOTHING_LEFT = "none of its conditions has an atom"
OPERATOR_DROPPED = "its operator was dropped"
OPERATOR_MERGED = "its operator became equal to another"
CONDITIONS_LEFT_OUT = "conditions left out"
CONDITIONS_CHANGED = "conditions changed"
# Reasons for leaving a condition out that lose nothing the earlier graph said about the game's state.
_LOSSLESS = (EITHER, CONTRADICTED, HOLDS_ALWAYS, NAMES_SOURCE)

_Made = dict[tuple[object, ...], Operator]  # by all that tells operators apart
_Key = tuple[int, str, str]  # an operator's node, an edge's type, the label at its other end


@dataclass(frozen=True, slots=True)
class Converted:
    """A node with its fate; `into` is the literal, or the name of the operator, that it is part of."""

    node: Node
    fate: Fate
    into: str = ""
    cut: tuple[str, ...] = ()  # labels of an operator's conditions beyond the limit


@dataclass(frozen=True, slots=True)
class Conversion:
    """The result and the account: every node and every edge of the earlier graph has exactly one fate."""

    operators: tuple[Operator, ...]
    added: tuple[str, ...]  # names of the shipped operators among them, for experts that would have none
    nodes: tuple[Converted, ...]
    edges: tuple[tuple[Edge, Fate], ...]


def convert_graph(graph: EarlierGraph, shipped: Hypergraph) -> Conversion:
    """Convert `graph` onto the atoms, experts and actions of `shipped`; no operators if none can be made.

    The result does not depend on the order of the edges. An expert that would have no operator gets the
    first of its operators in `shipped`.
    """
    order = {name: index for index, name in enumerate(shipped.atoms)}
    edges_of: dict[int, set[tuple[str, str]]] = {node.id: set() for node in graph.of_type("operator")}
    for edge in graph.edges:
        owner, other = _operator_first(edge)
        edges_of[owner.id].add((edge.type, other.label))

    made: _Made = {}
    nodes = [_literal_of(node) for node in graph.nodes if node.type != "operator"]
    fates: dict[_Key, Fate] = {}
    for node in graph.of_type("operator"):
        converted, links = _convert_operator(node, edges_of[node.id], order, made)
        nodes.append(converted)
        fates |= {(node.id, link.type, link.label): link.fate for link in links}

    operators = tuple(made.values())
    missing = [expert for expert in shipped.experts if expert not in {one.expert for one in operators}]
    added = [
        next(one for one in shipped.operators if one.expert == expert) for expert in missing if operators
    ]
    return Conversion(
        operators=(*operators, *added),
        added=tuple(one.name for one in added),
        nodes=tuple(nodes),
        edges=_with_repetitions(graph.edges, fates),
    )


def _operator_first(edge: Edge) -> tuple[Node, Node]:
    return (edge.source, edge.target) if edge.type == "leads_to" else (edge.target, edge.source)


def _with_repetitions(edges: Sequence[Edge], fates: Mapping[_Key, Fate]) -> tuple[tuple[Edge, Fate], ...]:
    seen: set[_Key] = set()
    found = []
    for edge in edges:
        owner, other = _operator_first(edge)
        key = (owner.id, edge.type, other.label)
        again = key in seen and fates[key].survives
        found.append((edge, Fate.merged(REPEATED) if again else fates[key]))
        seen.add(key)
    return tuple(found)


def _literal_of(node: Node) -> Converted:
    """What a condition or effect means wherever it stands."""
    meaning = (CONDITIONS if node.type == "condition" else EFFECTS).get(node.label)
    if meaning is None:
        return Converted(node, Fate.dropped(why_not(node.label)))
    return Converted(node, Fate.of(meaning.difference), meaning.literal)


def _convert_operator(
    node: Node, edges: Iterable[tuple[str, str]], order: Mapping[str, int], made: _Made
) -> tuple[Converted, list[Link]]:
    """Fates of an operator and of its distinct edges, (type, label) pairs; added to `made` if it is new."""
    name = command_name(node.label)
    if name is None or name in NOT_COMMANDS:
        return _drop(node, UNKNOWN_COMMAND if name is None else NOT_COMMANDS[name], edges)
    conditions = condition_links([edge for edge in edges if edge[0] != "leads_to"], order, MAX_CONDITIONS - 1)
    lost = any(not link.fate.survives and link.fate.why not in _LOSSLESS for link in conditions)
    if lost and not any(link.fate.survives for link in conditions):
        return _drop(node, NOTHING_LEFT, edges)
    effects = effect_links([edge for edge in edges if edge[0] == "leads_to"], order)
    links = [*conditions, *effects]
    operator = _operator(node, COMMANDS[name], conditions, effects)
    key = (operator.expert, operator.actions, operator.preconditions, operator.scene)
    if (first := made.get(key)) is not None:
        union = sorted({*first.effects, *operator.effects}, key=lambda literal: order[literal.atom])
        made[key] = replace(first, effects=tuple(union))
        merged = Fate.merged(OPERATOR_MERGED)
        links = [link.without(merged) if link.fate.survives else link for link in links]
        return Converted(node, merged, first.name), links
    made[key] = operator
    changed = any(link.fate.outcome is Outcome.CHANGED for link in conditions)
    fate = Fate.of(
        COMMANDS[name].difference,
        CONDITIONS_LEFT_OUT if lost else "",
        CONDITIONS_CHANGED if changed else "",
    )
    cut = tuple(link.label for link in conditions if link.fate.why == CUT)
    return Converted(node, fate, operator.name, cut), links


def _drop(node: Node, why: str, edges: Iterable[tuple[str, str]]) -> tuple[Converted, list[Link]]:
    fate = Fate.dropped(OPERATOR_DROPPED)
    return Converted(node, Fate.dropped(why)), [Link(*edge, fate) for edge in edges]


def _operator(node: Node, command: Command, conditions: Sequence[Link], effects: Sequence[Link]) -> Operator:
    def literals(links: Iterable[Link]) -> tuple[Literal, ...]:
        return tuple(link.literal for link in links if link.literal is not None)

    return Operator(
        id=f"N{node.id}",
        name=node.label,
        expert=command.expert,
        preconditions=(*literals(link for link in conditions if link.gates), OUTSIDE_PROMPTS),
        scene=literals(link for link in conditions if not link.gates),
        effects=literals(effects),
        actions=command.actions,
        target=command.target,
    )
