"""What is used of Hydra beyond its public interface, all in this file: composing, sweeps, flags, starting.

Hydra's public `compose` can neither tell every fault at once nor list the jobs of a sweep before they run.
"""

from __future__ import annotations

import copy
import re
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import _run_hydra, create_config_search_path, get_args_parser
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime, setup_globals
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from tedg.config.sources import Sources, folder_of

# What Hydra raises for overrides and files that make no configuration.
COMPOSE_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)
_SEARCH_PATH = "hydra.searchpath="
_BASE = "1.3"  # of Hydra's behaviour


class _Files(ConfigRepository):
    """Hydra's reader of YAML files, each read once; its errors name the file, and the line where possible."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        """As Hydra's."""
        super().__init__(config_search_path)
        self._read: dict[tuple[str, ...], Any] = {}

    def __deepcopy__(self, _: Any) -> _Files:
        """One with places of its own, as Hydra makes for every configuration; what was read is shared."""
        return copy.copy(self)

    def load_config(self, config_path: str) -> Any:
        """As Hydra's, to be changed at will; ConfigCompositionException for a file that cannot be read."""
        key = (*(source.path for source in self.sources), config_path)
        if key not in self._read:
            try:
                self._read[key] = super().load_config(config_path)
            except (*COMPOSE_ERRORS, OSError) as error:
                file = _file_of(self.get_sources(), config_path) or config_path
                raise ConfigCompositionException(f"{file}{_place(error)}") from None
        return copy.deepcopy(self._read[key])


def _place(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f", line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    if isinstance(error, UnicodeDecodeError):
        return f": is no UTF-8 text (byte {error.start})"
    return f": {first_line(error)}"


class Loader(ConfigLoaderImpl):
    """Hydra's loader for one command: whatever is asked of it, its search path is the command's.

    Values on which Hydra itself fails are refused like any other wrong override.
    """

    def __init__(self, sources: Sources, overrides: Sequence[str]) -> None:
        """`overrides` are looked through for hydra.searchpath only."""
        version.setbase(_BASE)
        setup_globals()
        JobRuntime.instance().set("name", "train")
        super().__init__(_search_path(sources))
        self.repository = _Files(self.config_search_path)
        self.sources = sources
        self.config_name = sources.name
        self.search_path = search_path_of(overrides)

    def compose(self, overrides: Sequence[str], mode: RunMode, *, sweeps: bool = False) -> DictConfig:
        """The configuration that Hydra makes of `overrides`; raises nothing but COMPOSE_ERRORS.

        With `sweeps` several values for one key are no error.
        """
        lines = [*(line for line in self.search_path if line not in overrides), *overrides]
        try:
            return self.load_configuration(self.config_name, lines, mode, validate_sweep_overrides=not sweeps)
        except (AttributeError, TypeError, LookupError, AssertionError, RecursionError) as error:
            if isinstance(error, COMPOSE_ERRORS):
                raise
            place = re.search(r"full_key: (\S+)", str(error))
            where = f"{place[1]}: " if place else ""
            raise ConfigCompositionException(f"{where}cannot be composed: {first_line(error)}") from None

    def options(self, group: str, kind: ObjectType = ObjectType.CONFIG) -> list[str]:
        """The files, or with ObjectType.GROUP the folders, in a folder of the search path."""
        return self.files.get_group_options(group, kind)

    def file_of(self, name: str) -> Path | None:
        """The file that `group/option` is read from; None for what Hydra itself holds."""
        return _file_of(self.files.get_sources(), name)

    def package_of(self, name: str) -> str | None:
        """What the `# @package` line of `group/option` says; None where there is no such line."""
        read: Any = self.files.load_config(name)
        return read.header.get("package") or None

    @cached_property
    def files(self) -> CachingConfigRepository:
        """All files on the search path; COMPOSE_ERRORS where that is none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a place that is not there is refused, in our words
            return self._parse_overrides_and_create_caching_repo(self.config_name, self.search_path)[1]


def search_path_of(overrides: Sequence[str]) -> list[str]:
    """Those of `overrides` that add places to Hydra's search path."""
    return [line for line in overrides if line.startswith(_SEARCH_PATH)]


def _search_path(sources: Sources) -> ConfigSearchPath:
    path = create_config_search_path(sources.main)
    if sources.extra is not None:  # placed as Hydra places it
        path.prepend("command-line", f"file://{sources.extra}", SearchPathQuery(provider="schema"))
    return path


def _file_of(sources: Sequence[Any], name: str) -> Path | None:
    """The file that Hydra takes for `group/option`: that of the first source which has it."""
    for source in sources:
        folder = folder_of(source.scheme(), source.path)
        if folder is not None and (file := folder / f"{name.removesuffix('.yaml')}.yaml").is_file():
            return file
    return None


def every_combination(overrides: list[Override]) -> Sequence[Sequence[str]]:
    """The overrides of each job of a sweep, as Hydra's basic sweeper makes them."""
    return BasicSweeper.split_arguments(overrides, None)[0]


def tell_overrides(cfgs: Sequence[DictConfig], overrides: Sequence[Override]) -> None:
    """Have configurations say that they were composed of `overrides`; Hydra's own among them stay."""
    task = [override for override in overrides if not override.is_hydra_override()]
    style = cfgs[0].hydra.job.config.override_dirname
    name = get_overrides_dirname(task, style.exclude_keys, style.item_sep, style.kv_sep)
    before: Any = OmegaConf.to_container(cfgs[0].hydra.overrides.task, resolve=False)
    new = {i: one.input_line for i, one in enumerate(task) if one.input_line != before[i]}
    for cfg in cfgs:
        with read_write(cfg.hydra):
            cfg.hydra.job.override_dirname = name
            for i, line in new.items():
                cfg.hydra.overrides.task[i] = line


def flags_parser() -> ArgumentParser:
    """The parser of Hydra's own flags."""
    return get_args_parser()


def start(
    flags: Namespace, sources: Sources, job: Callable[[DictConfig], Any], sweep: Callable[..., Any]
) -> None:
    """Do what Hydra does with `flags`, from these `sources`: call `job` for each job, or show something.

    hydra/sweeper=resume calls `sweep` instead, for all jobs; Hydra passes a sweeper no more than the job's
    function, so that carries it.
    """
    version.setbase(_BASE)
    job.sweep = sweep  # type: ignore[attr-defined]
    flags.config_path, flags.config_name, flags.config_dir = sources.main, sources.name, sources.extra
    _run_hydra(flags, flags_parser(), job, sources.main, sources.name)


def first_line(error: BaseException) -> str:
    """An error's message without the hints for developers that follow it."""
    lines = str(error).strip().splitlines()
    if not lines:
        return first_line(error.__cause__) if error.__cause__ is not None else type(error).__name__
    if lines[0].startswith("Error merging") and error.__cause__ is not None:
        return f"{lines[0]}: {first_line(error.__cause__)}"
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
