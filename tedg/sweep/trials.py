"""The trials of a search as Optuna keeps them, in a journal in the study's folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from tedg.config.search import Dimension, SearchSettings, Space
from tedg.errors import ConfigError, InUse, StorageError

JOURNAL = "search.journal"
_LOCK = "search.lock"
RUNGS = 20  # places on a trial's curve where it is compared, evenly over its budget


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other command searches in the folder meanwhile; InUse if one does.

    The lock is this process's alone, so cells that outlive it for a moment do not hold it.
    """
    try:
        file = (folder / _LOCK).open("a")
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror}") from None
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"another command searches in {folder}; wait for it or stop it") from None
        except OSError:  # a file system without locks
            pass
        yield


class _Journal(JournalFileBackend):
    """Optuna's file, written without Optuna's lock, which stays behind when its process is killed."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Only within `alone`; StorageError."""
        try:
            with Path(self._file_path).open("ab") as file:
                file.write("".join(json.dumps(log) + "\n" for log in logs).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self._file_path}: {error.strerror}") from None


class Trials:
    """All trials of a search. Only within `alone`."""

    def __init__(self, folder: Path, space: Space, settings: SearchSettings, fixed: str) -> None:
        """`fixed` stands for all that its trials have in common.

        Raises ConfigError where the folder holds another search, and StorageError.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._settings = space, settings
        path = folder / JOURNAL
        warm_up = round((settings.prune_after or 0) * RUNGS)
        asked = {
            **{dimension.key: dimension.written for dimension in space.dimensions},
            "hydra.sweeper.objective": settings.objective,
            "settings of all trials": fixed,
        }
        try:
            _cut_torn_line(path)
            self._study = optuna.create_study(
                storage=JournalStorage(_Journal(str(path))),
                study_name="search",
                load_if_exists=True,
                direction="maximize",
                pruner=MedianPruner(settings.startup_trials, warm_up),
            )
            known = self._study.user_attrs.get("search", asked)
        except OSError as error:
            raise StorageError(f"cannot read or write {path}: {error.strerror}") from None
        except (ValueError, LookupError, TypeError) as error:
            raise StorageError(
                f"{path} is damaged ({error}); remove it: runs that are done are not trained again"
            ) from None
        if known != asked:
            keys = [key for key in {**known, **asked} if known.get(key) != asked.get(key)]
            told = "; ".join(f"{key} was {known.get(key)} and is {asked.get(key)}" for key in keys)
            raise ConfigError(
                f"{path} holds another search: {told}; choose another paths.study, or remove the file"
            )
        if "search" not in self._study.user_attrs:
            self._study.set_user_attr("search", asked)

    def all(self) -> list[optuna.trial.FrozenTrial]:
        """In their order."""
        return self._study.get_trials(deepcopy=False)

    def begun(self) -> list[Trial]:
        """Those that an earlier command did not end."""
        return [Trial(self._study, t._trial_id) for t in self.all() if t.state is TrialState.RUNNING]

    def ask(self) -> Trial:
        """A new one."""
        return self._study.ask()

    def draw(self, trial: Trial) -> list[str]:
        """Its overrides; what it has drawn before, it draws again.

        Each trial has a seed of its own, so that its values depend on how others have ended alone, and not on
        how often the search was stopped.
        """
        (seed,) = np.random.SeedSequence([self._settings.seed, trial.number]).generate_state(1).tolist()
        sampler: BaseSampler = RandomSampler(seed)
        if self._settings.sampler == "tpe":
            sampler = TPESampler(n_startup_trials=self._settings.startup_trials, seed=seed)
        self._study.sampler = sampler
        return [dimension.line(_suggest(trial, dimension)) for dimension in self._space.dimensions]

    def report(self, trial: Trial, rung: int, score: float) -> bool:
        """Whether it should be pruned, now that it has this score at a place of its curve."""
        trial.report(score, rung)
        return self._settings.prune_after is not None and trial.should_prune()

    def tell(self, trial: Trial, state: TrialState, value: float | None = None, **attributes: Any) -> None:
        """How it ended."""
        for name, attribute in attributes.items():
            trial.set_user_attr(name, attribute)
        self._study.tell(trial, value, state)

    def was_pruned(self, directory: str) -> bool:
        """Whether one with this run was."""
        pruned = (trial for trial in self.all() if trial.state is TrialState.PRUNED)
        return any(trial.user_attrs["directory"] == directory for trial in pruned)

    def best(self) -> optuna.trial.FrozenTrial | None:
        """The best that is complete."""
        with suppress(ValueError):
            return self._study.best_trial
        return None


def _suggest(trial: Trial, dimension: Dimension) -> Any:
    key, low, high, step, log = dimension.key, dimension.low, dimension.high, dimension.step, dimension.log
    if step is None and dimension.texts:
        return trial.suggest_categorical(key, dimension.texts)
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, step=int(step or 1), log=log)
    return trial.suggest_float(key, low, high, step=step, log=log)


def _cut_torn_line(path: Path) -> None:
    """Drop the end of a line that a killed process had begun: the next one would be appended to it."""
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
