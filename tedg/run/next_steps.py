"""Which run it is, in a few words, and what can be done when it has ended, as commands to paste."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tedg.config.compose import Composed
from tedg.run.identity import command, tool_command
from tedg.store.rundir import RESULT

GAMES = 200  # of the evaluation that is offered


def title(composed: Composed, cell: str = "") -> str:
    """`cross_attn, seed 3`, or `cross_attn, seed 3, cell 2 of 12` where `cell` is `2 of 12`."""
    fusion = composed.options.get("fusion") or composed.config.name
    parts = (fusion, f"seed {composed.config.seed}", f"cell {cell}" if cell else "")
    return ", ".join(part for part in parts if part)


def after_a_run(composed: Composed, run_dir: Path) -> Iterator[str]:
    """What to do with a run that is finished, a line each."""
    yield "what to do next:"
    yield _line("again", command(composed))
    yield _line("evaluate", tool_command("tedg.evaluate", str(run_dir), "--games", str(GAMES)))
    yield _line("replay", tool_command("tedg.replay", str(run_dir)))
    if len(list(run_dir.parent.glob(f"*/{RESULT}"))) > 1:  # one run has nothing to be compared with
        yield from _of_a_study(run_dir.parent)


def after_a_sweep(study: Path) -> Iterator[str]:
    """What to do with a study whose cells are done, a line each."""
    yield "what to do next:"
    yield _line("evaluate", tool_command("tedg.evaluate", str(study), "--games", str(GAMES)))
    yield from _of_a_study(study)


def _of_a_study(folder: Path) -> Iterator[str]:
    for name in ("compare", "report"):
        yield _line(name, tool_command(f"tedg.{name}", str(folder)))


def _line(name: str, what: str) -> str:
    return f"  {name:<9} {what}"
