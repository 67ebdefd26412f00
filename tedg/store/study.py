"""study.json: what the cells of a study are, and how they stood when a sweep last said so.

Several sweeps may share a study, at once too. Each writes its own cells and leaves the others' as they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tedg.errors import StorageError
from tedg.files import read_json, write_json

STUDY = "study.json"
LOGS = "logs"  # one file for each cell, by the name of its directory
JOBS = "slurm"  # what jobs of SLURM tell of each cell, and what they were submitted with
_LOCK = "study.lock"
_COMMANDS = 10  # that are kept


def read_study(folder: Path) -> dict[str, Any]:
    """{"commands": [...], "cells": {name of its directory: cell}}; empty ones where there is no study.json.

    Raises StorageError for a file that holds anything else.
    """
    path = folder / STUDY
    content = read_json(path)
    if content is None:
        return {"commands": [], "cells": {}}
    cells, commands = content.get("cells"), content.get("commands")
    whole = isinstance(cells, dict) and all(isinstance(cell, dict) for cell in cells.values())
    if not whole or not isinstance(commands, list):
        raise StorageError(f"{path} is damaged: it needs cells and commands; remove it, the runs stay")
    return content


def add_to_study(folder: Path, command: str, cells: Mapping[str, Mapping[str, Any]]) -> None:
    """Write these cells and the command that trains them into study.json. Raises StorageError."""
    with _alone(folder):
        content = read_study(folder)
        commands = [*(known for known in content["commands"] if known != command), command]
        content["commands"] = commands[-_COMMANDS:]
        for name, cell in cells.items():
            content["cells"][name] = {**content["cells"].get(name, {}), **cell}
        write_json(folder / STUDY, content)


def keep_plan(folder: Path, plan: Mapping[str, Any], training_code: str, done: int) -> None:
    """Write down the plan that a study starts with, and the code; a later, different one is kept beside it.

    `done` is how many of its runs had ended before. Raises StorageError.
    """
    plain = json.loads(json.dumps(plan))  # tuples become lists, as they are read back
    with _alone(folder):
        content = read_study(folder)
        known = [content["plan"], *content.get("altered_plans", ())] if "plan" in content else []
        if any(entry["content"] == plain for entry in known):
            return
        entry = {
            "digest": plan_digest(plain),
            "content": plain,
            "training_code": training_code,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "runs_done_before": done,
        }
        if known:
            content.setdefault("altered_plans", []).append(entry)
        else:
            content["plan"] = entry
        write_json(folder / STUDY, content)


def plan_digest(plan: Mapping[str, Any]) -> str:
    """The same for equal plans alone, wherever they are kept."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def steps(own: int | None, total: int | None) -> str:
    """A cell's env steps in a table, and those with the stages before it where that is more."""
    text = "-" if own is None else f"{own:,}"
    return text if total in (None, own) else f"{text} ({total:,} in all)"


@contextmanager
def recorded_jobs(folder: Path) -> Iterator[dict[str, str]]:
    """The SLURM job of each cell by the name of its directory. Nobody else submits any meanwhile.

    What is changed in it is kept, however the block ends. Raises StorageError.
    """
    with _alone(folder):
        content = read_study(folder)
        before = {name: cell["job"] for name, cell in content["cells"].items() if cell.get("job")}
        jobs = dict(before)
        try:
            yield jobs
        finally:
            for name in [name for name, job in jobs.items() if job != before.get(name)]:
                content["cells"].setdefault(name, {})["job"] = jobs[name]
            if jobs != before:
                write_json(folder / STUDY, content)


def told_by_job(folder: Path, name: str, job: str) -> dict[str, Any] | None:
    """What this job has told of the cell (see sweep/slurm_job.py); None if it has told nothing."""
    try:
        content = read_json(job_report(folder, name))
    except StorageError:
        return None
    return content if content is not None and content.get("job") == job else None


def job_name(folder: Path) -> str:
    """What all jobs of the study are called in SLURM."""
    return f"tedg-{folder.name}"


def job_report(folder: Path, name: str) -> Path:
    """The file in which jobs tell of the cell whose directory has this name."""
    return folder / JOBS / f"{name}.json"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else changes the file meanwhile."""
    try:
        file = (folder / _LOCK).open("a")
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror}") from None
    with file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
