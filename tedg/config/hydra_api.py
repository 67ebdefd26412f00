"""What is used of Hydra beyond its public interface, all in this file: composing, sweeps, flags.

Hydra's public `compose` can neither tell every fault at once nor list the jobs of a sweep before they run.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

# What Hydra raises for overrides and files that make no configuration.
COMPOSE_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)


class Loader(ConfigLoaderImpl):
    """Hydra's loader. Values on which Hydra itself fails are refused like any other wrong override."""

    def load_configuration(self, *args: Any, **kwargs: Any) -> DictConfig:
        """As Hydra's, raising nothing but COMPOSE_ERRORS."""
        try:
            return super().load_configuration(*args, **kwargs)
        except (AttributeError, TypeError, LookupError, AssertionError, RecursionError) as error:
            if isinstance(error, COMPOSE_ERRORS):
                raise
            place = re.search(r"full_key: (\S+)", str(error))
            where = f"{place[1]}: " if place else ""
            raise ConfigCompositionException(f"{where}cannot be composed: {first_line(error)}") from None


@contextmanager
def open_loader(directory: Path) -> Iterator[Loader]:
    """A loader of the YAML files in `directory` and on Hydra's search path."""
    with initialize_config_dir(str(directory.absolute()), job_name="train", version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield Loader(hydra.config_loader.get_search_path())


def every_combination(overrides: list[Override]) -> Sequence[Sequence[str]]:
    """The overrides of each job of a sweep, as Hydra's basic sweeper makes them."""
    return BasicSweeper.split_arguments(overrides, None)[0]


def flags_parser() -> ArgumentParser:
    """The parser of Hydra's own flags."""
    return get_args_parser()


def first_line(error: Exception) -> str:
    """An error's message without the hints for developers that follow it."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
