"""Tables for Markdown. What Markdown or HTML would read as markup is written out."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tedg.inert import inert
from tedg.report.page import Column, Table
from tedg.report.words import NONE

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~$:@^=])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " "}


def markdown(tables: Iterable[Table]) -> str:
    """One file with a heading, a table and its note for each."""
    return "\n".join(_table(one) for one in tables)


def escaped(text: str) -> str:
    """Text that shows as it is."""
    plain = "".join(_ENTITIES.get(one, one) for one in inert(text))
    return _MARKUP.sub(r"\\\1", plain)


def _table(table: Table) -> str:
    lines = [
        [escaped(column.title) for column in table.columns],
        ["--:" if column.number else "---" for column in table.columns],
        *([_cell(*one) for one in zip(row, table.columns, strict=True)] for row in table.rows),
    ]
    body = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    note = f"\n{escaped(table.note)}\n" if table.note else ""
    return f"## {escaped(table.caption)}\n\n{body}{note}"


def _cell(cell: str, column: Column) -> str:
    """Brackets around an interval are no link."""
    return cell if column.number and re.fullmatch(rf"[-+\d.,%e \[\]{NONE}]*", cell) else escaped(cell)
