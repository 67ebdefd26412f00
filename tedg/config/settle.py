"""From what Hydra composed to one run's validated configuration, and on to those of runs much like it."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tedg.config.hydra_api import first_line
from tedg.config.module_schemas import refuse_foreign_launchers
from tedg.config.resolve import Resolution, keys_read
from tedg.config.run_config import RunConfig
from tedg.config.sources import Sources, folder_of
from tedg.config.typed import Faults, written_as_fractions
from tedg.config.validation import validate
from tedg.files import SLUG, kept_in, unwritable
from tedg.spelling import did_you_mean


@dataclass(frozen=True, slots=True)
class Composed:
    """One run's configuration in the three forms that others need.

    Jobs of a sweep share what is the same in them: nothing in here may be changed.
    """

    config: RunConfig  # validated and typed
    resolved: dict[str, Any]  # plain, as composed, every interpolation resolved
    saved: dict[str, Any]  # the same for config.yaml: what depends on environment variables stays as written
    ancestors: dict[str, dict[str, Any]]  # stage nodes of the parent, its parent, ... by their names
    overrides: tuple[str, ...]  # as typed, without Hydra's own
    sweep: bool  # a job of a multirun
    sources: Sources
    hydra_overrides: tuple[str, ...]  # Hydra's own, as typed; Hydra may have added its mode
    options: dict[str, str] = field(
        default_factory=dict
    )  # the one chosen for every group: {"fusion": "concat"}

    @property
    def root(self) -> Path:
        """The directory that this run's own directory lies in, unless `run_dir` says otherwise."""
        paths = self.config.paths
        root = Path(paths.multirun_dir) / paths.study if self.sweep else Path(paths.output_dir)
        return root.expanduser()

    @property
    def kept_root(self) -> Path | None:
        """Where results of the study's runs are kept without their weights; None where none count."""
        paths = self.config.paths
        if paths.experiments_dir is None:
            return None
        return kept_in(Path(os.path.expanduser(paths.experiments_dir)), paths.study)


