"""hydra/launcher=slurm: the cells of hydra/sweeper=resume as jobs of SLURM.

Hydra imports this at every start, so nothing heavy is imported here. It does so before the module has its
place in sys.modules, where a dataclass would look for the meaning of annotations that are text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class SlurmLauncherConf:
    """The keys of hydra.launcher. Names are sbatch's; what sbatch has no name for, submitit's."""

    _target_: str = "hydra_plugins.tedg_sweeps.slurm_launcher.SlurmLauncher"
    partition: str | None = None  # null, here and below: what the cluster does by itself
    account: str | None = None  # whose hours are used
    qos: str | None = None  # quality of service
    time: str = "4:00:00"  # of one job; a cell that takes longer saves, is requeued and goes on
    cpus_per_task: int = 1  # cores of a job
    mem: str | None = None  # memory of a job: 4G
    gpus_per_node: int | None = None  # GPUs of a job
    n_jobs: int | None = None  # jobs of an array that run at once; null: as many as SLURM lets
    signal_delay_s: int = 120  # seconds before the end of its time that a job is told to save
    setup: list[str] = field(default_factory=list)  # lines of shell before the job: module load ...
    additional_parameters: dict[str, Any] = field(default_factory=dict)  # further ones of sbatch
    poll_seconds: float = 10.0  # between two questions to SLURM


ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmLauncherConf, provider="tedg")


class SlurmLauncher(Launcher):
    """Holds what jobs ask for; tedg.sweep.slurm_launcher submits them."""

    def __init__(self, **keys: Any) -> None:
        """As hydra.launcher has them."""
        super().__init__()
        self._keys = keys

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra; ConfigError for keys that are wrong, and where there is no SLURM."""
        from tedg.sweep.slurm_settings import parameters

        self._parameters = parameters(self._keys)

    def for_cells(self, cells: Sequence[Any], at_once: int) -> Any:
        """The launcher for these cells; how many run at once is up to SLURM."""
        from tedg.sweep.slurm_launcher import SlurmLauncher as Jobs

        return Jobs(self._parameters, self._keys["n_jobs"], self._keys["poll_seconds"])

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What other sweepers call, which know nothing of cells; ConfigError."""
        from tedg.errors import ConfigError

        raise ConfigError(
            "hydra/launcher=slurm belongs to hydra/sweeper=resume; else take hydra/launcher=basic"
        )
