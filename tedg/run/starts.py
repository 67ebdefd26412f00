"""Where a run's first weights come from: settles `init_from` before the run is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tedg.config.compose import Composed
from tedg.config.run_config import RunConfig
from tedg.errors import ConfigError
from tedg.run.identity import earlier_id, parent_command, parent_of, run_id, weights_digest
from tedg.store.results import read_result
from tedg.store.rundir import RESULT, WEIGHTS, find, named, read_provenance

ANEW = "paths.experiments_dir=null"  # with it, a run does not look for a result that is kept


@dataclass(frozen=True, slots=True)
class Start:
    """One way to begin a run, and the run id that this makes."""

    run_id: str
    earlier_id: str  # which the run has if it was begun when more keys counted (see `identity.MEASURED`)
    parent: str | None = None  # run id, or digest of weights, that the first weights come from; None: fresh
    directory: Path | None = None  # run directory that holds those weights
    note: str | None = None  # what to tell the user about it
    kept: Path | None = None  # where the run's result is kept without its weights: it is done

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


def possible_starts(composed: Composed, places: Sequence[Path]) -> list[Start]:
    """Every way this run may have begun or may begin now, the preferred one first.

    `init_from: auto` takes the weights of the parent stage's run if that is finished in one of `places`,
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
    found = list(_finished(parent_run, places))
    own, before = config.stage["name"], config.stage["parent"]
    kept = _kept_chain(parent_run)
    inherited = [
        Start.of(config, start.run_id, path, f"stage {own} continues from {path}") for start, path in found
    ]
    note = (
        f"stage {own} starts with fresh weights: no finished run of stage {before} with these settings is in "
        f"{' or '.join(str(root) for root in places)}"
        + (f" (its result is kept in {kept[1]}, without weights)" if kept else "")
        + f"; to make it: {parent_command(composed, *([ANEW] if kept else []))}"
    )
    return [*inherited, replace(fresh, note=note)]


def place(composed: Composed) -> tuple[Start, Path]:
    """The start to take, and the run's directory. A run that has begun keeps its start.

    Where its result is kept elsewhere and not in that directory, the start says so. Raises ConfigError for a
    directory that holds another run, and for a path that has no weights.
    """
    config = composed.config
    own = composed.root
    starts = possible_starts(composed, roots(composed))
    if config.run_dir is not None:
        run_dir = Path(config.run_dir).expanduser()
        return _start_in(run_dir, starts), run_dir
    # The preferred start first; another one only where a run that has it is still half done.
    for start in starts:
        existing = start.find([own])
        if existing is not None and (start is starts[0] or not (existing[1] / RESULT).exists()):
            return kept_start(composed, *existing)
    # Even if the parent's weights are not here, the run that began from them may be among the kept ones.
    chained = _kept_chain(composed) if starts[0].parent is None and config.init_from == "auto" else None
    if chained is not None:
        return _as_kept(composed, *chained)
    return kept_start(composed, starts[0], named(own, config.name, starts[0].run_id))


def kept_start(composed: Composed, start: Start, run_dir: Path) -> tuple[Start, Path]:
    """The start and its directory, which takes the name of a kept one where it has no result itself."""
    places = _places_of_kept(composed)
    if (run_dir / RESULT).exists() or (found := start.find(places)) is None:
        return start, run_dir
    return _as_kept(composed, *found)


def _as_kept(composed: Composed, start: Start, directory: Path) -> tuple[Start, Path]:
    return replace(start, kept=directory), composed.root / directory.name


def _kept_chain(composed: Composed) -> tuple[Start, Path] | None:
    """Where the run is kept that began from its parent stage's run, which began from its own, and so on."""
    places = _places_of_kept(composed)
    return _chain(composed).find(places) if places else None


def _chain(composed: Composed) -> Start:
    """The start from the parent stage's run, which began from its own parent's, and so on."""
    parent = parent_of(composed)
    return Start.of(composed.config, None if parent is None else _chain(parent).run_id)


def _places_of_kept(composed: Composed) -> list[Path]:
    folder = composed.kept_root
    return [folder] if folder is not None and folder.is_dir() else []


def roots(composed: Composed) -> list[Path]:
    """Where the run itself and its parent are looked for."""
    output_dir = Path(composed.config.paths.output_dir).expanduser()
    return list(dict.fromkeys([composed.root, output_dir]))


def _start_in(run_dir: Path, starts: list[Start]) -> Start:
    holds = read_provenance(run_dir)
    if holds is None:
        return starts[0]
    for start in starts:
        if holds["run_id"] in (start.run_id, start.earlier_id):
            return replace(start, run_id=holds["run_id"])
    raise ConfigError(
        f"run_dir={run_dir}: holds another run ({holds['run_id']}; this configuration is "
        f"{starts[0].run_id}); choose another directory"
    )


def is_finished(directory: Path) -> bool:
    """Whether a run's result is there and says that training reached its end. Raises StorageError."""
    result = read_result(directory)
    return result is not None and result["status"] == "finished"


def _finished(composed: Composed, places: Sequence[Path]) -> Iterator[tuple[Start, Path]]:
    for start in possible_starts(composed, places):
        found = start.find(places)
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
