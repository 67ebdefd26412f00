"""From command-line overrides to validated configurations, before Hydra runs or makes anything."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tedg.config.causes import explain_keys_of_some_jobs, explain_missing_package
from tedg.config.hydra_api import COMPOSE_ERRORS, Loader, every_combination, first_line
from tedg.config.module_schemas import refuse_foreign_launchers
from tedg.config.overrides import sound_overrides
from tedg.config.resolve import resolve
from tedg.config.run_config import RunConfig
from tedg.config.sources import Sources, folder_of
from tedg.config.typed import NO_SUCH_KEY, Faults, written_as_fractions
from tedg.config.validation import validate
from tedg.files import SLUG, unwritable
from tedg.spelling import did_you_mean


@dataclass(frozen=True, slots=True)
class Composed:
    """One run's configuration in the three forms that others need."""

    config: RunConfig  # validated and typed
    resolved: dict[str, Any]  # plain, as composed, every interpolation resolved
    saved: dict[str, Any]  # the same for config.yaml: what depends on environment variables stays as written
    ancestors: dict[str, dict[str, Any]]  # stage nodes of the parent, its parent, ... by their names
    overrides: tuple[str, ...]  # as typed, without Hydra's own
    sweep: bool  # a job of a multirun
    sources: Sources
    hydra_overrides: tuple[str, ...]  # Hydra's own, as typed; Hydra may have added its mode

    @property
    def root(self) -> Path:
        """The directory that this run's own directory lies in, unless `run_dir` says otherwise."""
        paths = self.config.paths
        root = Path(paths.multirun_dir) / paths.study if self.sweep else Path(paths.output_dir)
        return root.expanduser()


def compose(overrides: Sequence[str] = (), sources: Sources | None = None) -> Composed:
    """Compose and validate one run; raises ConfigError that lists everything wrong with it."""
    faults = Faults()
    loader = _loader(overrides, sources, faults)
    composed = _one(loader, overrides, False, faults)
    faults.raise_if_any()
    assert composed is not None
    return composed


def compose_all(overrides: Sequence[str], multirun: bool, sources: Sources | None = None) -> list[Composed]:
    """Compose and validate a single run, or every job of a sweep; raises ConfigError with all faults.

    `multirun` is the -m flag; the configuration's `hydra.mode` can ask for a sweep as well.
    """
    faults = Faults()
    loader = _loader(overrides, sources, faults)
    jobs, sweep = _jobs(loader, overrides, multirun, faults)
    each = [Faults() for _ in jobs]
    found = [_one(loader, job, sweep, own) for job, own in zip(jobs, each, strict=True)]
    explain_keys_of_some_jobs(jobs, each)
    for own in each:
        faults.take(own)
    directories = [one.config.run_dir for one in found if one is not None]
    if sweep and len(directories) > 1 and any(directories):
        faults.add("run_dir", directories[0], "jobs of a sweep cannot share it; set paths.study instead")
    faults.raise_if_any()
    return [one for one in found if one is not None]


def compose_for_show(overrides: Sequence[str], sources: Sources, package: str | None = None) -> None:
    """Try whether Hydra can compose what it is to show; raises ConfigError that says why it cannot.

    `package` is the key that is to be shown alone.
    """
    faults = Faults()
    composed = _composed(_loader(overrides, sources, faults), overrides, faults)
    faults.raise_if_any()
    assert composed is not None
    if package not in (None, "_global_") and OmegaConf.select(composed[0], package) is None:
        faults.report(f"--package {package}{NO_SUCH_KEY}")
        faults.raise_if_any()


def from_hydra(cfg: DictConfig, sources: Sources | None = None) -> Composed:
    """The Composed form of the job that Hydra is running; raises ConfigError."""
    faults = Faults()
    full: Any = HydraConfig.instance().cfg
    composed = _settle(cfg, full, full.hydra.mode == RunMode.MULTIRUN, faults, sources or Sources.own())
    faults.raise_if_any()
    assert composed is not None
    return composed


def group_options(overrides: Sequence[str] = ()) -> tuple[DictConfig, dict[str, list[str]]]:
    """The configuration with `overrides`, and the options of every group; raises ConfigError."""
    cfg, groups = group_files(overrides)
    return cfg, {group: list(options) for group, options in groups.items()}


