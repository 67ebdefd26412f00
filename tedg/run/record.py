"""The record of a run, made of what lies in its directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tedg.errors import StorageError
from tedg.files import conf_dir, read_json
from tedg.run.course import first_episodes, training
from tedg.store.conditions import (
    Condition,
    Games,
    budget_of,
    conditions,
    read_condition,
    read_yardsticks,
    yardsticks,
)
from tedg.store.games import POLICY, read_games
from tedg.store.record import MOST_POINTS, Curve, Evaluation, Game, RunRecord, read_record, write_record
from tedg.store.results import read_result
from tedg.store.rundir import CHECK, RESULT, read_config, read_provenance
from tedg.store.tables import read_episodes, read_metrics

_PATHS = ("paths", "run_dir", "init_from")  # keys of the configuration that are left out
# Groups whose option a run of an earlier version may have to be told by its values, nested ones last.
_GROUPS = ("env", "vision", "logic", "fusion", "routing", "stage", "policy", "ppo", "env/game", "fusion/gate")
_LEARNS = "score"  # the check's line about learning begins with this word


def record_of(directory: Path) -> RunRecord:
    """The record that lies in a run's directory, else the one that its files make. Raises StorageError."""
    return read_record(directory) or make_record(directory)


def keep_record(directory: Path, say: Callable[[str], None]) -> None:
    """Write record.json beside a run's result; where that cannot be done, say why: nothing else needs it."""
    try:
        write_record(directory, make_record(directory))
    except StorageError as error:
        say(f"there is no new record.json, which comparisons read: {error}")


