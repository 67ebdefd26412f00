"""A study as pandas frames, for whoever wants other figures than `python -m tedg.compare` gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tedg.errors import ConfigError
from tedg.files import kept_in
from tedg.run.record import record_of
from tedg.store.record import RunRecord
from tedg.store.rundir import CONFIG, RESULT
from tedg.store.tables import read_episodes
from tedg.study.cells import find_study

# What a run's row has besides these: option.<group>, budget.<unit>, parameters.<part>, liveness.<figure>,
# modality.<figure>.
_OF_RUNS = (
    *("run_id", "name", "seed", "status", "parent", "code", "training_code", "env_steps", "total_env_steps"),
    *("max_log_ratio", "flops", "seconds", "device", "precision", "learns"),
)
_GROUPS = {"options": "option", **{name: name for name in ("budget", "parameters", "liveness", "modality")}}


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """The runs of a study that have ended. `run_id` tells in each frame whose row it is."""

    runs: pd.DataFrame  # one row a run
    curves: pd.DataFrame  # env_steps, mean_score, mean_return: a row for each point of each run
    episodes: pd.DataFrame  # training episodes as in episodes.csv; none of runs whose result alone was kept
    games: pd.DataFrame  # held-out games: player, weights, mode, cap, stage, seed, score, ...


def runs(study: str | Path, root: str | Path = "multirun", experiments: str | Path = "experiments") -> Frames:
    """A study by its name below `root` or `experiments`, or by its path.

    A run that lies in both counts once, as it is below `root`. Raises ConfigError where there is no such
    study or no run of it has ended, and StorageError for a damaged file.
    """
    kept = Path(experiments)
    folder = find_study(Path(root), str(study), kept)
    places = [path.parent for one in (kept_in(kept, folder.name), folder) for path in one.glob(f"*/{CONFIG}")]
    found = {path.name: path for path in places if (path / RESULT).is_file()}
    if not found:
        raise ConfigError(f"no run of {folder.name} has ended")
    records = {path: record_of(path) for _, path in sorted(found.items())}
    return Frames(
        runs=pd.DataFrame([_row(path, record) for path, record in records.items()]),
        curves=pd.DataFrame([row for record in records.values() for row in _curve(record)]),
        episodes=pd.DataFrame([row for path, record in records.items() for row in _episodes(path, record)]),
        games=pd.DataFrame([row for record in records.values() for row in _games(record)]),
    )


def _row(path: Path, record: RunRecord) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in _OF_RUNS} | {"directory": str(path)}
    for field, name in _GROUPS.items():
        values: Mapping[str, Any] = getattr(record, field)
        row |= {f"{name}.{key}": value for key, value in values.items()}
    return row


def _curve(record: RunRecord) -> Iterator[dict[str, Any]]:
    columns = asdict(record.curve)
    for values in zip(*columns.values(), strict=True):
        yield {"run_id": record.run_id, **dict(zip(columns, values, strict=True))}


def _episodes(path: Path, record: RunRecord) -> Iterator[dict[str, Any]]:
    table = path / "episodes.csv"
    for row in read_episodes(table) if table.exists() else ():
        yield {"run_id": record.run_id, **row}


def _games(record: RunRecord) -> Iterator[dict[str, Any]]:
    for one in record.evaluations:
        own = {name: getattr(one, name) for name in ("player", "weights", "mode", "cap", "stage")}
        for game in one.games:
            yield {"run_id": record.run_id, **own, **asdict(game)}
