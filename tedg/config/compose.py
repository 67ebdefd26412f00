"""From command-line overrides to validated configurations, before Hydra runs or makes anything."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tedg.config.hydra_api import COMPOSE_ERRORS, Loader, every_combination, first_line, open_loader
from tedg.config.module_schemas import refuse_foreign_launchers
from tedg.config.overrides import sound_overrides
from tedg.config.resolve import resolve
from tedg.config.run_config import RunConfig
from tedg.config.typed import Faults
from tedg.config.validation import validate
from tedg.files import SLUG, conf_dir, unwritable
from tedg.spelling import did_you_mean

CONFIG_NAME = "config"


@dataclass(frozen=True, slots=True)
class Composed:
    """One run's configuration in the three forms that others need."""

    config: RunConfig  # validated and typed
    resolved: dict[str, Any]  # plain, as composed, every interpolation resolved
    saved: dict[str, Any]  # the same for config.yaml: what depends on environment variables stays as written
    ancestors: dict[str, dict[str, Any]]  # stage nodes of the parent, its parent, ... by their names
    overrides: tuple[str, ...]  # as typed, without Hydra's own
    sweep: bool  # a job of a multirun

    @property
    def root(self) -> Path:
        """The directory that this run's own directory lies in, unless `run_dir` says otherwise."""
        paths = self.config.paths
        root = Path(paths.multirun_dir) / paths.study if self.sweep else Path(paths.output_dir)
        return root.expanduser()


def compose(overrides: Sequence[str] = ()) -> Composed:
    """Compose and validate one run; raises ConfigError that lists everything wrong with it."""
    faults = Faults()
    with open_loader(conf_dir()) as loader:
        composed = _one(loader, overrides, False, faults)
    faults.raise_if_any()
    assert composed is not None
    return composed


def compose_all(
    overrides: Sequence[str], multirun: bool, config_path: Path | None = None, config_name: str = CONFIG_NAME
) -> list[Composed]:
    """Compose and validate a single run, or every job of a sweep; raises ConfigError with all faults.

    `multirun` is the -m flag; the configuration's `hydra.mode` can ask for a sweep as well.
    """
    faults = Faults()
    with open_loader(config_path or conf_dir()) as loader:
        jobs, sweep = _jobs(loader, overrides, multirun, config_name, faults)
        found = [_one(loader, job, sweep, faults, config_name) for job in jobs]
    composed = [one for one in found if one is not None]
    directories = [one.config.run_dir for one in composed]
    if sweep and len(directories) > 1 and any(directories):
        faults.add("run_dir", directories[0], "jobs of a sweep cannot share it; set paths.study instead")
    faults.raise_if_any()
    return composed


def from_hydra(cfg: DictConfig) -> Composed:
    """The Composed form of the job that Hydra is running; raises ConfigError."""
    faults = Faults()
    full: Any = HydraConfig.instance().cfg
    composed = _settle(cfg, full, full.hydra.mode == RunMode.MULTIRUN, faults)
    faults.raise_if_any()
    assert composed is not None
    return composed


def group_options(overrides: Sequence[str] = ()) -> tuple[DictConfig, dict[str, list[str]]]:
    """The configuration with `overrides`, and the options of every group, for showing them to a user."""
    with open_loader(conf_dir()) as loader:
        cfg = loader.load_configuration(CONFIG_NAME, list(overrides), RunMode.RUN, from_shell=False)
        return cfg, {group: options for group, options in _walk_groups(loader, "") if options}


def _walk_groups(loader: Loader, parent: str) -> Iterator[tuple[str, list[str]]]:
    for name in loader.list_groups(parent):
        group = f"{parent}/{name}" if parent else name
        if group != "hydra":
            yield group, loader.get_group_options(group)
            yield from _walk_groups(loader, group)


def _jobs(
    loader: Loader, overrides: Sequence[str], multirun: bool, config_name: str, faults: Faults
) -> tuple[list[Sequence[str]], bool]:
    """Overrides of every job, and whether they are the jobs of a sweep."""
    try:
        master = loader.load_configuration(
            config_name, list(overrides), RunMode.MULTIRUN, validate_sweep_overrides=False
        )
    except COMPOSE_ERRORS:
        good = sound_overrides(loader, config_name, overrides, multirun, faults)
        if len(good) == len(overrides):
            return [overrides], False  # composing the single job again reports why
        return _jobs(loader, good, multirun, config_name, faults)
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


def _one(
    loader: Loader,
    overrides: Sequence[str],
    sweep: bool,
    faults: Faults,
    config_name: str = CONFIG_NAME,
) -> Composed | None:
    try:
        full = loader.load_configuration(config_name, list(overrides), RunMode.RUN)
    except COMPOSE_ERRORS as error:
        good = sound_overrides(loader, config_name, overrides, False, faults)
        if len(good) < len(overrides):
            # Go on without the bad ones, to report what else is wrong.
            return _one(loader, good, sweep, faults, config_name)
        faults.report(first_line(error))
        return None
    cfg = OmegaConf.masked_copy(full, [str(key) for key in full if key != "hydra"])
    with _as_hydra_config(full):
        return _settle(cfg, full, sweep, faults)


def _settle(cfg: DictConfig, full: DictConfig, sweep: bool, faults: Faults) -> Composed | None:
    refuse_foreign_launchers(_plain(full.hydra), faults)
    resolved, saved = resolve(cfg, faults)
    config = validate(resolved, faults, sweep)
    _validate_hydra_place(full, sweep, faults)
    ancestors = _ancestors(cfg, resolved.get("stage"), full.hydra.runtime.config_sources, faults)
    if config is None:
        return None
    return Composed(config, resolved, saved, ancestors, tuple(_typed(full, "task")), sweep)


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
    folders = [Path(source.path) / "stage" for source in sources if source.schema == "file"]
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


def _plain(node: Any) -> dict[str, Any]:
    container: Any = OmegaConf.to_container(node, resolve=False)
    return {str(key): value for key, value in container.items()}


@contextmanager
def _as_hydra_config(full: DictConfig) -> Iterator[None]:
    """Let `${hydra:...}` interpolations find `full`."""
    instance = HydraConfig.instance()
    before = instance.cfg
    instance.set_config(full)
    try:
        yield
    finally:
        instance.cfg = before
