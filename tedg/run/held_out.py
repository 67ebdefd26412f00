"""Which held-out games a run that has ended was asked for and has not played."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tedg.config.run_config import RunConfig
from tedg.store import rundir
from tedg.store.games import GamesByPlayer, asked_games, missing_games, read_games


def known_and_missing(
    config: RunConfig, run_dir: Path, done: Mapping[str, Any]
) -> tuple[GamesByPlayer, dict[str, list[int]]]:
    """The games of a run that has ended, and the seeds of those that are missing, by player."""
    if done["status"] != "finished" or "evaluation" not in done:
        return {}, {}
    known = read_games(run_dir)
    if known is None and _has_all(config, run_dir, done):
        return {}, {}
    return known or {}, missing_games(known or {}, asked_games(config.eval))


def _has_all(config: RunConfig, run_dir: Path, done: Mapping[str, Any]) -> bool:
    """Whether the result of an earlier version, which kept no table, counts all games that are asked for."""
    first_seed = rundir.read_config(run_dir)["eval"].get("first_seed")
    rows = [done["evaluation"].get(name, {}) for name in asked_games(config.eval)]
    enough = all(row.get("games", 0) + row.get("lost", 0) >= config.eval.games for row in rows)
    return enough and first_seed == config.eval.first_seed
