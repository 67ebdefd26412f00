"""From command-line overrides to validated configurations, before Hydra runs or makes anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from tedg.config.causes import explain_keys_of_some_jobs
from tedg.config.hydra_api import COMPOSE_ERRORS, Loader, every_combination, first_line
from tedg.config.jobs import Progress, compose_jobs, compose_one, hydra_composed
from tedg.config.overrides import sound_overrides
from tedg.config.search import Space, is_search, space_of
from tedg.config.settle import Composed as Composed
from tedg.config.settle import Settling, plain, typed
from tedg.config.sources import Sources, folder_of
from tedg.config.typed import NO_SUCH_KEY, Faults
from tedg.spelling import did_you_mean


def compose(overrides: Sequence[str] = (), sources: Sources | None = None) -> Composed:
    """Compose and validate one run; raises ConfigError that lists everything wrong with it."""
    faults = Faults()
    loader = _loader(overrides, sources, faults)
    composed = compose_one(loader, overrides, False, faults)
    faults.raise_if_any()
    assert composed is not None
    _planned_arms(loader, [composed], faults)
    faults.raise_if_any()
    return composed


def compose_all(
    overrides: Sequence[str],
    multirun: bool,
    sources: Sources | None = None,
    progress: Progress | None = None,
) -> list[Composed]:
    """Compose and validate a single run, or every job of a sweep; raises ConfigError with its faults.

    `multirun` is the -m flag; the configuration's `hydra.mode` can ask for a sweep as well. `progress` is
    called with the number of jobs that are composed, and that of all. The jobs share what is the same in
    them, so nobody may change it. Those of a search are what shows that its values are good ones.
    """
    faults = Faults()
    loader = _loader(overrides, sources, faults)
    jobs, sweep = _jobs(loader, overrides, multirun, faults)
    tried = jobs.tried(progress) if isinstance(jobs, Space) else compose_jobs(loader, jobs, sweep, progress)
    made = [job for job in tried if job.faults is not None]
    each = [job.faults or Faults() for job in made]
    explain_keys_of_some_jobs([job.lines for job in made], each)
    for own in each:
        faults.take(own)
    found = [job.composed for job in made]
    directories = [one.config.run_dir for one in found if one is not None]
    if sweep and len(directories) > 1 and any(directories):
        faults.add("run_dir", directories[0], "jobs of a sweep cannot share it; set paths.study instead")
    faults.raise_if_any()
    runs = [one for one in found if one is not None]
    _planned_arms(loader, runs, faults)
    faults.raise_if_any()
    return runs


def search_space(overrides: Sequence[str], sources: Sources) -> Space | None:
    """What a search draws its runs from; None where every key has one value. Raises ConfigError."""
    faults = Faults()
    space, _ = _jobs(_loader(overrides, sources, faults), overrides, True, faults)
    faults.raise_if_any()
    return space if isinstance(space, Space) else None


def compose_for_show(overrides: Sequence[str], sources: Sources, package: str | None = None) -> None:
    """Try whether Hydra can compose what it is to show; raises ConfigError that says why it cannot.

    `package` is the key that is to be shown alone.
    """
    faults = Faults()
    composed = hydra_composed(_loader(overrides, sources, faults), overrides, faults)
    faults.raise_if_any()
    assert composed is not None
    if package not in (None, "_global_") and OmegaConf.select(composed[0], package) is None:
        faults.report(f"--package {package}{NO_SUCH_KEY}")
        faults.raise_if_any()


def from_hydra(cfg: DictConfig, sources: Sources | None = None) -> Composed:
    """The Composed form of the job that Hydra is running; raises ConfigError."""
    faults = Faults()
    full: Any = HydraConfig.instance().cfg
    sweep = full.hydra.mode == RunMode.MULTIRUN
    composed = Settling(cfg, full, sweep, sources or Sources.own()).settle(faults)
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
    composed = hydra_composed(loader, overrides, faults)
    faults.raise_if_any()
    assert composed is not None
    return composed[0], {group: options for group, options in _walk_groups(loader, "") if options}


def _walk_groups(loader: Loader, parent: str) -> Iterator[tuple[str, dict[str, Path | None]]]:
    for name in loader.options(parent, ObjectType.GROUP):
        group = f"{parent}/{name}" if parent else name
        if group != "hydra":
            yield group, {option: loader.file_of(f"{group}/{option}") for option in loader.options(group)}
            yield from _walk_groups(loader, group)


def _planned_arms(loader: Loader, runs: Sequence[Composed], faults: Faults) -> None:
    """Whether there can be runs of every arm of a plan: a misspelt one would show after days of training."""
    for plan in dict.fromkeys(run.config.plan for run in runs if run.config.plan is not None):
        options = loader.options(plan.by)
        if not options and not any(_has(run.resolved, plan.by) for run in runs):
            near = did_you_mean(plan.by, [group for group, _ in _walk_groups(loader, "")])
            faults.add("plan.by", plan.by, f"must be a group or a key{near}")
        for name in ("primary", "secondary") if options else ():
            arms = dict.fromkeys(arm for contrast in getattr(plan, name) for arm in contrast)
            for arm in (arm for arm in arms if arm not in options):
                near = did_you_mean(arm, options)
                faults.add(f"plan.{name}", arm, f"must be an option of {plan.by}{near}")


def _has(node: Any, key: str) -> bool:
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return False
        node = node[name]
    return True


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
) -> tuple[list[Sequence[str]] | Space, bool]:
    """Overrides of every job, or what a search draws them from, and whether they are the jobs of a sweep."""
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
    parameters = plain(master.hydra.sweeper.get("params") or OmegaConf.create({}))
    task, own = typed(master, "task"), typed(master, "hydra")
    typed_keys = {line.partition("=")[0].lstrip("+") for line in task}
    swept = [f"{key}={value}" for key, value in parameters.items() if key.lstrip("+") not in typed_keys]
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides([*swept, *task])
        if is_search(master):
            space = space_of(loader, own, parsed, faults)
            if space is not None or faults.lines:
                return space or [], True
        jobs = every_combination(parsed)
    except HydraException as error:
        faults.report(first_line(error))
        return [], True
    return [[*own, *job] for job in jobs], True
