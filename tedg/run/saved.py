"""The configuration of a run that has begun, from its config.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tedg.config.run_config import RunConfig
from tedg.config.typed import Faults, read
from tedg.errors import ConfigError
from tedg.run.identity import LATER
from tedg.store.rundir import CONFIG, read_config

# Keys that earlier versions did not have, with the values that these acted by. Those that count in a run's id
# are in LATER.
_ADDED: dict[tuple[str, ...], Any] = {
    ("eval", "milestones"): [],
    ("paths", "experiments_dir"): None,
    ("cuda_graphs",): True,
}


def read_run_config(run_dir: Path) -> RunConfig:
    """The run's own configuration, whatever version wrote it.

    Raises StorageError for a file that cannot be read, and ConfigError for one that holds no configuration of
    today's, or names an environment variable that is not set.
    """
    place = run_dir / CONFIG
    try:
        node: Any = OmegaConf.to_container(OmegaConf.create(read_config(run_dir)), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{place} cannot be resolved: {str(error).splitlines()[0]}") from None
    for (*groups, key), value in (LATER | _ADDED).items():
        if groups == ["env"] and "task" not in node["env"]:
            continue  # games of NetHack alone have such a key
        group = node
        for name in groups:
            group = group.get(name, {})
        group.setdefault(key, list(value) if isinstance(value, tuple) else value)
    faults = Faults()
    config = read(RunConfig, node, "", faults)
    if config is None or faults.lines:
        raise ConfigError(f"{place} holds no configuration of this version:\n  " + "\n  ".join(faults.lines))
    return config
