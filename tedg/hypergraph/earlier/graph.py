"""Reads the earlier project's graph: JSON with condition, operator and effect nodes and typed edges."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedg.hypergraph.checker import Checker, describe, told
from tedg.spelling import did_you_mean_path

MAX_BYTES = 16_000_000
MAX_NODES = 50_000
MAX_EDGES = 500_000
MAX_LABEL = 200  # characters
MAX_ID = 10**9
MAX_FAULTS_SHOWN = 10

NODE_TYPES = ("condition", "operator", "effect")
# Edge type: type of its source, type of its target.
EDGE_TYPES = {
    "satisfies": ("condition", "operator"),
    "context_of": ("condition", "operator"),
    "leads_to": ("operator", "effect"),
}


class EarlierGraphError(ValueError):
    """The file is no such graph; the message names the file and lists the faults by their places."""


@dataclass(frozen=True, slots=True)
class Node:
    """A condition, operator or effect; labels are unique among the nodes of one type."""

    id: int
    label: str
    type: str


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge between nodes of the types that its own type joins."""

    source: Node
    target: Node
    type: str


@dataclass(frozen=True, slots=True)
class EarlierGraph:
    """A valid graph; the order is the file's, and an edge may stand there more than once."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def of_type(self, node_type: str) -> tuple[Node, ...]:
        """The nodes of one type."""
        return tuple(node for node in self.nodes if node.type == node_type)


def read_earlier_graph(path: Path) -> EarlierGraph:
    """Read and validate the file at `path`; raises EarlierGraphError."""
    check = Checker()
    top = check.mapping(_parse(path), "", required=("nodes", "edges"), optional=("meta",))
    nodes = _nodes(check, top.get("nodes", []))
    edges = _edges(check, nodes, top.get("edges", [])) if not check.faults else ()
    if check.faults:
        raise EarlierGraphError(told(str(path), check.faults, MAX_FAULTS_SHOWN))
    return EarlierGraph(nodes, edges)


def _parse(path: Path) -> Any:
    try:
        if not path.is_file():
            what = "not a regular file" if path.exists() else "no such file"
            near = "" if path.exists() else did_you_mean_path(str(path))
            raise EarlierGraphError(f"{path}: {what}; give the JSON file of the earlier graph{near}")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise EarlierGraphError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise EarlierGraphError(f"{path}: larger than {MAX_BYTES:,} bytes")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_distinct_keys)
    except UnicodeDecodeError as error:
        raise EarlierGraphError(
            f"{path}: not UTF-8 text: byte {error.start} is {data[error.start]:#04x}"
        ) from None
    except RecursionError:
        raise EarlierGraphError(f"{path}: not such a graph: nested too deeply") from None
    except ValueError as error:
        raise EarlierGraphError(f"{path}: not valid JSON: {error}") from None


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:60]!r} is given twice in one object")
        found[key] = value
    return found


def _nodes(check: Checker, value: Any) -> tuple[Node, ...]:
    def node(entry: Any, place: str) -> Node:
        keys = check.mapping(entry, place, required=("id", "label", "type"))
        number = check.integer(keys["id"], f"{place}.id", 0, MAX_ID) if "id" in keys else -1
        label = check.text(keys["label"], f"{place}.label") if "label" in keys else ""
        if len(label) > MAX_LABEL or not label.isprintable():
            check.fault(f"{place}.label", f"must be at most {MAX_LABEL} printable characters")
            label = ""
        if "type" in keys and keys["type"] not in NODE_TYPES:
            check.fault(
                f"{place}.type", f"must be one of {', '.join(NODE_TYPES)}, got {describe(keys['type'])}"
            )
        return Node(number, label, str(keys.get("type")))

    nodes = check.sequence(value, "nodes", node, 1, MAX_NODES)
    check.distinct([str(one.id) if one.id >= 0 else "" for one in nodes], "nodes", ".id")
    check.distinct([f"{one.type} {one.label}" if one.label else "" for one in nodes], "nodes", "")
    return tuple(nodes)


def _edges(check: Checker, nodes: tuple[Node, ...], value: Any) -> tuple[Edge, ...]:
    by_id = {node.id: node for node in nodes}

    def end(entry: Any, place: str) -> Node | None:
        if not isinstance(entry, int) or isinstance(entry, bool):
            check.fault(place, f"must be a node's id, got {describe(entry)}")
        elif entry not in by_id:
            check.fault(place, f"there is no node with the id {str(entry)[:30]}")
        else:
            return by_id[entry]
        return None

    def edge(entry: Any, place: str) -> Edge | None:
        if not isinstance(entry, list) or len(entry) != 3:
            check.fault(place, "must be a list of three: id of the source, id of the target, type")
            return None
        source, target = end(entry[0], f"{place}[0]"), end(entry[1], f"{place}[1]")
        if not isinstance(entry[2], str) or entry[2] not in EDGE_TYPES:
            check.fault(f"{place}[2]", f"must be one of {', '.join(EDGE_TYPES)}, got {describe(entry[2])}")
            return None
        if source is None or target is None:
            return None
        if (source.type, target.type) != EDGE_TYPES[entry[2]]:
            right = " to ".join(EDGE_TYPES[entry[2]])
            check.fault(place, f"{entry[2]} leads from {right}, not from {source.type} to {target.type}")
        return Edge(source, target, entry[2])

    return tuple(one for one in check.sequence(value, "edges", edge, 0, MAX_EDGES) if one is not None)
