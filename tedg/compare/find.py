"""What there is of a study: records of runs, cells that are not finished, and the plan it started with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedg.config.plan import PlanConfig
from tedg.config.typed import Faults, read
from tedg.errors import ConfigError, StorageError
from tedg.files import kept_in
from tedg.run.record import record_of
from tedg.store.record import RunRecord
from tedg.store.rundir import RESULT
from tedg.store.study import read_study
from tedg.study.cells import cells, find_study

_ENDED = ("done", "diverged", "pruned")


@dataclass(frozen=True)
class Study:
    """`place` is its folder, as commands take it. `unfinished` are cells as `tedg.study show` prints them;
    `planned_code` is the digest of the code when the plan was written, None where that is unknown.
    """

    name: str
    place: str
    records: tuple[RunRecord, ...]
    unfinished: tuple[str, ...] = ()
    plan: PlanConfig | None = None
    planned_code: str | None = None
    notes: tuple[str, ...] = ()
    command: str | None = None  # that trained it, where that is known


def find(root: Path, name: str, experiments: Path) -> Study:
    """The study of this name, or in this directory. Raises ConfigError where it has no finished run."""
    folder = find_study(root, name, experiments)
    places = (kept_in(experiments, folder.name), folder / "runs", folder)
    ended = {one.parent.name: one.parent for place in places for one in sorted(place.glob(f"*/{RESULT}"))}
    records: dict[str, RunRecord] = {}
    notes = []
    for directory in ended.values():
        try:
            record = record_of(directory)
            records[record.run_id] = record
        except StorageError as error:
            notes.append(f"a run is left out: {error}")
    every = cells(folder, experiments)
    unfinished = tuple(f"{c['label']} ({c['state']})" for c in every if not _ended(c) and c["name"] != "runs")
    if not records:
        why = f"; not finished: {few(unfinished)}" if unfinished else "; " + notes[0] if notes else ""
        raise ConfigError(f"{folder.name} has no finished run to compare{why}")
    content = read_study(folder)
    plan, code, more = plan_of(content, list(records.values()))
    commands = content["commands"]
    return Study(
        folder.name,
        shlex.quote(str(folder)),
        tuple(records.values()),
        unfinished,
        plan,
        code,
        (*notes, *more),
        *(commands[-1:] if commands else ()),
    )


def plan_of(
    content: Mapping[str, Any], records: Sequence[RunRecord]
) -> tuple[PlanConfig | None, str | None, list[str]]:
    """The plan of study.json, else the one that all runs carry; the code then; what is odd about it.

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
        return plans[0], None, []
    plan, notes = _read(stored["content"]), []
    for altered in content.get("altered_plans", ()):
        keys = ", ".join(plan.differing(_read(altered["content"])))
        notes.append(f"the plan was altered on {altered['written'][:10]} ({keys}); the first one counts")
    return plan, stored.get("training_code"), notes


def under_plan(record: RunRecord, plan: PlanConfig) -> bool:
    """Whether the run was begun under this plan."""
    return record.config.get("plan") is not None and _plan(record) == plan


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
