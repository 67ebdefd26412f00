"""The modality figures of a run that has ended: those of its result, or measured now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tedg.config.run_config import RunConfig
from tedg.errors import ConfigError
from tedg.files import write_json
from tedg.signals import StopFlag
from tedg.store.conditions import Condition
from tedg.store.results import read_result
from tedg.store.rundir import RESULT

GAMES = 32  # that are played for a run of an earlier version, whose result has no such figures


def modality_of_run(directory: Path, config: RunConfig, stop: StopFlag) -> dict[str, Any] | None:
    """What result.json says; where it does not, it is measured, and says so from now on.

    The first held-out games are played for that, and do not count. None for a run without last weights. The
    caller owns the directory. Raises Stopped, StorageError and WorkerError.
    """
    result = read_result(directory)
    if result is None:
        return None
    if "modality" not in result:
        from tedg.learn.measuring import modality_of, play_list, policy_under  # imports torch
        from tedg.learn.seen import Watch
        from tedg.learn.setup import set_threads

        set_threads(config)
        try:
            player, _ = policy_under(replace(config, compile=False), directory, Condition())
        except ConfigError:
            return None
        watch = Watch(player.policy)
        seeds = range(config.eval.first_seed, config.eval.first_seed + GAMES)
        play_list(config, seeds, lambda _: player, stop, lambda _: None, watch)
        result["modality"] = modality_of(config, player, watch)
        write_json(directory / RESULT, result)
    found: dict[str, Any] = result["modality"]
    return found
