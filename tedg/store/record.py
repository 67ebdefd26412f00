"""The record of a run: all that comparisons of runs read, small enough to be committed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from tedg.errors import StorageError
from tedg.files import read_json, write_text
from tedg.store.metrics import renamed

SCHEMA = 2
_READABLE = (1, SCHEMA)  # the first had neither `training` nor `first_episodes` nor `modality`
RECORD = "record.json"
MOST_BYTES = 200_000
MOST_POINTS = 400  # of a curve
MOST_TRAINING_POINTS = 100


@dataclass(frozen=True, slots=True)
class Curve:
    """Training over env steps: at most 400 points, evenly spaced, each with the mean of what ended since."""

    env_steps: tuple[int, ...]  # since the run's own start
    mean_score: tuple[float | None, ...]  # of the games that ended since the point before; None: none did
    mean_return: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """What the updates said: at most 100 points, evenly spaced over the run's own env steps."""

    env_steps: tuple[int, ...] = ()  # since the run's own start
    # By a column of metrics.jsonl: means over the updates since the point before; None where none has it.
    figures: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    stages: tuple[tuple[str, int], ...] = ()  # name, and the run's own env step at which it began


@dataclass(frozen=True, slots=True)
class Game:
    """One held-out game of one player."""

    seed: int
    score: float
    episode_return: float
    length: int  # env steps
    depth: int
    end: str  # death, success, truncated or lost
    cause: str | None = None  # of death, where the game told it


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out games of one player under one set of conditions."""

    player: str  # policy, random, random_legal or script
    weights: str  # last, best, or the number of env steps of a milestone; "" for a yardstick player
    mode: str  # sample or greedy; "" for a yardstick player
    cap: int  # env steps after which a game is cut off
    stage: str | None  # whose settings the policy played under
    games: tuple[Game, ...]  # by seed


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run was, and what came of it."""

    run_id: str
    name: str
    seed: int
    status: str  # finished or diverged
    parent: str | None
    code: str  # digest of the package
    training_code: str  # digest of what training depends on
    options: dict[str, str]  # by group: {"fusion": "cross_attn", "fusion/gate": "topk"}
    config: dict[str, Any]  # as in config.yaml, without paths
    budget: dict[str, int]  # by unit: {"env_steps": 1000000}
    env_steps: int
    total_env_steps: int | None  # with all stages before it
    curve: Curve
    evaluations: tuple[Evaluation, ...]
    liveness: dict[str, Any]  # as in result.json
    max_log_ratio: float | None  # largest mean |log ratio| before the first step of an update
    parameters: dict[str, int]  # by part
    flops: int | None  # of a forward pass per state, in a batch
    seconds: float | None  # of training, all sessions
    device: str
    precision: str
    learns: bool | None  # whether its check for learning passed; None where none was made
    training: Training = field(default_factory=Training)
    # Of the first "100", "300" and "all" training episodes: `EPISODE_FIGURES`, as far as there were so many.
    first_episodes: dict[str, dict[str, float]] = field(default_factory=dict)
    modality: dict[str, float | None] = field(default_factory=dict)  # as in result.json


EPISODE_FIGURES = ("mean_return", "best_return", "mean_score", "best_score", "nonzero_share", "episodes")


def write_record(directory: Path, record: RunRecord) -> None:
    """Write record.json in one step. Raises StorageError, also for a record of more than MOST_BYTES."""
    write_text(directory / RECORD, record_text(record))


def record_text(record: RunRecord) -> str:
    """The content of record.json: a line for every field and evaluation, games as rows under `columns`.

    Raises StorageError where that is more than MOST_BYTES.
    """
    content: dict[str, Any] = {"schema": SCHEMA}
    content |= {one.name: getattr(record, one.name) for one in fields(record)}
    content |= {"curve": asdict(record.curve), "training": asdict(record.training)}
    evaluations = ",\n".join(f"  {json.dumps(_evaluation(one))}" for one in record.evaluations)
    lines = [
        f'"{name}": '
        + (f"[\n{evaluations}\n ]" if name == "evaluations" and evaluations else json.dumps(value))
        for name, value in content.items()
    ]
    text = "{\n " + ",\n ".join(lines) + "\n}\n"
    if (size := len(text.encode())) > MOST_BYTES:
        games = sum(len(one.games) for one in record.evaluations)
        raise StorageError(
            f"the record of run {record.run_id} would have {size:,} bytes of at most {MOST_BYTES:,}: it has "
            f"{games:,} held-out games; keep fewer, by moving tables out of evaluation/ or yardsticks/"
        )
    return text


def read_record(directory: Path) -> RunRecord | None:
    """The record in a directory; None where there is none. Raises StorageError naming file and field."""
    path = directory / RECORD
    content = read_json(path)
    if content is None:
        return None
    schema = content.get("schema")
    if schema not in _READABLE or isinstance(schema, bool):
        readable = " and ".join(map(str, _READABLE))
        raise StorageError(f"{path}: schema is {schema!r}, and this version reads {readable}")
    try:
        return _record(content)
    except _Fault as fault:
        raise StorageError(f"{path} is damaged: {fault}") from None


def read_records(folder: Path) -> list[RunRecord]:
    """The records of the runs in `folder`, by the names of their directories. Raises as `read_record`."""
    found = [read_record(path.parent) for path in sorted(folder.glob(f"*/{RECORD}"))]
    return [record for record in found if record is not None]


