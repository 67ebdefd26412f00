"""Where a run's first weights come from: settles `init_from` before the run is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tedg.config.compose import Composed
from tedg.config.run_config import RunConfig
from tedg.run.identity import earlier_id, parent_command, parent_of, run_id, weights_digest
from tedg.store.results import read_result
from tedg.store.rundir import WEIGHTS, find, read_provenance


@dataclass(frozen=True, slots=True)
class Start:
    """One way to begin a run, and the run id that this makes."""

    run_id: str
    earlier_id: str  # which the run has if it was begun when more keys counted (see `identity.MEASURED`)
    parent: str | None = None  # run id, or digest of weights, that the first weights come from; None: fresh
    directory: Path | None = None  # run directory that holds those weights
    note: str | None = None  # what to tell the user about it

    @staticmethod
    def of(
        config: RunConfig, parent: str | None, directory: Path | None = None, note: str | None = None
    ) -> Start:
        """The start from `parent` with the ids that it makes."""
        return Start(run_id(config, parent), earlier_id(config, parent), parent, directory, note)

    def find(self, roots: Sequence[Path]) -> tuple[Start, Path] | None:
        """The run's directory in one of `roots`, and this start with the id that the run has there."""
        for known in (self.run_id, self.earlier_id):
            if (path := find(roots, known)) is not None:
                return replace(self, run_id=known), path
        return None


def possible_starts(composed: Composed, roots: Sequence[Path]) -> list[Start]:
    """Every way this run may have begun or may begin now, the preferred one first.

    `init_from: auto` takes the weights of the parent stage's run if that is finished in one of `roots`,
    and starts fresh otherwise. Raises ConfigError for a path that has no weights.
    """
    config = composed.config
    fresh = Start.of(config, None)
    if config.init_from == "none":
        return [fresh]
    if config.init_from != "auto":
        directory = Path(config.init_from)
        parent = _identity(directory)
        return [Start.of(config, parent, directory)]
    parent_run = parent_of(composed)
    if parent_run is None:
        return [fresh]
    found = list(_finished(parent_run, roots))
    own, before = config.stage["name"], config.stage["parent"]
    inherited = [
        Start.of(config, start.run_id, path, f"stage {own} continues from {path}") for start, path in found
    ]
    note = (
        f"stage {own} starts with fresh weights: no finished run of stage {before} with these settings is in "
        f"{' or '.join(str(root) for root in roots)}; to make it: {parent_command(composed)}"
    )
    return [*inherited, replace(fresh, note=note)]


def is_finished(directory: Path) -> bool:
    """Whether a run's result is there and says that training reached its end. Raises StorageError."""
    result = read_result(directory)
    return result is not None and result["status"] == "finished"


def _finished(composed: Composed, roots: Sequence[Path]) -> Iterator[tuple[Start, Path]]:
    for start in possible_starts(composed, roots):
        found = start.find(roots)
        if found is not None and is_finished(found[1]):
            yield found


def _identity(source: Path) -> str:
    """A finished run's id; of any other run, and of a single checkpoint, a digest of the weights."""
    provenance = read_provenance(source)
    if provenance is not None and is_finished(source):
        return str(provenance["run_id"])
    from tedg.learn.snapshot import (
        weights_in,  # imports torch, which a refused configuration must not wait for
    )

    return weights_digest(weights_in(source) / WEIGHTS)
