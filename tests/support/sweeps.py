"""A launcher without processes, and the cells that it plays with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

from support.settings import FASTEST, TINY
from tedg.config.compose import Composed, compose_all
from tedg.envs.observation import EpisodeEnd
from tedg.files import read_json, write_json, write_text
from tedg.run.starts import place
from tedg.signals import StopFlag
from tedg.store import rundir
from tedg.store.games import write_games
from tedg.sweep.cell import Cell
from tedg.sweep.launcher import Ended, Progress
from tedg.sweep.plan import plan
from tedg.sweep.scheduler import Scheduler, settle_known

PLACES = {"output": "outputs", "multirun": "multirun", "experiments": "experiments"}


@cache
def _composed(overrides: tuple[str, ...]) -> list[Composed]:
    # The smallest hypergraph, because it is read anew for each id.
    return compose_all([*TINY, *FASTEST, "env.hypergraph=probe", *overrides], True)


def jobs(root: Path, *overrides: str, seeds: int = 1) -> list[Composed]:
    """The jobs of a sweep over `overrides`, each with so many seeds, that writes below `root`."""

    def job(one: Composed, seed: int) -> Composed:
        own = {f"{name}_dir": f"{root}/{place}" for name, place in PLACES.items()}
        paths = replace(one.config.paths, study="mine", **own)
        config = replace(one.config, seed=seed, paths=paths)
        resolved = {**one.resolved, "seed": seed, "paths": asdict(paths)}
        return replace(one, config=config, resolved=resolved, overrides=(*one.overrides, f"seed={seed}"))

    return [job(one, seed) for one in _composed(overrides) for seed in range(seeds)]


def finish(cell: Cell, status: str = "finished") -> None:
    """What a run leaves that has ended."""
    start, directory = place(cell.composed)
    directory.mkdir(parents=True, exist_ok=True)
    config = {key: cell.composed.saved[key] for key in ("name", "env", "ppo", "budget", "stage", "eval")}
    write_text(directory / rundir.CONFIG, json.dumps({**config, "seed": cell.composed.config.seed}))
    provenance = {"run_id": start.run_id, "parent": start.parent, "sessions": [{}]}
    write_json(directory / rundir.PROVENANCE, provenance)
    result = {"run_id": start.run_id, "status": status, "env_steps": 128, "reason": "NaN everywhere"}
    write_json(directory / rundir.RESULT, result)


def with_games(job: Composed, count: int) -> Composed:
    """The same job with so many held-out games of the policy alone."""
    return replace(job, config=replace(job.config, eval=replace(job.config.eval, games=count, players=())))


def add_games(directory: Path, count: int, score: float = 2.0) -> None:
    """What a run leaves that has played so many held-out games, with a row of metrics."""
    games = {
        seed: EpisodeEnd(0, seed, 9, score, score, 1, 9, "death") for seed in range(500000, 500000 + count)
    }
    write_games(directory, {"policy": games})
    row = {"games": count, "mean_score": score, "standard_error": None}
    result = read_json(directory / "result.json") or {}
    write_json(directory / "result.json", {**result, "updates": 1, "evaluation": {"policy": row}})
    metrics = {"update": 1, "env_steps": 128, "loss/total": 1.0, "rollout/mean_score": 0.1}
    (directory / "metrics.jsonl").write_text(json.dumps(metrics) + "\n")


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
