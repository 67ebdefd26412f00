"""Runs that are done because their results are kept with their study, without weights (docs/sweeps.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tedg.config.run_config import RunConfig
from tedg.errors import CheckFailed, ConfigError, DivergedError
from tedg.run.held_out import known_and_missing
from tedg.run.starts import ANEW
from tedg.run.summary import result_lines
from tedg.store.kept import read_check, read_kept


def kept_result(config: RunConfig, directory: Path) -> tuple[dict[str, Any], bool]:
    """What a kept run ended with, and whether its check failed.

    Raises StorageError where it is damaged, and ConfigError where more is asked for than can be told without
    its weights: held-out games that it has not played, or a check that was not made.
    """
    result = read_kept(directory)
    missing = known_and_missing(config, directory, result)[1]
    passed = read_check(directory)
    lacks = [f"{len(seeds)} held-out games of {name}" for name, seeds in missing.items()]
    if config.check is not None and passed is None:
        lacks.append("a check")
    if lacks:
        raise ConfigError(
            f"{directory} keeps this run's result without its weights, and not {', '.join(lacks)}; ask for "
            f"no more than was kept, or train the run anew with {ANEW}"
        )
    return result, config.check is not None and passed is False


def show_kept(config: RunConfig, directory: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Show what a kept run ended with, and return it. Raises as the run itself would."""
    result, check_failed = kept_result(config, directory)
    say(f"run {result['run_id']} is {result['status']}: its result is kept in {directory}; nothing to do")
    for line in result_lines(result):
        say(line)
    if result["status"] == "diverged":
        raise DivergedError(f"{directory} diverged: {result.get('reason')}", result)
    if check_failed:
        raise CheckFailed(f"{directory}: the check failed")
    say(f"to train it anew: the same command with {ANEW}")
    return result
