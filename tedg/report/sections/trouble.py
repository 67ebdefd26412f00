"""What is not there: cells that failed, are not finished or diverged, and contrasts that are void."""

from __future__ import annotations

from collections import Counter

from tedg.report.material import Material
from tedg.report.page import Block, Column, Listing, Section, Table, Text, section
from tedg.report.words import listed

_FINE = "done"
_MOST = 30  # cells of one table


def trouble(material: Material) -> Section:
    """A table of the cells that are not done, and what else the comparison has to say."""
    cells = material.study.cells
    bad = [cell for cell in cells if cell["state"] != _FINE or cell["check_failed"]]
    counts = Counter(cell["state"] for cell in cells)
    told = listed([f"{number} {state}" for state, number in counts.most_common()])
    blocks: list[Block] = [Text(f"Of {len(cells)} cells: {told}.")] if cells else []
    if bad:
        rows = [
            (cell["label"], "check failed" if cell["state"] == _FINE else cell["state"], cell["reason"] or "")
            for cell in bad[:_MOST]
        ]
        note = f"{len(bad) - _MOST} more are not shown." if len(bad) > _MOST else ""
        titles = tuple(Column(title, number=False) for title in ("cell", "state", "reason"))
        blocks.append(Table("cells", "Cells that are not done", titles, tuple(rows), note))
    void = [one for one in material.report.outcomes if one.verdict == "void"]
    items = [f"void: {one.variant} against {one.baseline}, {one.measure}" for one in void]
    items += [
        note
        for note in material.report.notes
        if not note.startswith("warning: ") and note not in material.missing
    ]
    if items:
        blocks.append(Listing(tuple(items)))
    return section("trouble", "Failed, unfinished, diverged and void", blocks, "Nothing is missing.")
