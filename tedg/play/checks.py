"""Whether a run can play, and which games: known before torch is imported."""

from __future__ import annotations

from pathlib import Path

from tedg.config.run_config import SEED_LIMIT, RunConfig
from tedg.errors import ConfigError
from tedg.run.find import find_run
from tedg.run.playable import require_weights
from tedg.run.saved import read_run_config

_NETHACK = "tedg.envs.vector.NetHackVectorEnv"


def checked_run(run: str | Path, weights: str | int = "last") -> tuple[Path, RunConfig]:
    """The directory and the configuration of a run of NetHack that has these weights.

    Raises ConfigError and StorageError.
    """
    directory = find_run(run)
    config = read_run_config(directory)
    target = config.env["_target_"]
    if target != _NETHACK:
        raise ConfigError(f"{directory} plays {target.rpartition('.')[2]}, which is not NetHack")
    require_weights(directory, config, None if weights in ("last", "best") else _steps(weights))
    return directory, config


def check_game(seed: int, cap: int) -> None:
    """Raises ConfigError for a seed of training games, and a limit of no step."""
    if cap < 1:
        raise ConfigError(f"cap {cap}: must be at least 1")
    if not 0 <= seed < SEED_LIMIT:
        raise ConfigError(f"seed {seed}: must be from 0 to {SEED_LIMIT - 1}; training plays the others")


def _steps(weights: str | int) -> int:
    if isinstance(weights, int) or weights.isdecimal():
        return int(weights)
    raise ConfigError(f"weights={weights!r}: must be 'last', 'best' or the env steps of a milestone")
