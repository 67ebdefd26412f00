"""Whose checkpoint it is: the run, code and machine that a checkpoint says it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedg.errors import ConfigError
from tedg.store.checkpoint import Checkpoint
from tedg.store.rundir import read_provenance

# What two sessions of a run must share for it to end as one that was never stopped.
_SHARED = ("training_code", "python", "versions", "cpu", "device", "threads")


@dataclass(frozen=True, slots=True)
class Origin:
    """What this session of a run writes into its checkpoints; empty for a run that nobody described."""

    meta: Mapping[str, Any]
    env_steps_before: int = 0  # of the runs that its first weights come from; 0 also where that is not known

    @staticmethod
    def of(run_dir: Path) -> Origin:
        """As provenance.json has it. Raises StorageError when that cannot be read."""
        provenance = read_provenance(run_dir)
        if provenance is None:
            return Origin({})
        now = provenance["sessions"][-1]
        names = ("commit", *_SHARED)
        meta = {"run_id": provenance["run_id"], **{name: now.get(name) for name in names}}
        return Origin(meta, (provenance.get("before") or {}).get("env_steps") or 0)

    def check(self, saved: Checkpoint, warn: Callable[[str], None]) -> None:
        """Raises ConfigError for another run's checkpoint; warns where equality is not promised."""
        there, here = saved.meta.get("run_id"), self.meta.get("run_id")
        if there != here and None not in (there, here):
            raise ConfigError(
                f"{saved.path} belongs to run {there}, and this is run {here}; to take over its weights, "
                "remove it from here and name its run directory in init_from"
            )
        changed = [
            name.replace("_", " ")
            for name in _SHARED
            if name in saved.meta and saved.meta[name] != self.meta.get(name)
        ]
        if changed:
            warn(
                f"{saved.path.name} was saved with other {', '.join(changed)}: the run goes on, but it "
                "may not end as it would have without the stop"
            )