def group_files(
    overrides: Sequence[str], sources: Sources | None = None
) -> tuple[DictConfig, dict[str, dict[str, Path | None]]]:
    """As `group_options`, each option with its file."""
    faults = Faults()
    loader = _loader(overrides, sources, faults)
    composed = _composed(loader, overrides, faults)
    faults.raise_if_any()
    assert composed is not None
    return composed[0], {group: options for group, options in _walk_groups(loader, "") if options}


def _walk_groups(loader: Loader, parent: str) -> Iterator[tuple[str, dict[str, Path | None]]]:
    for name in loader.options(parent, ObjectType.GROUP):
        group = f"{parent}/{name}" if parent else name
        if group != "hydra":
            yield group, {option: loader.file_of(f"{group}/{option}") for option in loader.options(group)}
            yield from _walk_groups(loader, group)


def _loader(overrides: Sequence[str], sources: Sources | None, faults: Faults) -> Loader:
    """The loader for `overrides`; raises ConfigError where a place on its search path is not there."""
    loader = Loader(sources or Sources.own(), overrides)
    try:
        files = loader.files
    except COMPOSE_ERRORS as error:
        faults.report(first_line(error))
        faults.raise_if_any()
    for source in files.get_sources():
        if not source.available():
            what = f"folder {Path(source.path).absolute()}" if source.scheme() == "file" else source.path
            key = "--config-path" if source.provider == "main" else "hydra.searchpath"
            faults.report(f"{key}: there is no {what}")
    if not faults.lines and not files.config_exists(loader.config_name):
        places = ", ".join(
            str(folder)
            for source in files.get_sources()
            if source.provider != "hydra" and (folder := folder_of(source.scheme(), source.path))
        )
        near = did_you_mean(loader.config_name, loader.options(""))
        faults.report(f"there is no {loader.config_name}.yaml in {places}{near}")
    faults.raise_if_any()
    return loader


def _jobs(
    loader: Loader, overrides: Sequence[str], multirun: bool, faults: Faults
) -> tuple[list[Sequence[str]], bool]:
    """Overrides of every job, and whether they are the jobs of a sweep."""
    try:
        master = loader.compose(overrides, RunMode.MULTIRUN, sweeps=True)
    except COMPOSE_ERRORS:
        good = sound_overrides(loader, overrides, multirun, faults)
        if len(good) == len(overrides):
            return [overrides], False  # composing the single job again reports why
        return _jobs(loader, good, multirun, faults)
    sweep = multirun or master.hydra.mode == RunMode.MULTIRUN
    if not sweep:
        return [overrides], False
    for part in ("sweeper", "launcher"):
        if not isinstance(OmegaConf.select(master.hydra, f"{part}._target_"), str):
            faults.report(f"hydra.{part}: has no _target_, and a sweep needs it; leave Hydra's own")
            return [], True
    parameters = _plain(master.hydra.sweeper.get("params") or OmegaConf.create({}))
    lines = [*(f"{key}={value}" for key, value in parameters.items()), *_typed(master, "task")]
    own = _typed(master, "hydra")
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(lines)
        jobs = every_combination(parsed)
    except HydraException as error:
        faults.report(first_line(error))
        return [], True
    return [[*own, *job] for job in jobs], True


def _one(loader: Loader, overrides: Sequence[str], sweep: bool, faults: Faults) -> Composed | None:
    composed = _composed(loader, overrides, faults)
    if composed is None:
        return None
    full, cfg = composed
    with _as_in_its_job(full, faults):
        settled = _settle(cfg, full, sweep, faults, loader.sources)
    explain_missing_package(loader, full.hydra.runtime.choices, faults)
    return settled


def _composed(
    loader: Loader, overrides: Sequence[str], faults: Faults
) -> tuple[DictConfig, DictConfig] | None:
    """What Hydra makes of `overrides`, and the same without Hydra's own settings.

    Without the bad ones where there are such, to report what else is wrong; None where that is no help.
    """
    try:
        full = loader.compose(overrides, RunMode.RUN)
    except COMPOSE_ERRORS as error:
        good = sound_overrides(loader, overrides, False, faults)
        if len(good) < len(overrides):
            return _composed(loader, good, faults)
        faults.report(first_line(error))
        return None
    return full, OmegaConf.masked_copy(full, [str(key) for key in full if key != "hydra"])


