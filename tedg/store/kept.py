"""Results that are kept in experiments/<study>/runs/: what a comparison of runs needs, without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tedg.errors import StorageError
from tedg.files import read_json
from tedg.store.results import result_faults
from tedg.store.rundir import CHECK, RESULT, read_config, read_provenance


def read_kept(directory: Path) -> dict[str, Any]:
    """The result of a kept run.

    Raises StorageError, naming the file, where one is damaged, is of another run, or has fewer rows than the
    result counts: such a run is not done.
    """
    from tedg.store.games import read_games  # imports numpy, which a list of studies must not wait for
    from tedg.store.tables import read_metrics

    try:
        result = read_json(directory / RESULT)
        if result is None:
            raise StorageError(f"{directory} has no {RESULT}")
        for fault in result_faults(result):
            raise StorageError(f"{directory / RESULT} is damaged: {fault}")
        run_id = directory.name.rpartition("-")[2]
        if result.get("run_id") != run_id:
            raise StorageError(f"{directory / RESULT} is of run {result.get('run_id')}")
        read_config(directory)
        provenance = read_provenance(directory)
        if provenance is not None and provenance["run_id"] != run_id:
            raise StorageError(f"{directory}/provenance.json is of run {provenance['run_id']}")
        if (games := read_games(directory)) is not None:
            for player, row in result.get("evaluation", {}).items():
                if len(games.get(player, {})) < row["games"]:
                    raise StorageError(f"{directory}/games.csv has fewer games of {player} than {RESULT}")
        metrics = directory / "metrics.jsonl"
        if metrics.exists() and len(read_metrics(metrics)) != result.get("updates"):
            raise StorageError(f"{metrics} has another number of updates than {RESULT}")
        read_check(directory)
    except StorageError as error:
        raise StorageError(
            f"a kept result is damaged: {error}; bring the file back, or remove {directory} to train the run "
            "again"
        ) from None
    return result


def read_check(directory: Path) -> bool | None:
    """Whether the run passed its check; None where none is kept. Raises StorageError."""
    check = read_json(directory / CHECK)
    if check is None:
        return None
    if not isinstance(check.get("passed"), bool):
        raise StorageError(f"{directory / CHECK} does not say whether the run passed")
    return bool(check["passed"])
