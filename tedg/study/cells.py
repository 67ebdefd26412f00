"""What the cells of a study are and how they stand, from study.json and from the runs themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tedg import slurm
from tedg.errors import INTERRUPTED, PREEMPTED, TERMINATED, ConfigError, StorageError
from tedg.files import kept_in, read_json
from tedg.spelling import did_you_mean, did_you_mean_path
from tedg.store.kept import read_kept
from tedg.store.rundir import CHECKPOINTS, CONFIG, PROVENANCE, RESULT, owner, read_config
from tedg.store.study import LOGS, read_study, told_by_job

_UNSETTLED = ("pending", "running", "elsewhere")
_OPEN = (*_UNSETTLED, "queued", "waiting")
_SIGNALS = (PREEMPTED, INTERRUPTED, TERMINATED)
Jobs = Mapping[str, slurm.Job]

_END = 20  # lines of a log that are shown


def studies(root: Path, experiments: Path) -> list[Path]:
    """Folders in `root` of studies with runs there, or kept ones; ConfigError where there is no `root`."""
    kept = [path.name for path in _folders(experiments) if _runs(kept_in(experiments, path.name))]
    if not root.is_dir() and not kept:
        raise ConfigError(f"there is no folder {root}; --root names the one that holds the studies")
    own = [path.name for path in _folders(root) if _runs(path) or read_study(path)["cells"]]
    return [root / name for name in sorted({*own, *kept})]


def find_study(root: Path, name: str, experiments: Path) -> Path:
    """The folder of a study: its name below `root`, or its path; ConfigError naming the nearest one.

    There is no such folder yet where all runs of the study are kept ones.
    """
    for path in (root / name, Path(name)):
        if path.is_dir():
            return path
    if kept_in(experiments, name).is_dir():
        return root / name
    near = did_you_mean_path(name, known=[*studies_in(root), *studies_in(experiments)])
    raise ConfigError(f"there is no study {name} in {root}{near}")


def studies_in(root: Path) -> list[str]:
    """Names of the folders in `root`."""
    return [path.name for path in _folders(root)]


def cells(study: Path, experiments: Path) -> list[dict[str, Any]]:
    """Every cell of a study in the order of its sweeps, then runs that are in no study.json.

    Keys are those of study.json with `name` (of the directory) and `bytes`. A state is what the run itself
    or SLURM says, where that is more than the study knows: a driver may have gone. Where it has no result and
    one is kept, `kept` says where, and the state is that one's. Raises StorageError.
    """
    known = read_study(study)["cells"]
    kept = {path.name: path for path in _runs(kept_in(experiments, study.name))}
    others = dict.fromkeys(path.name for path in (*_runs(study), *kept.values()) if path.name not in known)
    in_slurm = any(entry.get("job") and entry.get("state") in _OPEN for entry in known.values())
    jobs = slurm.jobs() if in_slurm else {}
    entries = known | {name: {} for name in others}
    found = [_cell(study, name, entry, jobs) for name, entry in entries.items()]
    return [_with_kept(cell, kept.get(cell["name"])) for cell in found]


def find_cell(study: Path, asked: str, experiments: Path) -> dict[str, Any]:
    """The cell with this label, directory or id, or part of a label; ConfigError where it is not one."""
    every = cells(study, experiments)
    for key in ("label", "name", "run_id"):
        exact = [cell for cell in every if cell[key] == asked]
        if len(exact) == 1:
            return exact[0]
    words = asked.split()
    matching = [cell for cell in every if all(word in cell["label"].split() for word in words)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        labels = "; ".join(cell["label"] for cell in matching[:5])
        raise ConfigError(
            f"'{asked}' fits {len(matching)} cells of {study.name}: {labels}; say more of its label"
        )
    near = did_you_mean(asked, [cell[key] for key in ("label", "name", "run_id") for cell in every])
    raise ConfigError(f"{study.name} has no cell '{asked}'{near}; `show {study.name}` lists them")


def log_end(cell: dict[str, Any], lines: int = _END) -> list[str]:
    """The last lines that its processes printed; none where there is no log."""
    if not cell["log"]:
        return []
    try:
        with Path(cell["log"]).open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - (1 << 16), 0))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def checkpoint_bytes(cell: dict[str, Any]) -> int:
    """Size of its checkpoints on the disk."""
    return _size(Path(cell["directory"]) / CHECKPOINTS)


def _cell(study: Path, name: str, entry: dict[str, Any], jobs: Jobs | None) -> dict[str, Any]:
    # Where the study was moved, its cells were too.
    inside = study / name
    directory = inside if inside.is_dir() or "directory" not in entry else Path(entry["directory"])
    log = study / LOGS / f"{name}.log"
    cell = {
        "name": name,
        **dict.fromkeys(
            (
                "label",
                "run_id",
                "seed",
                "env_steps",
                "total_env_steps",
                "score",
                "seconds",
                "parent",
                "driver",
                "job",
                "working_directory",
            )
        ),
        "state": "unknown",
        "reason": "",
        "check_failed": False,
        "attempts": 0,
        "arguments": [],
        **entry,
        "directory": str(directory),
        "log": str(log) if log.is_file() else "",
        "bytes": _size(directory),
    }
    cell["label"] = cell["label"] or name
    cell["run_id"] = cell["run_id"] or name.rpartition("-")[2]
    return cell | _as_the_run_says(directory, cell, jobs)


def _as_the_run_says(directory: Path, cell: dict[str, Any], jobs: Jobs | None) -> dict[str, Any]:
    try:
        result = read_json(directory / RESULT)
    except StorageError as error:
        return {"state": "failed", "reason": str(error)}
    if result is not None:
        return _ended(result)
    if cell["job"] and cell["state"] in _OPEN:
        return _as_slurm_says(directory, cell, jobs)
    if (process := owner(directory)) is not None:
        return {"state": "running", "reason": f"by {process}"}
    if cell["state"] in _UNSETTLED:
        return {"state": "lost", "reason": "its process is gone, and so is the driver that would say why"}
    if cell["state"] in ("done", "diverged"):
        return {"state": "queued", "reason": "its result was removed"}
    if cell["state"] == "unknown" and (directory / PROVENANCE).is_file():
        return {"state": "stopped", "reason": "it has begun and not ended"}
    return {}


def _ended(result: Mapping[str, Any]) -> dict[str, Any]:
    diverged = result.get("status") == "diverged"
    policy = (result.get("evaluation") or {}).get("policy") or {}
    return {
        "state": "diverged" if diverged else "done",
        "reason": str(result.get("reason") or "") if diverged else "",
        "env_steps": result.get("env_steps"),
        "total_env_steps": result.get("total_env_steps"),
        "score": policy.get("mean_score"),
    }


def _with_kept(cell: dict[str, Any], kept: Path | None) -> dict[str, Any]:
    """The cell as its kept result says, where it has none of its own."""
    if kept is None or cell["state"] in ("pending", "running") or (Path(cell["directory"]) / RESULT).exists():
        return {**cell, "kept": None}
    if not Path(cell["directory"]).is_dir():
        cell = {**cell, "directory": str(kept), "bytes": _size(kept)}
    try:
        said = {"seed": read_config(kept).get("seed"), **_ended(read_kept(kept))}
    except StorageError as error:
        said = {"state": "failed", "reason": str(error)}
    return {**cell, **said, "kept": str(kept)}


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _as_slurm_says(directory: Path, cell: dict[str, Any], jobs: Jobs | None) -> dict[str, Any]:
    """How a cell stands that had a job, and was not settled when its driver last looked."""
    number = cell["job"]
    told = told_by_job(directory.parent, cell["name"], number) or {}
    reached = {key: told[key] for key in ("env_steps", "score") if told.get(key) is not None}
    if jobs is None:
        return {**reached, "reason": f"job {number}; SLURM does not answer here"}
    job = jobs.get(number)
    if job is not None and not job.ended:
        waits = job.state == "PENDING"
        reason = f"job {number}, {job.reason}" if waits and job.reason else f"job {number}"
        return {**reached, "state": "pending" if waits else "running", "reason": reason}
    code = told.get("code")
    if cell["state"] not in _UNSETTLED:
        return {}  # the job was an earlier one
    if code is None or code in _SIGNALS or (job is not None and job.state == "CANCELLED"):
        ended = "is gone" if job is None else f"has ended as {job.state}"
        return {**reached, "state": "lost", "reason": f"its job {number} {ended}"}
    return {**reached, "state": "failed", "reason": told.get("message") or f"ended with exit code {code}"}


def _runs(study: Path) -> list[Path]:
    return sorted(path.parent for path in study.glob(f"*/{CONFIG}"))


def _size(folder: Path) -> int:
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(Path(entry.path))
                else:
                    yield entry.stat(follow_symlinks=False).st_size
    except OSError:
        return
