"""From the composed jobs of a sweep to its cells: which are one run, and which begins from which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from tedg.config.compose import Composed
from tedg.errors import ConfigError
from tedg.run.identity import parent_of, run_id
from tedg.run.starts import Start, kept_start, place
from tedg.store.rundir import named
from tedg.sweep.cell import Cell, State
from tedg.sweep.names import label, varied, with_telling_name


def plan(jobs: Sequence[Composed]) -> list[Cell]:
    """The cells of `jobs` in their order, each run once, and each after its parent where that is a cell too.

    Raises ConfigError for two jobs that are one run but were given other settings that do not count in a run,
    and for what `run.starts.place` refuses.
    """
    differing = varied([job.overrides for job in jobs])
    jobs = [with_telling_name(job, keys) for job, keys in zip(jobs, differing, strict=True)]
    own = [label(keys) or job.config.name for keys, job in zip(differing, jobs, strict=True)]
    bare = [run_id(job.config, None) for job in jobs]  # without the weights that it begins from
    # A parent may have been given `init_from: none`, which is a fresh start as well.
    by_id = {key: n for n, key in enumerate(bare) if jobs[n].config.init_from == "none"}
    by_id |= {key: n for n, key in enumerate(bare) if jobs[n].config.init_from == "auto"}
    cells: dict[int, Cell] = {}

    def cell(number: int) -> Cell:
        if number not in cells:
            job = jobs[number]
            before = _parent(job, by_id)
            if before is None:
                start, directory = place(job)
                cells[number] = Cell(job, own[number], start.run_id, directory, kept=start.kept)
            else:
                parent = cell(before)
                cells[number] = _child(job, own[number], parent)
        return cells[number]

    return _each_once([cell(number) for number in range(len(jobs))])


def _parent(job: Composed, by_id: dict[str, int]) -> int | None:
    """The job whose weights this one begins from."""
    if job.config.init_from != "auto" or (parent := parent_of(job)) is None:
        return None
    return by_id.get(run_id(parent.config, None))


def _child(job: Composed, label: str, parent: Cell) -> Cell:
    """The run that `job` will be when its parent is done."""
    start = Start.of(job.config, parent.run_id)
    found = start.find([job.root])
    directory = found[1] if found is not None else named(job.root, job.config.name, start.run_id)
    start, directory = kept_start(job, start, directory)
    return Cell(job, label, start.run_id, directory, parent, State.WAITING, kept=start.kept)


def _each_once(cells: list[Cell]) -> list[Cell]:
    """Without those that are an earlier cell's run in other words."""
    first: dict[str, Cell] = {}
    for cell in cells:
        known = first.setdefault(cell.run_id, cell)
        if keys := ", ".join(_differing(known.composed, cell.composed)):
            raise ConfigError(
                f"'{known.label}' and '{cell.label}' are one run ({cell.run_id}): {keys} does not count in a "
                "run; sweep over one value, or give each value a study of its own with paths.study"
            )
    for cell in first.values():
        if cell.parent is not None:
            cell.parent = first[cell.parent.run_id]
    for number, cell in enumerate(first.values(), start=1):
        cell.place = f"{number} of {len(first)}"
    return list(first.values())


def _differing(one: Composed, other: Composed) -> list[str]:
    left, right = asdict(one.config), asdict(other.config)
    return [key for key, value in left.items() if value != right[key] and key != "name"]
