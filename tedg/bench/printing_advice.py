"""The advice for people: what was tried, what to take, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from tedg.bench.advice import (
    LEAST_GAIN,
    STUDY_CELLS,
    STUDY_STEPS,
    Advice,
    Tried,
    cells_that_fit,
    study_hours,
)
from tedg.bench.advise import Findings

_GIB = 2**30


def advice_lines(found: Findings) -> Iterator[Table | str]:
    """Two parts, each a table and what follows from it; last what all of it depends on."""
    parts = found.advice()
    yield from ("", "one run", _table(found.one_run, parts["one run"], sweep=False))
    yield from _taken(parts["one run"], found.one_run)
    sweep = parts["a sweep"]
    yield from ("", "a sweep", _table(found.sweep, sweep, sweep=True))
    yield from _taken(sweep, found.sweep)
    fits = cells_that_fit(found.free_bytes, sweep.best.memory_bytes)
    yield (
        f"memory: {found.free_bytes / _GIB:.1f} GiB were free, enough for {fits} cells of "
        f"{sweep.best.memory_bytes / _GIB:.1f} GiB at once"
    )
    yield (
        f"a study of {STUDY_CELLS} cells of {STUDY_STEPS:,} env steps trains for "
        f"{study_hours(sweep.best):.1f} hours at this rate, {sweep.best.cells} at once"
    )
    yield from ("", _conditions(found))


def _table(tried: Sequence[Tried], advice: Advice, sweep: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("settings", *(("cells at once", "cores each") if sweep else ())):
        table.add_column(name)
    for name in (
        "steps/s" + (" of all" if sweep else ""),
        "GiB each" if sweep else "GiB",
        "best is faster by",
    ):
        table.add_column(name, justify="right")
    for one in tried:
        rate = f"{one.rate:,.0f} ({min(one.rounds):,.0f} to {max(one.rounds):,.0f})"
        gain = "best" if one is advice.best else f"{100 * (advice.best.rate / one.rate - 1):+.0f} %"
        sizes = (str(one.cells), str(one.cores)) if sweep else ()
        gain += " (too large)" if one in advice.too_large else ""
        table.add_row(_name(one), *sizes, rate, f"{one.memory_bytes / _GIB:.1f}", gain)
    return table


def _taken(advice: Advice, tried: Sequence[Tried]) -> Iterator[str]:
    best = advice.best
    size = f"{best.rate:,.0f} steps/s, {best.memory_bytes / _GIB:.1f} GiB" + (" each" * (best.cells > 1))
    if best.settings:
        yield f"take: {' '.join(best.settings)}   ({size})"
    else:
        yield f"the defaults are best here ({size})"
    if len(tried) == 1:
        return
    close = f"; as good within noise: {', '.join(map(_name, advice.close))}" if advice.close else ""
    yield (
        f"noise: two rounds of the same differed by up to {100 * advice.noise:.0f} %; better is whose "
        f"slowest round is by {100 * LEAST_GAIN:.0f} % above the fastest of the other{close}"
    )


def _name(one: Tried) -> str:
    return " ".join(one.settings) or "defaults"


def _conditions(found: Findings) -> str:
    machine = f"{found.cores} cores" + (f", {len(found.gpus)} GPUs" if found.gpus else "")
    text = f"These figures hold on this machine ({machine}) if nothing else runs."
    if found.load >= 0.5:
        text += f" Something did (load {found.load:.1f} at the start): repeat it when the machine is idle."
    return text
