"""hydra/launcher=local: the cells of hydra/sweeper=resume as processes of this machine.

Hydra imports this at every start, so nothing heavy is imported here. It does so before the module has its
place in sys.modules, where a dataclass would look for the meaning of annotations that are text.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class LocalLauncherConf:
    """The keys of hydra.launcher."""

    _target_: str = "hydra_plugins.tedg_sweeps.local_launcher.LocalLauncher"
    n_jobs: int | None = None  # cells at once; null: one per core, or jobs_per_gpu per GPU
    jobs_per_gpu: int = 1  # cells that share a GPU


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalLauncherConf, provider="tedg")


class LocalLauncher(Launcher):
    """Says how many cells run at once; tedg.sweep.local starts them."""

    def __init__(self, n_jobs: int | None, jobs_per_gpu: int) -> None:
        """As hydra.launcher has them."""
        super().__init__()
        self._n_jobs, self._jobs_per_gpu = n_jobs, jobs_per_gpu

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra; ConfigError for numbers that are none of jobs."""
        from tedg.errors import ConfigError

        for name, number in (("n_jobs", self._n_jobs), ("jobs_per_gpu", self._jobs_per_gpu)):
            if number is not None and number < 1:
                raise ConfigError(f"hydra.launcher.{name}={number}: must be 1 or more")

    def for_cells(self, cells: Sequence[Any], at_once: int) -> Any:
        """The launcher for these cells, of which at most `at_once` can run at the same time."""
        from tedg.sweep.local import LocalLauncher as Processes
        from tedg.sweep.machine import gpus_for, share

        gpus = gpus_for([cell.composed for cell in cells])
        cores = sorted(os.sched_getaffinity(0))
        return Processes(share(at_once, cores, gpus, self._n_jobs, self._jobs_per_gpu))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What other sweepers call, which know nothing of cells; ConfigError."""
        from tedg.errors import ConfigError

        raise ConfigError(
            "hydra/launcher=local belongs to hydra/sweeper=resume; else take hydra/launcher=basic"
        )