def make_record(directory: Path) -> RunRecord:
    """The record of a run that has ended. Raises StorageError, naming what is missing or damaged.

    What runs of earlier versions did not tell is None, "" or left out.
    """
    result, config, provenance = read_result(directory), read_config(directory), read_provenance(directory)
    if result is None:
        raise StorageError(f"{directory} has no {RESULT}: the run has not ended")
    session = (provenance or {"sessions": [{}]})["sessions"][-1]
    rows = _rows(directory / "metrics.jsonl")
    episodes = read_episodes(path) if (path := directory / "episodes.csv").exists() else None
    try:
        return RunRecord(
            run_id=result["run_id"],
            name=config["name"],
            seed=config["seed"],
            status=result["status"],
            parent=(provenance or result).get("parent"),
            code=session.get("code") or "",
            training_code=session.get("training_code") or "",
            options=(provenance or {}).get("options") or dict(_options(config)),
            config={key: value for key, value in config.items() if key not in _PATHS},
            budget=budget_of(config["budget"], config["stage"]),
            env_steps=result["env_steps"],
            total_env_steps=result.get("total_env_steps"),
            curve=_curve(episodes, config, result["env_steps"], rows),
            evaluations=tuple(_evaluations(directory, config)),
            liveness=result.get("liveness") or {},
            max_log_ratio=_largest(row.get("train/initial_log_ratio") for row in rows),
            parameters=result.get("parameters") or {},
            flops=result.get("flops"),
            seconds=_seconds(_rows(directory / "timing.jsonl")),
            device=session.get("device") or "",
            precision=config.get("precision", "float32"),
            learns=_learns(directory),
            training=training(rows, result["env_steps"]),
            first_episodes=first_episodes(episodes or []),
            modality=result.get("modality") or {},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{directory} cannot be recorded: {type(error).__name__}: {error}") from None


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_metrics(path) if path.exists() else []


def _largest(values: Iterator[Any]) -> float | None:
    return max((float(value) for value in values if value is not None), default=None)


def _seconds(rows: list[dict[str, Any]]) -> float | None:
    """What the updates that count took; those that were done again after a kill count once."""
    parts = ("time/env", "time/policy", "time/learning", "time/storage")
    return sum(float(row.get(part) or 0) for row in rows for part in parts) if rows else None


def _learns(directory: Path) -> bool | None:
    lines = (read_json(directory / CHECK) or {}).get("lines") or []
    found = [line["verdict"] for line in lines if line["name"].startswith(_LEARNS)]
    return {"pass": True, "fail": False}.get(found[0]) if found else None


def _curve(
    episodes: list[dict[str, Any]] | None,
    config: Mapping[str, Any],
    env_steps: int,
    rows: list[dict[str, Any]],
) -> Curve:
    if episodes is None:  # a result that was kept by an earlier version: means of the last 100 episodes
        known = [row for row in rows if row.get("rollout/mean_score") is not None]
        chosen = (
            [known[i] for i in np.unique(np.linspace(0, len(known) - 1, MOST_POINTS).astype(int))]
            if known
            else []
        )
        scores, returns = (
            [row.get(f"rollout/mean_{name}") for row in chosen] for name in ("score", "return")
        )
        return Curve(tuple(row["env_steps"] for row in chosen), tuple(scores), tuple(returns))
    points = np.arange(1, min(MOST_POINTS, env_steps) + 1) * env_steps // max(min(MOST_POINTS, env_steps), 1)
    ends = _ends(episodes, config["env"]["num_envs"], config["ppo"]["num_steps"])
    whole = [(end, episode) for end, episode in zip(ends, episodes, strict=True) if episode["end"] != "lost"]
    place = np.searchsorted(points, [end for end, _ in whole])
    counts = np.bincount(place, minlength=len(points))
    means = (
        tuple(
            float(mean) if count else None
            for mean, count in zip(sums / np.maximum(counts, 1), counts, strict=True)
        )
        for sums in (
            np.bincount(place, [episode[name] for _, episode in whole], len(points))
            for name in ("score", "episode_return")
        )
    )
    return Curve(tuple(points.tolist()), *means)


def _ends(episodes: list[dict[str, Any]], num_envs: int, num_steps: int) -> list[int]:
    """The run's env steps when each episode ended: its environment took one step in `num_envs`."""
    played: dict[int, int] = {}
    ends = []
    for episode in episodes:
        env, after = episode["env"], episode["env_steps"]
        played[env] = played.get(env, 0) + episode["length"]
        # A lost game may have had more or fewer steps than its episode says, but it ended in this update.
        ends.append(min(max(played[env] * num_envs, after - num_envs * num_steps + 1), after))
    return ends


def _evaluations(directory: Path, config: Mapping[str, Any]) -> Iterator[Evaluation]:
    known = read_games(directory) or {}
    trained = Condition(cap=config["env"].get("max_episode_steps") or 0)
    stage = config["stage"]
    last = list(stage["phases"])[-1] if "phases" in stage else stage["name"]
    for condition in dict.fromkeys((trained, *conditions(directory))):
        under, games = read_condition(directory, condition)
        if condition == trained:
            under, games = under or last, {**known.get(POLICY, {}), **games}
        if games:
            yield Evaluation(POLICY, condition.weights, condition.mode, condition.cap, under, _games(games))
    for cap in dict.fromkeys(condition.cap for condition in (trained, *conditions(directory))):
        shared = read_yardsticks(yardsticks(directory, config["env"], cap))
        own = known if cap == trained.cap else {}
        for player in dict.fromkeys((*shared, *own)):
            if player != POLICY:
                yield Evaluation(player, "", "", cap, None, _games(shared.get(player) or own[player]))


def _games(games: Games) -> tuple[Game, ...]:
    return tuple(
        Game(seed, end.score, end.episode_return, end.length, end.depth, end.end, end.cause or None)
        for seed, end in sorted(games.items())
    )


def _options(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The options that follow from the values: those that alone have this part, or write down the same."""
    for group in _GROUPS:
        node: Any = config
        for name in group.split("/"):
            node = node.get(name) if isinstance(node, Mapping) else None
        options = _written(conf_dir() / group) if isinstance(node, Mapping) else {}
        for parts in (("_target_", "name"), None):  # single values may have been given by hand
            fitting = [name for name, option in options.items() if _fits(option, node, parts)]
            if len(fitting) == 1:
                yield group, fitting[0]
                break


@cache
def _written(folder: Path) -> dict[str, Any]:
    """What each option of a group writes down."""
    files = sorted(folder.glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) or {} for file in files}


def _fits(option: Mapping[str, Any], node: Mapping[str, Any], parts: Sequence[str] | None) -> bool:
    """Whether a node has what the option writes down: all of it, or only `parts`."""
    written = {key: value for key, value in option.items() if key != "defaults"}
    if parts is not None:
        return all(written.get(key) == node.get(key) for key in parts)
    return bool(written) and _holds(written, node)


def _holds(option: Any, value: Any) -> bool:
    if isinstance(option, Mapping):
        return isinstance(value, Mapping) and all(
            _holds(item, value.get(key)) for key, item in option.items()
        )
    return (isinstance(option, str) and "${" in option) or option == value
