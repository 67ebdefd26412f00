"""A launcher without processes, and the cells that it plays with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

from support.settings import FASTEST, TINY
from tedg.config.compose import Composed, compose_all
from tedg.files import write_json, write_text
from tedg.run.starts import place
from tedg.signals import StopFlag
from tedg.store import rundir
from tedg.sweep.cell import Cell
from tedg.sweep.launcher import Ended, Progress
from tedg.sweep.plan import plan
from tedg.sweep.scheduler import Scheduler, settle_known


@cache
def _composed(overrides: tuple[str, ...]) -> list[Composed]:
    # The smallest hypergraph, because it is read anew for each id.
    return compose_all([*TINY, *FASTEST, "env.hypergraph=probe", *overrides], True)


def jobs(root: Path, *overrides: str, seeds: int = 1) -> list[Composed]:
    """The jobs of a sweep over `overrides`, each with so many seeds, that writes below `root`."""

    def job(one: Composed, seed: int) -> Composed:
        paths = replace(
            one.config.paths, output_dir=f"{root}/outputs", multirun_dir=f"{root}/multirun", study="mine"
        )
        config = replace(one.config, seed=seed, paths=paths)
        resolved = {**one.resolved, "seed": seed, "paths": asdict(paths)}
        return replace(one, config=config, resolved=resolved, overrides=(*one.overrides, f"seed={seed}"))

    return [job(one, seed) for one in _composed(overrides) for seed in range(seeds)]


def finish(cell: Cell, status: str = "finished") -> None:
    """What a run leaves that has ended."""
    start, directory = place(cell.composed)
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / rundir.CONFIG, "eval: {first_seed: 500000}\n")
    provenance = {"run_id": start.run_id, "parent": start.parent, "sessions": [{}]}
    write_json(directory / rundir.PROVENANCE, provenance)
    result = {"run_id": start.run_id, "status": status, "env_steps": 128, "reason": "NaN everywhere"}
    write_json(directory / rundir.RESULT, result)


class FakeLauncher:
    """Ends each cell at the turn after its start, as `fates` says of its label, in turn; else it is done.

    A fate is `done`, `diverged`, `killed`, `running` for one turn more, or an exit code and an error's class.
    """

    detached = False

    def __init__(self, room: int, fates: dict[str, list[str]] | None = None) -> None:
        self.room, self.fates = room, fates or {}
        self.started: list[str] = []
        self.stopped = 0
        self._running: list[Cell] = []

    def has_room(self) -> bool:
        return len(self._running) < self.room

    def start(self, cell: Cell) -> None:
        self.started.append(cell.label)
        self._running.append(cell)

    def news(self) -> Iterator[Progress | Ended]:
        for cell in list(self._running):
            fate = (self.fates.get(cell.label) or ["done"]).pop(0)
            if fate == "running":
                yield Progress(cell, 0.5, 64, 1.5)
                continue
            self._running.remove(cell)
            yield self._end(cell, fate)

    def _end(self, cell: Cell, fate: str) -> Ended:
        if self.stopped:
            return Ended(cell, 130, seconds=1)
        if fate == "killed":
            return Ended(cell, None, "SIGKILL", seconds=1)
        if fate in ("done", "diverged"):
            finish(cell, "finished" if fate == "done" else "diverged")
            return Ended(cell, 0 if fate == "done" else 3, seconds=1)
        code, _, kind = fate.partition(" ")
        return Ended(cell, int(code), "", kind, f"{kind}: told" if kind else "", 1)

    def stop(self) -> None:
        self.stopped += 1

    def save(self) -> None:
        raise AssertionError


def sweep(
    all_jobs: Sequence[Composed], launcher: FakeLauncher, retries: int = 2
) -> tuple[dict[str, Cell], list[str]]:
    """Run a sweep to its end; its cells by label, and what was noticed."""
    cells, noticed = plan(all_jobs), []
    settle_known(cells, lambda cell, text: None)
    scheduler = Scheduler(
        cells, launcher, retries, lambda cell, text: noticed.append(f"{cell.label}: {text}")
    )
    stop = StopFlag()
    for _ in range(50):
        if not scheduler.step(stop):
            break
    else:
        raise AssertionError("the sweep does not end")
    return {cell.label: cell for cell in cells}, noticed
