"""The table of a run's held-out games: games.csv, one row per player and game."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from tedg.config.run_config import EvalConfig
from tedg.envs.observation import EpisodeEnd
from tedg.errors import StorageError
from tedg.files import write_text

GAMES = "games.csv"
POLICY = "policy"  # name of the trained policy among the players
GamesByPlayer = dict[str, dict[int, EpisodeEnd]]  # by the game's seed

_ENDS = ("death", "success", "truncated", "lost")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def _end(text: str) -> str:
    if text not in _ENDS:
        raise ValueError(f"{text!r} is no end of a game")
    return text


_FIELDS = tuple(f.name for f in fields(EpisodeEnd))
_FIRST_FIELDS = tuple(name for name in _FIELDS if name != "cause")  # in tables of earlier versions
# The others are whole numbers.
_KINDS: dict[str, Callable[[str], Any]] = {
    "episode_return": _finite,
    "score": _finite,
    "end": _end,
    "cause": str,
}


def asked_games(asked: EvalConfig) -> dict[str, range]:
    """The seeds of the games that every player is to play."""
    seeds = range(asked.first_seed, asked.first_seed + asked.games)
    return dict.fromkeys((POLICY, *asked.players), seeds)


def missing_games(known: GamesByPlayer, asked: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """The seeds of `asked` that `known` has no game of; players that miss none are left out."""
    missing = {}
    for name, seeds in asked.items():
        played = known.get(name, {})
        missing[name] = [seed for seed in seeds if seed not in played]
    return {name: seeds for name, seeds in missing.items() if seeds}


def write_games(run_dir: Path, games: GamesByPlayer) -> None:
    """Write the whole table in one step. Raises StorageError."""
    write_table(run_dir / GAMES, "player", games)


def read_games(run_dir: Path) -> GamesByPlayer | None:
    """The table; None where there is none, as in runs of earlier versions. Raises StorageError."""
    return read_table(run_dir / GAMES, "player")


def write_table(path: Path, key: str, games: GamesByPlayer) -> None:
    """Write games as CSV with the names of `games` in the column `key`. Raises StorageError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((key, *_FIELDS))
    for name, played in games.items():
        writer.writerows((name, *astuple(played[seed])) for seed in sorted(played))
    write_text(path, text.getvalue())


def read_table(path: Path, key: str) -> GamesByPlayer | None:
    """What `write_table` wrote; None where there is no such file. Raises StorageError."""
    try:
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("it ends within a row")
        rows = list(csv.reader(text.splitlines()))
        if not rows or tuple(rows[0]) not in ((key, *_FIELDS), (key, *_FIRST_FIELDS)):
            raise StorageError(f"{path}: the first line is not {','.join((key, *_FIELDS))}")
        games: GamesByPlayer = {}
        for name, *values in rows[1:]:
            pairs = zip(rows[0][1:], values, strict=True)
            end = EpisodeEnd(**{field: _KINDS.get(field, int)(value) for field, value in pairs})
            games.setdefault(name, {})[end.seed] = end
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error) as error:
        raise StorageError(f"{path} cannot be read: {error}") from None
    return games
