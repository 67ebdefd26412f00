"""Which jobs of a sweep Hydra composes alike: those whose overrides differ in plain values alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from tedg.config.hydra_api import Loader

# Whole overrides, and of those that set a plain value the key and the value's kind.
Shape = tuple[tuple[str, str], ...]

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class _Line:
    """An override, read."""

    override: Override | None  # None: it cannot be read
    chooses: bool = False  # among the options of a group
    is_missing: bool = False  # such an option, and there is none of its name
    kind: str = ""  # of the plain value that it sets; empty for any other override


class Shapes:
    """Tells the shape of a job's overrides, each of which is read once."""

    def __init__(self, loader: Loader) -> None:
        """`loader` knows the groups and their options."""
        self._parser = OverridesParser.create()
        self._lines: dict[str, _Line] = {}
        self._disputed: dict[tuple[str, ...], set[str]] = {}
        self._is_group = cache(loader.files.group_exists)
        self._options = cache(loader.options)

    def shape(self, lines: Sequence[str]) -> Shape:
        """What decides how Hydra composes these overrides."""
        read = [self._line(line) for line in lines]
        keys = tuple(
            one.override.key_or_group for one in read if one.override is not None and not one.chooses
        )
        if keys not in self._disputed:
            self._disputed[keys] = {key for i, key in enumerate(keys) if _is_disputed(key, i, keys)}
        return tuple(
            (one.override.get_key_element(), one.kind)
            if one.override is not None and one.kind and one.override.key_or_group not in self._disputed[keys]
            else (line, "")
            for line, one in zip(lines, read, strict=True)
        )

    def overrides(self, lines: Sequence[str]) -> list[Any]:
        """As Hydra reads them."""
        return [self._line(line).override for line in lines]

    def miss_an_option(self, lines: Sequence[str]) -> bool:
        """Whether one of them chooses an option that is not there."""
        return any(self._line(line).is_missing for line in lines)

    def _line(self, text: str) -> _Line:
        if text not in self._lines:
            self._lines[text] = self._read(text)
        return self._lines[text]

    def _read(self, text: str) -> _Line:
        try:
            override = self._parser.parse_override(text)
        except HydraException:
            return _Line(None)
        key, value = override.key_or_group, override.value()
        if self._is_group(key) and not isinstance(value, dict):
            chosen = [] if override.is_delete() else value if isinstance(value, list) else [value]
            options = self._options(key)
            return _Line(override, True, any(option not in options for option in chosen))
        other = override.is_delete() or override.is_sweep_override() or override.package
        if other or key.split(".")[0] == "hydra" or not _DOTTED.fullmatch(key):
            return _Line(override)
        if isinstance(value, list):
            return _Line(override, kind="list" if all(map(_is_plain, value)) else "")
        return _Line(override, kind="" if not _is_plain(value) else "null" if value is None else "value")


def _is_plain(value: Any) -> bool:
    """Whether it is a single value that means itself: no interpolation, no group of keys, not missing."""
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return value is None or isinstance(value, int | float)


def _is_disputed(key: str, place: int, keys: Sequence[str]) -> bool:
    """Whether another of the dotted keys is the same one, lies in it or around it."""
    others = (*keys[:place], *keys[place + 1 :])
    return any(f"{key}.".startswith(f"{one}.") or f"{one}.".startswith(f"{key}.") for one in others)
