"""What there is of a study: records of runs, cells that are not finished, and the plan it started with."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tedg.config.plan import PlanConfig
from tedg.config.typed import Faults, read
from tedg.errors import ConfigError, StorageError
from tedg.files import kept_in
from tedg.run.record import record_of
from tedg.store.record import RunRecord
from tedg.store.rundir import CHECKPOINTS, MILESTONES, RESULT
from tedg.store.study import plan_digest, read_study
from tedg.study.cells import cells, find_study

_ENDED = ("done", "diverged", "pruned")


@dataclass(frozen=True)
class Planned:
    """The plan's digest and, where study.json tells them, when it was written, with which code, and how many
    runs had ended before.
    """

    digest: str
    written: str | None = None
    training_code: str | None = None
    runs_done_before: int = 0


@dataclass(frozen=True)
class Study:
    """`place` is its folder, as commands take it; `command` is the one that trained it, where that is known.

    `unfinished` are cells as `tedg.study show` prints them, `no_weights` the ids of runs without any here,
    `directories` where the record of each id lies, `cells` are those of `tedg.study.cells`.
    """

    name: str
    place: str
    records: tuple[RunRecord, ...]
    unfinished: tuple[str, ...] = ()
    plan: PlanConfig | None = None
    planned: Planned | None = None
    notes: tuple[str, ...] = ()
    command: str | None = None
    no_weights: frozenset[str] = frozenset()
    directories: Mapping[str, Path] = field(default_factory=dict)
    cells: tuple[Mapping[str, Any], ...] = ()


def find(root: Path, name: str, experiments: Path) -> Study:
    """The study of this name, or in this directory. Raises ConfigError where it has no finished run."""
    folder = find_study(root, name, experiments)
    places = (kept_in(experiments, folder.name), folder / "runs", folder)
    ended = {one.parent.name: one.parent for place in places for one in sorted(place.glob(f"*/{RESULT}"))}
    records: dict[str, RunRecord] = {}
    places_of: dict[str, Path] = {}
    notes = []
    for directory in ended.values():
        try:
            record = record_of(directory)
            records[record.run_id], places_of[record.run_id] = record, directory
        except StorageError as error:
            notes.append(f"a run is left out: {error}")
    every = tuple(cell for cell in cells(folder, experiments) if cell["name"] != "runs")
    unfinished = tuple(f"{cell['label']} ({cell['state']})" for cell in every if not _ended(cell))
    if not records:
        why = f"; not finished: {few(unfinished)}" if unfinished else "; " + notes[0] if notes else ""
        raise ConfigError(f"{folder.name} has no finished run to compare{why}")
    content = read_study(folder)
    plan, planned, more = plan_of(content, list(records.values()))
    counts = Counter(str(directory.parent) for directory in places_of.values())
    if len(counts) > 1:
        notes.append("the runs are " + " and ".join(f"{n} of {place}" for place, n in counts.items()))
    commands = content["commands"]
    return Study(
        folder.name,
        shlex.quote(str(folder)),
        tuple(records.values()),
        unfinished,
        plan,
        planned,
        (*notes, *more),
        commands[-1] if commands else None,
        frozenset(run_id for run_id, place in places_of.items() if not _has_weights(place)),
        places_of,
        every,
    )


def _has_weights(directory: Path) -> bool:
    return any((directory / name).is_dir() for name in (CHECKPOINTS, MILESTONES))


def plan_of(
    content: Mapping[str, Any], records: Sequence[RunRecord]
) -> tuple[PlanConfig | None, Planned | None, list[str]]:
    """The plan of study.json, else the one that all runs carry; what is known of it; what is odd about it.

    The plan that was there first counts. Raises ConfigError for one that cannot be read.
    """
    stored = content.get("plan")
    carried = [one for one in records if one.config.get("plan") is not None]
    if stored is None and not carried:
        return None, None, []
    if stored is None:
        plans = list(dict.fromkeys(map(_plan, carried)))
        if len(plans) > 1:
            keys = ", ".join(dict.fromkeys(key for plan in plans[1:] for key in plans[0].differing(plan)))
            return None, None, [f"the runs carry {len(plans)} different plans (in {keys}), so none counts"]
        content = json.loads(json.dumps(asdict(plans[0])))
        return plans[0], Planned(plan_digest(content)), []
    plan, notes = _read(stored["content"]), []
    for altered in content.get("altered_plans", ()):
        keys = ", ".join(plan.differing(_read(altered["content"])))
        notes.append(
            f"the plan was altered on {altered['written'][:10]} ({keys}; plan {altered['digest'][:10]}); the "
            "first one counts"
        )
    if done := stored.get("runs_done_before"):
        notes.append(f"{count_runs(done)} had ended when the plan was written down")
    known = {
        name: stored[name] for name in ("written", "training_code", "runs_done_before") if name in stored
    }
    return plan, Planned(stored["digest"], **known), notes


def under_plan(record: RunRecord, plan: PlanConfig) -> bool:
    """Whether the run was begun under this plan."""
    return record.config.get("plan") is not None and _plan(record) == plan


def count_runs(count: int) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} run{'s' * (count > 1)}"


def few(names: Sequence[str], most: int = 5) -> str:
    """The first of a list, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _plan(record: RunRecord) -> PlanConfig:
    return _read(record.config["plan"])


def _read(node: Any) -> PlanConfig:
    faults = Faults()
    plan = read(PlanConfig, node, "plan", faults)
    if plan is None:
        raise ConfigError(f"the study's plan cannot be read: {'; '.join(faults.lines)}")
    return plan


def _ended(cell: Mapping[str, Any]) -> bool:
    return cell["state"] in _ENDED