def _settle(
    cfg: DictConfig, full: DictConfig, sweep: bool, faults: Faults, sources: Sources
) -> Composed | None:
    refuse_foreign_launchers(_plain(full.hydra), faults)
    resolved, saved = resolve(cfg, faults)
    config = validate(resolved, faults, sweep)
    if config is not None and (whole := written_as_fractions(resolved, config)):
        # Text made of a number, like the run's name, is made of its proper form: 1e3 is 1000, not 1000.0.
        for key, number in whole.items():
            OmegaConf.update(cfg, key, number)
        resolved, saved = resolve(cfg, faults)
        config = validate(resolved, faults, sweep)
    _validate_hydra_place(full, sweep, faults)
    ancestors = _ancestors(cfg, resolved.get("stage"), full.hydra.runtime.config_sources, faults)
    if config is None:
        return None
    typed = tuple(_typed(full, "hydra")), tuple(_typed(full, "task"))
    return Composed(config, resolved, saved, ancestors, typed[1], sweep, sources, typed[0])


def _validate_hydra_place(full: DictConfig, sweep: bool, faults: Faults) -> None:
    """Hydra makes a directory of its own: by default the run's, which is validated already."""
    key = "hydra.sweep.dir" if sweep else "hydra.run.dir"
    try:
        place = OmegaConf.select(full, key)
    except OmegaConfBaseException as error:
        faults.report(f"{key}: cannot be resolved: {first_line(error)}")
        return
    if not isinstance(place, str):
        faults.add(key, place, "must be a directory")
    elif not faults.lines and (reason := unwritable(Path(place))) is not None:
        faults.add(key, place, reason)


def _ancestors(
    cfg: DictConfig, stage: Any, sources: Sequence[Any], faults: Faults
) -> dict[str, dict[str, Any]]:
    """The stages before `stage`, nearest first, as their YAML files have them, resolved within `cfg`."""
    found: dict[str, dict[str, Any]] = {}
    places = [folder_of(source.schema, source.path) for source in sources]
    folders = [place / "stage" for place in places if place is not None]
    key = "stage.parent"
    while isinstance(stage, Mapping) and (parent := stage.get("parent")) not in found:
        if not isinstance(parent, str) or not SLUG.fullmatch(parent):
            break  # none, or reported as a bad name
        files = [folder / f"{parent}.yaml" for folder in folders if (folder / f"{parent}.yaml").is_file()]
        if not files:
            known = [file.stem for folder in folders for file in folder.glob("*.yaml")]
            faults.add(key, parent, f"there is no such stage{did_you_mean(parent, known)}")
            break
        with_parent = copy.deepcopy(cfg)
        with_parent.stage = OmegaConf.load(files[0])
        if not isinstance(with_parent.stage, DictConfig):
            faults.report(f"{files[0]}: must hold the keys of a stage")
            break
        stage, _ = resolve(with_parent.stage, faults)
        found[parent] = stage
        key = f"{files[0]}: parent"
    return found


def _typed(full: DictConfig, kind: str) -> list[str]:
    """Overrides as they were typed: what they read from the environment is no part of them."""
    lines: Any = OmegaConf.to_container(full.hydra.overrides[kind], resolve=False)
    return [str(line) for line in lines]


def _plain(node: Any, *, resolve: bool = False) -> dict[str, Any]:
    container: Any = OmegaConf.to_container(node, resolve=resolve)
    return {str(key): value for key, value in container.items()}


@contextmanager
def _as_in_its_job(full: DictConfig, faults: Faults) -> Iterator[None]:
    """Let `${hydra:...}` find `full`, and `${oc.env:...}` what Hydra sets for the job in the environment."""
    instance = HydraConfig.instance()
    before, environment = instance.cfg, dict(os.environ)
    instance.set_config(full)
    try:
        try:
            own = _plain(full.hydra.job.env_set, resolve=True)
        except OmegaConfBaseException as error:
            faults.report(f"hydra.job.env_set: cannot be resolved: {first_line(error)}")
            own = {}
        os.environ.update(own)
        yield
    finally:
        instance.cfg = before
        os.environ.clear()
        os.environ.update(environment)
