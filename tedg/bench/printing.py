"""The results for people: one table per part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from tedg.bench.flags import PARTS
from tedg.bench.results import Row

_SPLIT = ("env", "policy", "learning")
_COLUMNS = {
    "variants": ("name", "parameters", "parts"),
    "env": ("num_envs", "num_workers", "steps_per_second", "relative", "env_cpu_us", "memory_bytes"),
    "policy": ("variant", "steps_per_second", "relative", "batch", "call_ms", "policy_cpu_us"),
    "learner": ("variant", "steps_per_second", "relative", "batch", "call_ms", "learning_cpu_us"),
    "end-to-end": (
        *("variant", "steps_per_second", "relative"),
        *(f"{phase}_{clock}_us" for clock in ("wall", "cpu") for phase in _SPLIT),
        *("memory_bytes", "gpu_bytes"),
    ),
    "scaling": (
        *("over", "num_envs", "num_workers", "num_steps", "steps_per_second", "relative"),
        *(f"{phase}_wall_us" for phase in _SPLIT),
        *("memory_bytes", "gpu_bytes"),
    ),
    "limit": (
        *("variant", "acting_flops", "learning_flops"),
        *("limit_steps_per_second", "steps_per_second", "share"),
    ),
}
# Header, factor from the figure's own unit, format.
_FIGURES = {
    "steps_per_second": ("steps/s", 1.0, "{:,.0f}"),
    "relative": ("ratio", 1.0, "{:.2f}"),
    "batch": ("batch", 1.0, "{:,.0f}"),
    "call_ms": ("ms each", 1.0, "{:.2f}"),
    **{f"{phase}_wall_us": (f"{phase} µs", 1.0, "{:,.0f}") for phase in _SPLIT},
    **{f"{phase}_cpu_us": (f"{phase} CPU µs", 1.0, "{:,.0f}") for phase in _SPLIT},
    "memory_bytes": ("MiB", 2.0**-20, "{:,.0f}"),
    "gpu_bytes": ("GPU MiB", 2.0**-20, "{:,.0f}"),
    "acting_flops": ("acting kFLOP", 1e-3, "{:,.0f}"),
    "learning_flops": ("learning kFLOP", 1e-3, "{:,.0f}"),
    "limit_steps_per_second": ("limit steps/s", 1.0, "{:,.0f}"),
    "share": ("reached", 100.0, "{:.1f} %"),
    "flops_per_second": ("GFLOP/s", 1e-9, "{:,.1f}"),
    "parameters": ("parameters", 1.0, "{:,.0f}"),
}


def headline(figures: Mapping[str, Any]) -> str:
    """The first figure of a measurement, in a few words."""
    name = next(name for name in figures if name in _FIGURES)
    return f"{_cell(name, figures[name])} {_FIGURES[name][0]}"


def tables(document: Mapping[str, Any]) -> Iterator[Table | str]:
    """The variants, then every part that was measured; each a title, a table and a note."""
    rows = [
        {**variant, "parameters": variant["parameters"]["total"], "parts": _parts(variant["parameters"])}
        for variant in document["variants"]
    ]
    yield from ("", "variants", _table("variants", rows))
    for part, about in PARTS.items():
        if found := document.get(part):
            rows = found["variants"] if part == "limit" else found
            note = _rates(found) if part == "limit" else _note(part, found)
            yield from ("", f"{part}: {about}", _table(part, rows), note)


def _table(part: str, rows: Sequence[Row]) -> Table:
    columns = [name for name in _COLUMNS[part] if any(row.get(name) is not None for row in rows)]
    table = Table(box=box.SIMPLE_HEAD)
    for name in columns:
        header = _FIGURES[name][0] if name in _FIGURES else name.removeprefix("num_")
        table.add_column(header, justify="right" if name in _FIGURES else "left")
    for row in rows:
        table.add_row(*(_cell(name, row.get(name)) for name in columns))
    return table


def _cell(name: str, value: Any) -> str:
    """A figure in the column's unit, with the lowest and highest of the rounds where speed is concerned."""
    if value is None:
        return "-"
    if name not in _FIGURES:
        return str(value)
    _, factor, form = _FIGURES[name]
    if not isinstance(value, Mapping):
        return form.format(value * factor)
    text = form.format(value["median"] * factor)
    if name != "steps_per_second" or len(value["rounds"]) < 2:
        return text
    return f"{text} ({form.format(value['low'])} to {form.format(value['high'])})"


def _parts(parameters: Mapping[str, int]) -> str:
    return ", ".join(f"{part} {count:,}" for part, count in parameters.items() if part != "total")


def _note(part: str, rows: Sequence[Row]) -> str:
    compared = {"env": "the fastest", "scaling": "the fastest of its kind"}.get(part, "the first row")
    sources = sorted({row["memory_source"] for row in rows if "memory_source" in row})
    memory = f"; memory of all processes: {', '.join(sources)}" if sources else ""
    return f"ratio: to {compared}; times are per env step{memory}"


def _rates(limit: Mapping[str, Any]) -> str:
    nle, matrix = limit["nle_steps_per_second"], limit["matrix_flops_per_second"]
    rates = [] if nle is None else [f"NLE alone on all cores {_cell('steps_per_second', nle)} steps/s"]
    rates += [] if matrix is None else [f"float32 products {_cell('flops_per_second', matrix)} GFLOP/s"]
    return "; ".join([*rates, "limit: 1 / (1 / NLE + FLOP per env step / products)"])