class Settling:
    """A composed configuration that is resolved and validated, again after single values of it were set."""

    def __init__(self, cfg: DictConfig, full: DictConfig, sweep: bool, sources: Sources) -> None:
        """`full` is as Hydra composed it, and `cfg` a copy without Hydra's own settings."""
        self.cfg, self.full, self.sweep, self.sources = cfg, full, sweep, sources
        self.resolution = Resolution(cfg)
        self._ancestors: dict[str, tuple[DictConfig, Resolution]] = {}
        self._known: tuple[dict[str, Any], RunConfig] | None = None
        self.overrides, self._own = typed(full, "task"), typed(full, "hydra")
        self._place_text = plain(full.hydra["sweep" if sweep else "run"])["dir"]
        self._place: Any = None  # what decided on Hydra's own directory when it was looked at

    def settle(self, faults: Faults) -> Composed | None:
        """The configuration as it stands; None after adding everything that is wrong with it."""
        if self._known is None:
            refuse_foreign_launchers(plain(self.full.hydra), faults)
        resolved, saved = self.resolution.resolve(faults)
        config = validate(resolved, faults, self.sweep, self._known)
        before: dict[str, Any] = {}
        if config is not None and (whole := written_as_fractions(resolved, config)):
            # Text made of a number, like the run's name, is made of its proper form: 1e3 is 1000, not 1000.0.
            before = {key: self.resolution.written(key) for key in whole}
            self._set(whole)
            resolved, saved = self.resolution.resolve(faults)
            config = validate(resolved, faults, self.sweep, self._known)
        self._validate_hydra_place(resolved, faults)
        ancestors = self._stages_before(resolved.get("stage"), faults)
        self._set(before)
        if config is None:
            return None
        self._known = (resolved, config)
        task, own = tuple(self.overrides), tuple(self._own)
        options = chosen(self.full)
        return Composed(config, resolved, saved, ancestors, task, self.sweep, self.sources, own, options)

    @property
    def is_closed(self) -> bool:
        """Whether nothing depends on Hydra's own settings but for the options that were chosen."""
        return self.resolution.is_closed and keys_read(str(self._place_text)) is not None

    def set(self, key: str, value: Any) -> None:
        """Set a value as an override does; it has to be of the same kind as the one before."""
        OmegaConf.update(self.full, key, value, merge=True)
        self._set({key: value})

    def _set(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            self.resolution.set(key, value)
            if key.split(".")[0] != "stage":  # that of an ancestor is its own
                for with_ancestor, resolution in self._ancestors.values():
                    OmegaConf.update(with_ancestor, key, value, merge=True)
                    resolution.changed(key)

    def _validate_hydra_place(self, resolved: Mapping[str, Any], faults: Faults) -> None:
        """Hydra makes a directory of its own: by default the run's, which is validated already."""
        key = "hydra.sweep.dir" if self.sweep else "hydra.run.dir"
        reads = keys_read(str(self._place_text))
        decisive = None if reads is None else {name: resolved.get(name.split(".")[0]) for name in reads}
        if decisive is not None and decisive == self._place:
            return
        self._place = None
        try:
            place = OmegaConf.select(self.full, key)
        except OmegaConfBaseException as error:
            faults.report(f"{key}: cannot be resolved: {first_line(error)}")
            return
        if not isinstance(place, str):
            faults.add(key, place, "must be a directory")
        elif not faults.lines:
            if (reason := unwritable(Path(place))) is not None:
                faults.add(key, place, reason)
            else:
                self._place = decisive

    def _stages_before(self, stage: Any, faults: Faults) -> dict[str, dict[str, Any]]:
        """The stages before `stage`, nearest first, as their YAML files have them, resolved in its place."""
        found: dict[str, dict[str, Any]] = {}
        key = "stage.parent"
        while isinstance(stage, Mapping) and (parent := stage.get("parent")) not in found:
            if not isinstance(parent, str) or not SLUG.fullmatch(parent):
                break  # none, or reported as a bad name
            folders = self._stage_folders
            files = [folder / f"{parent}.yaml" for folder in folders if (folder / f"{parent}.yaml").is_file()]
            if not files:
                known = [file.stem for folder in folders for file in folder.glob("*.yaml")]
                faults.add(key, parent, f"there is no such stage{did_you_mean(parent, known)}")
                break
            if parent not in self._ancestors:
                with_parent = copy.deepcopy(self.cfg)
                with_parent.stage = OmegaConf.load(files[0])
                if not isinstance(with_parent.stage, DictConfig):
                    faults.report(f"{files[0]}: must hold the keys of a stage")
                    break
                self._ancestors[parent] = with_parent, Resolution(with_parent.stage, "stage")
            stage, _ = self._ancestors[parent][1].resolve(faults)
            found[parent] = stage
            key = f"{files[0]}: parent"
        return found

    @cached_property
    def _stage_folders(self) -> list[Path]:
        sources: Sequence[Any] = self.full.hydra.runtime.config_sources
        places = [folder_of(source.schema, source.path) for source in sources]
        return [place / "stage" for place in places if place is not None]


def chosen(full: DictConfig) -> dict[str, str]:
    """The option of every group of ours, by the group's folder; groups without one are left out."""
    choices = plain(full.hydra.runtime.choices).items()
    own = {group.partition("@")[0]: option for group, option in choices if not group.startswith("hydra/")}
    return {group: str(option) for group, option in own.items() if option is not None}


def typed(full: DictConfig, kind: str) -> list[str]:
    """Overrides as they were typed: what they read from the environment is no part of them."""
    lines: Any = OmegaConf.to_container(full.hydra.overrides[kind], resolve=False)
    return [str(line) for line in lines]


def plain(node: Any, *, resolve: bool = False) -> dict[str, Any]:
    """A group of keys as a dict."""
    container: Any = OmegaConf.to_container(node, resolve=resolve)
    return {str(key): value for key, value in container.items()}


@contextmanager
def as_in_its_job(full: DictConfig, faults: Faults) -> Iterator[DictConfig]:
    """Let `${hydra:...}` find `full`, and `${oc.env:...}` what Hydra sets for the job in the environment.

    Gives what `as_in_its_job_again` takes.
    """
    instance: Any = HydraConfig.instance()
    before = instance.cfg
    instance.set_config(full)
    own = instance.cfg
    instance.cfg = before
    with as_in_its_job_again(own, faults):
        yield own


@contextmanager
def as_in_its_job_again(own: DictConfig, faults: Faults) -> Iterator[None]:
    """The same for a job that shares the copy of Hydra's settings with the one before."""
    instance: Any = HydraConfig.instance()
    before, environment = instance.cfg, None
    instance.cfg = own
    try:
        try:
            variables = plain(own.hydra.job.env_set, resolve=True)
        except OmegaConfBaseException as error:
            faults.report(f"hydra.job.env_set: cannot be resolved: {first_line(error)}")
            variables = {}
        if variables:
            environment = dict(os.environ)
            os.environ.update(variables)
        yield
    finally:
        instance.cfg = before
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
