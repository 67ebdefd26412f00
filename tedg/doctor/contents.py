"""What is in a run's directory, or in one checkpoint, and whether it is whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tedg.doctor.line import Line
from tedg.errors import StorageError
from tedg.store import checkpoint, rundir
from tedg.store.conditions import conditions, read_condition
from tedg.store.games import GAMES, read_games
from tedg.store.record import RECORD, read_record
from tedg.store.results import read_result
from tedg.store.tables import read_episodes, read_metrics

_COPY = "bring back a copy of it"


def lines(path: Path) -> Iterator[Line]:
    """What is in it, file by file."""
    yield from of_checkpoint(path) if checkpoint.is_checkpoint(path) else of_run(path)


def of_run(path: Path) -> Iterator[Line]:
    """The files of a run, and whether they fit together."""
    begin = "the run cannot go on without it"
    yield from _file(rundir.CONFIG, lambda: _configuration(path), f"{_COPY}; {begin}")
    yield from _file(rundir.PROVENANCE, lambda: _provenance(path), f"{_COPY}; {begin}")
    if (owner := rundir.owner(path)) is not None:
        yield Line("ok", "in use", f"by {owner}, so what follows may be changing")
    yield from _file(rundir.RESULT, lambda: _result(path), f"{_COPY}, or remove it: the run then goes on")
    yield from _tables(path)
    yield from _file(GAMES, lambda: _games(path), f"{_COPY}, or remove it and ask for the games again")
    for condition in conditions(path):
        name = f"evaluation, cap {condition.cap}"
        yield from _file(name, lambda c=condition: _condition(path, c), f"{_COPY}, or remove that table")  # type: ignore[misc]
    yield from _file(RECORD, lambda: _record(path), "remove it: `python -m tedg.evaluate RUN` writes it anew")
    yield from _checkpoints(path)
    for one in checkpoint.finished(path / rundir.MILESTONES):
        yield from _file(f"milestone {_number(one):,}", lambda p=one: _weights(p), "remove it")  # type: ignore[misc]
    for one in sorted(path.rglob("*.tmp-*")):
        remedy = "the next start of the run removes it, once its writer is gone"
        yield Line("warn", "unfinished", str(one.relative_to(path)), remedy)


def of_checkpoint(path: Path) -> Iterator[Line]:
    """What one checkpoint holds: its tensors by group, and where the run stood."""
    try:
        found = checkpoint.load(path)
    except StorageError as error:
        yield Line("bad", path.name, _after(str(error)), "remove it: a run goes on from the newest whole one")
        return
    yield Line("ok", path.name, f"whole; step {found.step:,}, schema {found.schema}, {_size(path)}")
    if found.meta:
        own = ", ".join(f"{name.replace('_', ' ')} {_short(found.meta[name])}" for name in sorted(found.meta))
        yield Line("ok", "made by", own)
    for group, tensors in sorted(found.tensors.items()):
        numbers = sum(tensor.numel() for tensor in tensors.values())
        strange = [
            name for name, x in tensors.items() if x.is_floating_point() and not bool(x.isfinite().all())
        ]
        said = f"{len(tensors)} tensors, {numbers:,} numbers"
        if strange:
            yield Line(
                "bad", group, f"{said}; not finite: {', '.join(strange[:3])}", "use an earlier checkpoint"
            )
        else:
            yield Line("ok", group, said)
    run = found.state.get("run")
    if isinstance(run, Mapping):
        yield Line("ok", "run", f"after update {run.get('update')}, {run.get('env_steps'):,} env steps")


Found = Callable[[], Line | str | None]


def _file(name: str, look: Found, remedy: str) -> Iterator[Line]:
    """What `look` says of a file; nothing where there is none."""
    try:
        said = look()
    except StorageError as error:
        yield Line("bad", name, str(error).partition("; ")[0], remedy)  # what follows is said below it
        return
    if said is not None:
        yield Line("ok", name, said) if isinstance(said, str) else said


def _configuration(path: Path) -> str:
    config = rundir.read_config(path)
    stage = config.get("stage") or {}
    return f"{config.get('name')}, seed {config.get('seed')}, stage {stage.get('name')}"


def _provenance(path: Path) -> Line | str:
    found = rundir.read_provenance(path)
    if found is None:
        return Line("bad", rundir.PROVENANCE, "is missing", f"{_COPY}; the run would begin anew without it")
    last = found["sessions"][-1]
    differs = (last.get("environment") or {}).get("differs") or {}
    locked = f", not as locked: {', '.join(sorted(differs)[:5])}" if differs else ""
    starts = f"{len(found['sessions'])} start{'s' * (len(found['sessions']) > 1)}"
    return f"run {found['run_id']}, {starts}, the last {last.get('started')} on {last.get('device')}{locked}"


def _result(path: Path) -> Line | str:
    found = read_result(path)
    if found is None:
        remedy = "the command in provenance.json goes on with it"
        return Line("warn", rundir.RESULT, "not there: the run has not ended", remedy)
    if found["status"] == "diverged":
        return Line("warn", rundir.RESULT, f"diverged: {found.get('reason')}", "the reason says what to try")
    score = ((found.get("evaluation") or {}).get("policy") or {}).get("mean_score")
    return f"finished, {found.get('updates')} updates" + (f", held-out score {score:.1f}" if score else "")


def _tables(path: Path) -> Iterator[Line]:
    ends: dict[str, int] = {}
    for name in ("metrics.jsonl", "timing.jsonl", "episodes.csv"):
        own = path / name
        if not own.exists():
            yield Line("bad", name, "is missing", f"{_COPY}; the run cannot go on without it")
            continue
        try:
            rows = read_episodes(own) if own.suffix == ".csv" else read_metrics(own)
        except StorageError as error:
            yield Line("bad", name, str(error), _COPY)
            continue
        content = own.read_bytes()
        updates = [int(row["update"]) if "update" in row else -1 for row in rows]
        ends[name] = updates[-1] if updates else 0
        said = f"{len(rows):,} rows, up to update {ends[name]}"
        if name != "episodes.csv" and updates != list(range(1, len(rows) + 1)):
            yield Line("bad", name, f"{said}: updates are missing or out of order", _COPY)
        elif content and not content.endswith(b"\n"):
            yield Line("warn", name, f"{said}, and a torn line", "nothing: the next start removes it")
        else:
            yield Line("ok", name, said)
    newest = checkpoint.finished(path / rundir.CHECKPOINTS)
    if newest and "metrics.jsonl" in ends and ends["metrics.jsonl"] < _number(newest[-1]):
        said = f"ends before the newest checkpoint, that of update {_number(newest[-1])}"
        yield Line("bad", "metrics.jsonl", said, f"{_COPY}; the run cannot go on without those rows")


def _checkpoints(path: Path) -> Iterator[Line]:
    folder = path / rundir.CHECKPOINTS
    found = checkpoint.finished(folder)
    if not found:
        ended = (path / rundir.RESULT).exists()
        said = "none" + (
            ": the run can be shown, and cannot play" if ended else ": the run begins from the start"
        )
        yield Line("warn", rundir.CHECKPOINTS, said)
        return
    best = checkpoint.best(folder)
    whole = 0
    for one in found:
        try:
            checkpoint.load(one)
        except StorageError as error:
            other = "remove it: the run goes on from the newest whole one"
            yield Line("bad", one.name, _after(str(error)), other if len(found) > 1 else _COPY)
            continue
        whole += 1
        marks = [
            word for word, yes in (("newest", one == found[-1]), ("best", best and one == best[0])) if yes
        ]
        yield Line("ok", one.name, ", ".join(["whole", _size(one), *marks]))
    if not whole:
        remedy = f"bring one back, or remove {folder} to start from scratch"
        yield Line("bad", rundir.CHECKPOINTS, f"none of {len(found)} can be read", remedy)


def _weights(path: Path) -> str:
    return f"whole, {len(checkpoint.load(path).tensors.get('model', {}))} tensors, {_size(path)}"


def _games(path: Path) -> Line | str | None:
    found = read_games(path)
    if found is None and _played(path):
        return Line("warn", GAMES, f"is missing, and {rundir.RESULT} counts games", _COPY)
    return None if found is None else _counts({name: len(games) for name, games in found.items()})


def _played(path: Path) -> bool:
    """Whether a result that can be read has held-out games."""
    try:
        return bool((read_result(path) or {}).get("evaluation"))
    except StorageError:
        return False


def _condition(path: Path, condition: Any) -> str:
    _, games = read_condition(path, condition)
    return f"{len(games)} games of the policy, weights {condition.weights}, {condition.mode}"


def _record(path: Path) -> str | None:
    found = read_record(path)
    return None if found is None else _counts({one.player: len(one.games) for one in found.evaluations})


def _counts(games: Mapping[str, int]) -> str:
    return ", ".join(f"{count} games of {name}" for name, count in games.items()) or "no games"


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _after(message: str) -> str:
    """What is wrong with a checkpoint, without its path, which the line begins with."""
    return "damaged: " + message.partition(" is broken: ")[2]


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"torch {value.get('torch')}"
    return re.sub(r"^([0-9a-f]{12})[0-9a-f]{20,}", r"\1", str(value))[:40]


def _size(path: Path) -> str:
    total: float = sum(one.stat().st_size for one in _files(path))
    return f"{total / 1e6:,.1f} MB"


def _files(path: Path) -> Iterable[Path]:
    return (one for one in path.iterdir() if one.is_file())
