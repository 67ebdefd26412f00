"""Tables for LaTeX with booktabs. Every character that LaTeX reads as a command is written out."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tedg.inert import inert
from tedg.report.page import Column, Table

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",  # \textquotedbl is not in LaTeX's first encoding
    "`": r"\textasciigrave{}",
    "'": "{'}",  # alone, for two would become another sign
    "τ": r"$\tau$",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
    "\n": " ",
}
_NOT_WIDER = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # than the text
_NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")


def latex(tables: Iterable[Table]) -> str:
    """One file with a `table` for each; `\\input` it where booktabs and graphicx are loaded."""
    head = "% Written by python -m tedg.report. Needs \\usepackage{booktabs,graphicx,textcomp}.\n"
    return head + "\n".join(_table(one) for one in tables)


def escaped(text: str) -> str:
    """Text as LaTeX sets it. A letter that LaTeX may not know stays as it is."""
    return "".join(_SIGNS.get(one, one) for one in inert(text))


def _table(table: Table) -> str:
    shape = "".join("r" if column.number else "l" for column in table.columns)
    body = "".join(f"  {_row(row, table.columns)} \\\\\n" for row in table.rows)
    note = f"\\par\\smallskip\\raggedright\\footnotesize {escaped(table.note)}\\par\n" if table.note else ""
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{escaped(table.caption)}}}\n\\label{{tab:{table.name}}}\n"
        f"{_NOT_WIDER}\n\\begin{{tabular}}{{{shape}}}\n  \\toprule\n"
        f"  {' & '.join(escaped(column.title) for column in table.columns)} \\\\\n  \\midrule\n"
        f"{body}  \\bottomrule\n\\end{{tabular}}}}\n{note}\\end{{table}}\n"
    )


def _row(row: tuple[str, ...], columns: tuple[Column, ...]) -> str:
    return " & ".join(
        _NEGATIVE.sub("$-$", escaped(cell)) if column.number else escaped(cell)
        for cell, column in zip(row, columns, strict=True)
    )
