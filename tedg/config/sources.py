"""Which folders and primary file a configuration is composed of: tedg's own, or those of Hydra's flags."""

from __future__ import annotations

import importlib.util
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from tedg.errors import ConfigError
from tedg.files import PACKAGE, conf_dir, expanded
from tedg.spelling import did_you_mean_path

CONFIG_NAME = "config"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where Hydra looks, before any `hydra.searchpath`."""

    main: str  # absolute path of a folder, or pkg://package
    name: str = CONFIG_NAME  # of the primary file, without .yaml
    extra: str | None = None  # absolute path of a folder whose files are found after those of `main`
    flags: tuple[str, ...] = ()  # the flags that asked for this, as they were typed

    @classmethod
    def own(cls) -> Sources:
        """The folder of `tedg.files.conf_dir` alone."""
        return cls(str(conf_dir()))

    @classmethod
    def asked_for(cls, flags: Namespace) -> Sources:
        """What --config-path, --config-name and --config-dir ask for; ConfigError for a missing folder.

        A relative --config-path is looked for in the working directory first, and then where Hydra documents
        it: beside the file that declares the command.
        """
        main = _main(flags.config_path) if flags.config_path else _folder(conf_dir(), "TEDG_CONF_DIR")
        extra = _folder(Path(flags.config_dir), "--config-dir") if flags.config_dir else None
        typed = {
            "--config-path": flags.config_path,
            "--config-name": flags.config_name,
            "--config-dir": flags.config_dir,
        }
        written = tuple(part for flag, value in typed.items() if value for part in (flag, value))
        return cls(main, flags.config_name or CONFIG_NAME, extra, written)


def _main(path: str) -> str:
    if path.startswith("pkg://"):
        return path
    here, beside = expanded(path), PACKAGE / path
    if path.endswith((".yaml", ".yml")):
        name = f"--config-path {here.parent} --config-name {here.stem}"
        raise ConfigError(f"--config-path {path}: must be a folder; for this file write {name}")
    return _folder(here if here.is_dir() or not beside.is_dir() else beside, "--config-path")


def _folder(path: Path, flag: str) -> str:
    place = expanded(path).absolute()
    if not place.is_dir():
        raise ConfigError(f"{flag} {path}: there is no folder {place}{did_you_mean_path(str(path))}")
    return str(place)


def folder_of(scheme: str, path: str) -> Path | None:
    """The folder of a place on Hydra's search path; None where there is none, as for Hydra's own schemas."""
    if scheme == "file":
        return Path(path)
    spec = importlib.util.find_spec(path.replace("/", ".")) if scheme == "pkg" else None
    inside = spec.submodule_search_locations if spec is not None else None
    return Path(inside[0]) if inside else None