class _Fault(Exception):
    """A field is not what was written."""


_Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _maybe(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


def _all(check: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _each(check: _Check) -> _Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _one_of(*words: str) -> _Check:
    return lambda value: value in words


_RUN: dict[str, _Check] = {
    **dict.fromkeys(("run_id", "name", "code", "training_code", "device", "precision"), _text),
    "seed": _count,
    "status": _one_of("finished", "diverged"),
    "parent": _maybe(_text),
    "options": _each(_text),
    "config": _each(lambda _: True),
    "budget": lambda value: _each(_count)(value) and len(value) == 1,
    "env_steps": _count,
    "total_env_steps": _maybe(_count),
    "liveness": _each(lambda value: _text(value) or _maybe(_number)(value)),
    "max_log_ratio": _maybe(_number),
    "parameters": _each(_count),
    "flops": _maybe(_count),
    "seconds": _maybe(_number),
    "learns": lambda value: value is None or isinstance(value, bool),
}
_CURVE: dict[str, _Check] = {
    "env_steps": _all(_count),
    **dict.fromkeys(("mean_score", "mean_return"), _all(_maybe(_number))),
}
_TRAINING: dict[str, _Check] = {
    "env_steps": _all(_count),
    "figures": _each(_all(_maybe(_number))),
    "stages": _all(lambda one: isinstance(one, list) and len(one) == 2 and _text(one[0]) and _count(one[1])),
}
_SINCE_SCHEMA_2: dict[str, _Check] = {
    "first_episodes": _each(lambda one: _each(_number)(one) and tuple(one) == EPISODE_FIGURES),
    "modality": _each(_maybe(_number)),
}
_CONDITIONS: dict[str, _Check] = {
    "player": _text,
    "weights": lambda value: value in ("", "last", "best") or (_text(value) and value.isdecimal()),
    "mode": _one_of("", "sample", "greedy"),
    "cap": _count,
    "stage": _maybe(_text),
}
_GAME: dict[str, _Check] = {
    **dict.fromkeys(("seed", "length", "depth"), _count),
    **dict.fromkeys(("score", "episode_return"), _number),
    "end": _one_of("death", "success", "truncated", "lost"),
    "cause": _maybe(_text),
}


def _checked(content: Any, place: str, checks: Mapping[str, _Check]) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise _Fault(f"{place} is no group of fields")
    for name, check in checks.items():
        if name not in content:
            raise _Fault(f"{place}{name} is missing")
        if not check(content[name]):
            raise _Fault(f"{place}{name} cannot be {str(content[name])[:60]}")
    return {name: content[name] for name in checks}


def _record(content: dict[str, Any]) -> RunRecord:
    own = _checked(content, "", _RUN)
    if content["schema"] > 1:
        own |= _checked(content, "", _SINCE_SCHEMA_2) | {"training": _training(content.get("training"))}
    curve = {name: tuple(value) for name, value in _checked(content.get("curve"), "curve.", _CURVE).items()}
    if len({len(value) for value in curve.values()}) != 1 or len(curve["env_steps"]) > MOST_POINTS:
        raise _Fault(f"curve needs equally many of each, and at most {MOST_POINTS}")
    evaluations = content.get("evaluations")
    if not isinstance(evaluations, list):
        raise _Fault("evaluations is missing, or no list")
    read = tuple(_read_evaluation(one, f"evaluations[{i}].") for i, one in enumerate(evaluations))
    return RunRecord(**own, curve=Curve(**curve), evaluations=read)


def _training(content: Any) -> Training:
    own = _checked(content, "training.", _TRAINING)
    points = len(own["env_steps"])
    if points > MOST_TRAINING_POINTS or any(len(values) != points for values in own["figures"].values()):
        raise _Fault(f"training needs equally many of each figure, and at most {MOST_TRAINING_POINTS}")
    return Training(
        tuple(own["env_steps"]),
        {name: tuple(values) for name, values in renamed(own["figures"]).items()},
        tuple(map(tuple, own["stages"])),
    )


def _evaluation(one: Evaluation) -> dict[str, Any]:
    own = {name: getattr(one, name) for name in _CONDITIONS}
    return {**own, "columns": list(_GAME_FIELDS), "games": [_row(game) for game in one.games]}


def _row(game: Game) -> list[Any]:
    # A whole number is written without its fraction, which is shorter and the same number.
    return [int(x) if isinstance(x, float) and x.is_integer() else x for x in astuple(game)]


_GAME_FIELDS = tuple(one.name for one in fields(Game))


def _read_evaluation(content: Any, place: str) -> Evaluation:
    own = _checked(content, place, _CONDITIONS)
    if content.get("columns") != list(_GAME_FIELDS):
        raise _Fault(f"{place}columns must be {', '.join(_GAME_FIELDS)}")
    rows = content.get("games")
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise _Fault(f"{place}games is missing, or no list of rows")
    return Evaluation(
        **own, games=tuple(_read_game(row, f"{place}games[{i}].") for i, row in enumerate(rows))
    )


def _read_game(row: Sequence[Any], place: str) -> Game:
    if len(row) != len(_GAME_FIELDS):
        raise _Fault(f"{place[:-1]} has {len(row)} columns")
    own = _checked(dict(zip(_GAME_FIELDS, row, strict=True)), place, _GAME)
    own |= {name: float(own[name]) for name in ("score", "episode_return")}
    return Game(**own)
