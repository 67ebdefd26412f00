"""hydra/sweeper=optuna: draws runs, trains them like the cells of hydra/sweeper=resume, and learns from them.

Hydra imports this at every start, so nothing heavy is imported here. It does so before the module has its
place in sys.modules, where a dataclass would look for the meaning of annotations that are text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.tedg_sweeps.resume_sweeper import ResumeSweeper


@dataclass
class OptunaSweeperConf:
    """The keys of hydra.sweeper."""

    _target_: str = "hydra_plugins.tedg_sweeps.optuna_sweeper.OptunaSweeper"
    n_trials: int = 20  # in all, over all commands
    objective: str = "mean_score"  # of the held-out games, or another of their figures; the most is best
    sampler: str = "tpe"  # tpe | random
    seed: int = 0  # of the sampler
    startup_trials: int = 5  # that tpe draws at random; none is pruned before so many are complete
    prune_after: float | None = 0.25  # of a trial's budget; null: nothing is pruned
    retries: int = 2  # as in hydra/sweeper=resume
    params: dict[str, str] | None = (
        None  # key: choice(...), range(...), interval(...), tag(log, interval(...))
    )


ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="tedg")


class OptunaSweeper(ResumeSweeper):
    """Hands its settings to tedg.sweep.search; where nothing is to be drawn, it is hydra/sweeper=resume."""

    def __init__(self, retries: int, params: dict[str, str] | None = None, **settings: Any) -> None:
        """`params` was read when the values were composed."""
        super().__init__(retries)
        self._settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra; ConfigError for what does not go together, before anything is started."""
        from tedg.config.search import SearchSettings

        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self._search = SearchSettings(**self._settings)
        self._search.validate()

    def sweep(self, arguments: Sequence[str]) -> Any:
        """The exit code. `arguments` were read when the values were composed."""
        assert self.config is not None
        environment = dict(self.config.hydra.job.env_set)
        return self._task.sweep(self._retries, self.launcher.for_cells, environment, self._search)
