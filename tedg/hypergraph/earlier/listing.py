"""The account of a conversion: as plain data for a JSON file, and as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from tedg.hypergraph.earlier.conversion import Conversion, Converted
from tedg.hypergraph.earlier.graph import EDGE_TYPES, NODE_TYPES
from tedg.hypergraph.earlier.links import CUT, Outcome
from tedg.hypergraph.schema import Hypergraph, Literal

SCHEMA = 1  # of the JSON file


def report(conversion: Conversion) -> dict[str, Any]:
    """Counts by type and outcome, the fate of every label, and why edges were changed, merged or dropped.

    `kept_share` is the share of a type's edges that are part of the result, merged ones included; null where
    there are none. `patterns` is the number of on/off patterns that the operators' conditions have.
    """
    outcomes = Counter((one.node.type, one.fate.outcome) for one in conversion.nodes)
    edges = Counter((edge.type, fate) for edge, fate in conversion.edges)
    by_outcome: Counter[tuple[str, Outcome]] = Counter()
    for (kind, fate), count in edges.items():
        by_outcome[kind, fate.outcome] += count
    sizes = [len(one.preconditions) + len(one.scene) for one in conversion.operators]
    return {
        "schema": SCHEMA,
        "operators_written": len(conversion.operators),
        "added": list(conversion.added),
        "patterns": sum(1 << size for size in sizes),
        "nodes": {kind: _counts(kind, outcomes) for kind in NODE_TYPES},
        "edges": {kind: _with_share(_counts(kind, by_outcome)) for kind in EDGE_TYPES},
        "edge_reasons": [
            {"type": kind, "outcome": fate.outcome.value, "why": fate.why, "count": count}
            for (kind, fate), count in sorted(edges.items(), key=lambda item: _by_type(*item[0]))
            if fate.why
        ],
        "labels": [_label(one) for one in conversion.nodes],
    }


def _counts(kind: str, outcomes: Counter[tuple[str, Outcome]]) -> dict[str, int]:
    found = {outcome.value: outcomes[kind, outcome] for outcome in Outcome}
    return {"total": sum(found.values()), **found}


def _with_share(counts: dict[str, int]) -> dict[str, Any]:
    total = counts["total"]
    return {**counts, "kept_share": 1 - counts["dropped"] / total if total else None}


def _by_type(kind: str, fate: Any) -> tuple[int, int, str]:
    return list(EDGE_TYPES).index(kind), list(Outcome).index(fate.outcome), fate.why


def _label(one: Converted) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": one.node.type,
        "label": one.node.label,
        "outcome": one.fate.outcome.value,
        "why": one.fate.why,
        "into": one.into or None,
    }
    return {**entry, "cut": list(one.cut)} if one.node.type == "operator" else entry


def tables(account: dict[str, Any], shipped: Hypergraph) -> Iterator[Table]:
    """What `report` counted, for the terminal; `shipped` gives the atoms' formulas."""
    yield _summary(account)
    labels = account["labels"]
    formulas = {atom.name: atom.formula for atom in shipped.atom_table}
    literals = _table("Conditions and effects in our terms", "type", "label", "literal", "formula", "differs")
    for one in labels:
        if one["type"] != "operator" and one["into"]:
            atom = Literal.parse(one["into"]).atom
            literals.add_row(*map(Text, (one["type"], one["label"], one["into"], formulas[atom], one["why"])))
    yield literals

    others = _table("Labels that do not say the same as before", "type", "outcome", "why", "number", "labels")
    told = [one for one in labels if one["why"] and (one["type"] == "operator" or not one["into"])]
    for key, group in groupby(sorted(told, key=_group), key=_group):
        entries = list(group)
        named = ", ".join(_named(one) for one in entries)
        others.add_row(*map(Text, (*key[1:], f"{len(entries):,}", named)))
    yield others

    reasons = _table("Edges that do not say the same as before", "type", "outcome", "why", "number")
    for one in account["edge_reasons"]:
        reasons.add_row(*map(Text, (one["type"], one["outcome"], one["why"], f"{one['count']:,}")))
    yield reasons

    if cut := [one for one in labels if one.get("cut")]:
        table = _table(f"Conditions cut: {CUT}", "operator", "conditions")
        for one in cut:
            table.add_row(Text(one["label"]), Text(", ".join(one["cut"])))
        yield table


def _summary(account: dict[str, Any]) -> Table:
    table = _table("Conversion", "", "total", *(outcome.value for outcome in Outcome), "kept")
    for kind, counts in account["nodes"].items():
        table.add_row(f"{kind}s", *(f"{number:,}" for number in counts.values()), "")
    for kind, counts in account["edges"].items():
        share = counts["kept_share"]
        numbers = (f"{number:,}" for name, number in counts.items() if name != "kept_share")
        table.add_row(f"{kind} edges", *numbers, "" if share is None else f"{share:.1%}")
    return table


def _table(title: str, *columns: str) -> Table:
    numeric = {"total", "number", "kept", *Outcome}
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    return table


def _group(one: dict[str, Any]) -> tuple[int, str, str, str]:
    return NODE_TYPES.index(one["type"]), one["type"], one["outcome"], one["why"]


def _named(one: dict[str, Any]) -> str:
    return f"{one['label']} into {one['into']}" if one["outcome"] == Outcome.MERGED else str(one["label"])
