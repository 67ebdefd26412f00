"""Studies and cells as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tedg.store.study import steps

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def rows(titles: Sequence[str], content: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, each column as wide as its widest entry."""
    lines = [tuple(titles), *map(tuple, content)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(titles))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def cell_rows(cells: Sequence[dict[str, Any]]) -> list[str]:
    """The table of `show`."""
    return rows(
        ("cell", "seed", "state", "steps", "score", "time", "disk", "directory"),
        (
            (
                cell["label"],
                _or_dash(cell["seed"]),
                _state(cell),
                steps(cell["env_steps"], cell["total_env_steps"]),
                "-" if cell["score"] is None else f"{cell['score']:.1f}",
                "-" if not cell["seconds"] else duration(cell["seconds"]),
                size(cell["bytes"]),
                cell["directory"],
            )
            for cell in cells
        ),
    )


def _state(cell: dict[str, Any]) -> str:
    kept = " (kept)" if cell["kept"] else ""
    if cell["check_failed"]:
        return f"{cell['state']}{kept} (check failed)"
    # Where SLURM says why a job waits, that is what a user wants to know.
    in_slurm = cell["job"] and cell["state"] in ("pending", "running")
    return f"{cell['state']} ({cell['reason']})" if in_slurm else f"{cell['state']}{kept}"


def state_counts(cells: Iterable[dict[str, Any]]) -> str:
    """`9 done, 1 failed`."""
    return ", ".join(
        f"{number} {state}" for state, number in Counter(c["state"] for c in cells).most_common()
    )


def duration(seconds: float) -> str:
    """`1:05:09` for hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def size(count: float) -> str:
    """A number of bytes in the unit that fits."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)
