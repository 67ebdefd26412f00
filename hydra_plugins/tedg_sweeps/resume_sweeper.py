"""hydra/sweeper=resume: trains what is missing of a sweep, and ends with every cell that can be done done.

Hydra imports this at every start, so nothing heavy is imported here. It does so before the module has its
place in sys.modules, where a dataclass would look for the meaning of annotations that are text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class ResumeSweeperConf:
    """The keys of hydra.sweeper."""

    _target_: str = "hydra_plugins.tedg_sweeps.resume_sweeper.ResumeSweeper"
    retries: int = 2  # of a cell that failed or was killed, in one command; a diverged one has none
    params: dict[str, str] | None = None  # overrides that are swept over, as in Hydra's own sweeper


ConfigStore.instance().store(group="hydra/sweeper", name="resume", node=ResumeSweeperConf, provider="tedg")


class ResumeSweeper(Sweeper):
    """Hands the cells that the command has composed already, and a launcher for them, to tedg.sweep."""

    def __init__(self, retries: int, params: dict[str, str] | None = None) -> None:
        """`params` was read when the cells were composed."""
        super().__init__()
        self._retries = retries

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra; ConfigError for what does not go together, before anything is started."""
        from hydra.core.plugins import Plugins

        from tedg.errors import ConfigError

        if self._retries < 0:
            raise ConfigError(f"hydra.sweeper.retries={self._retries}: must be 0 or more")
        if config.hydra.job.chdir:
            raise ConfigError("hydra.job.chdir=true: cells of a sweep share the working directory; leave it")
        self.config, self._task = config, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        if not hasattr(self.launcher, "for_cells"):
            raise ConfigError(
                "hydra/sweeper=resume cannot use this launcher; take hydra/launcher=local, or with one of "
                "Hydra's own hydra/sweeper=basic"
            )

    def sweep(self, arguments: Sequence[str]) -> Any:
        """The exit code. `arguments` were read when the cells were composed."""
        assert self.config is not None
        return self._task.sweep(self._retries, self.launcher.for_cells, dict(self.config.hydra.job.env_set))
