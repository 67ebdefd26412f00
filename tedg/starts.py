"""Where a run's first weights come from: settles `init_from` before the run is named."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tedg.compose import Composed
from tedg.identity import parent_command, parent_of, run_id, weights_digest
from tedg.rundir import RESULT, WEIGHTS, find, read_json, read_provenance


@dataclass(frozen=True, slots=True)
class Start:
    """One way to begin a run, and the run id that this makes."""

    run_id: str
    parent: str | None = None  # run id, or digest of weights, that the first weights come from; None: fresh
    directory: Path | None = None  # run directory that holds those weights
    note: str | None = None  # what to tell the user about it


def possible_starts(composed: Composed, roots: Sequence[Path]) -> list[Start]:
    """Every way this run may have begun or may begin now, the preferred one first.

    `init_from: auto` takes the weights of the parent stage's run if that is finished in one of `roots`,
    and starts fresh otherwise. Raises ConfigError for a path that has no weights.
    """
    config = composed.config
    fresh = Start(run_id(config, None))
    if config.init_from == "none":
        return [fresh]
    if config.init_from != "auto":
        directory = Path(config.init_from)
        parent = _identity(directory)
        return [Start(run_id(config, parent), parent, directory)]
    parent_run = parent_of(composed)
    if parent_run is None:
        return [fresh]
    found = list(_finished(parent_run, roots))
    own, before = config.stage["name"], config.stage["parent"]
    inherited = [
        Start(run_id(config, start.run_id), start.run_id, path, f"stage {own} continues from {path}")
        for start, path in found
    ]
    note = (
        f"stage {own} starts with fresh weights: no finished run of stage {before} with these settings is in "
        f"{' or '.join(str(root) for root in roots)}; to make it: {shlex.join(parent_command(composed))}"
    )
    return [*inherited, Start(fresh.run_id, note=note)]


def is_finished(directory: Path) -> bool:
    """Whether a run's result is there and says that training reached its end."""
    result = read_json(directory / RESULT)
    return result is not None and result.get("status") == "finished"


def _finished(composed: Composed, roots: Sequence[Path]) -> Iterator[tuple[Start, Path]]:
    for start in possible_starts(composed, roots):
        path = find(roots, start.run_id)
        if path is not None and is_finished(path):
            yield start, path


def _identity(source: Path) -> str:
    """A finished run's id; of any other run, and of a single checkpoint, a digest of the weights."""
    provenance = read_provenance(source)
    if provenance is not None and is_finished(source):
        return str(provenance["run_id"])
    from tedg.learn.saving import weights_in  # imports torch, which a refused configuration must not wait for

    return weights_digest(weights_in(source) / WEIGHTS)
