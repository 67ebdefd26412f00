"""Finds the command-line overrides that Hydra would refuse, all of them, and says what was probably meant."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from tedg.config.causes import no_key_in
from tedg.config.hydra_api import COMPOSE_ERRORS, Loader, first_line
from tedg.config.typed import Faults
from tedg.spelling import did_you_mean


def sound_overrides(loader: Loader, overrides: Sequence[str], sweep: bool, faults: Faults) -> list[str]:
    """Those of `overrides` that can be composed; a fault is added for each other one.

    Several values for one key are sound only for a `sweep`.
    """
    parsed = [(line, _parse(line, faults)) for line in overrides]
    readable = [(line, override) for line, override in parsed if override is not None]
    for line, override in [] if sweep else list(readable):
        if override.is_sweep_override():
            faults.report(f"{line}: several values need -m, which runs each; a list is [a,b]")
            readable.remove((line, override))
    groups = [item for item in readable if loader.options(item[1].key_or_group)]
    known = [(line, override) for line, override in groups if _validate_group(loader, override, faults)]
    good = []
    for line, override in known:
        # A group inside another, like fusion/gate, is there or not by what is chosen for the outer one.
        outer = [one for one, other in known if override.key_or_group.startswith(f"{other.key_or_group}/")]
        if _composed(loader, [*outer, line], line, faults) is not None:
            good.append(line)
    base = _composed(loader, good, " ".join(good), faults)
    if base is None:
        return []
    swept = [override for _, override in known if override.is_discrete_sweep()]
    for line, override in readable:
        if (line, override) not in groups and _validate_value(loader, base, override, swept, faults):
            good.append(line)
    return [line for line in overrides if line in good]


def _composed(loader: Loader, overrides: list[str], written: str, faults: Faults) -> DictConfig | None:
    try:
        return loader.compose(overrides, RunMode.MULTIRUN, sweeps=True)
    except COMPOSE_ERRORS as error:
        reason = first_line(error)
        if reason.startswith("Could not override"):
            place = re.search(r"Did you mean to override (\S+)\?", str(error))  # the same group elsewhere
            reason = _no_such_group(loader, overrides)
            reason += f"; did you mean {place[1]}?" if place else ""
        faults.report(f"{written}: {reason}" if written else reason)
        return None


def _no_such_group(loader: Loader, overrides: list[str]) -> str:
    """Why the last of `overrides` chooses for a group that is not there."""
    line = overrides[-1]
    outer, _, inner = line.partition("=")[0].rpartition("/")
    if not outer:
        return f"this group has no default; write +{line}"
    base = loader.compose(overrides[:-1], RunMode.MULTIRUN)
    return f"{outer}={base.hydra.runtime.choices[outer]} has no {inner} to choose"


def _parse(line: str, faults: Faults) -> Override | None:
    try:
        return OverridesParser.create().parse_override(line)
    except HydraException as error:
        faults.report(f"{line}: {_unreadable(line, first_line(error))}")
        return None


def _unreadable(line: str, reason: str) -> str:
    """What is wrong with an override that Hydra's grammar cannot read."""
    key, equals, value = line.partition("=")
    if not equals:
        return "write an override as key=value"
    escaped = value.replace('"', '\\"')
    quoted = f'{key}="{escaped}"'
    try:
        OverridesParser.create().parse_override(quoted)
    except HydraException:
        return reason
    return f"{reason}; a value with signs that Hydra reads needs quotes of its own: {shlex.quote(quoted)}"


def _validate_group(loader: Loader, override: Override, faults: Faults) -> bool:
    options = loader.options(override.key_or_group)
    wrong = [value for value in _choices(override) if value not in options]
    for value in wrong:
        near = did_you_mean("none" if value is None else str(value), options)
        faults.add(override.key_or_group, value, f"must be one of {', '.join(options)}{near}")
    return not wrong


def _choices(override: Override) -> Iterator[Any]:
    if override.is_delete():
        return
    if override.is_discrete_sweep():
        yield from (text.strip("'\"") for text in override.sweep_string_iterator())
    else:
        value = override.value()
        yield from value if isinstance(value, list) else [value]  # a group may have several at once


def _validate_value(
    loader: Loader, base: DictConfig, override: Override, swept: Sequence[Override], faults: Faults
) -> bool:
    if override.is_add() or override.is_force_add() or _has(base, override.key_or_group):
        return True  # whether a new key may be there is for the schema to say
    for part in swept:
        if override.key_or_group.startswith(f"{part.key_or_group.replace('/', '.')}."):
            faults.report(_of_swept_part(loader, override, part))
            return False
    known = [*_keys(OmegaConf.to_container(base, resolve=False), ""), *loader.options("", ObjectType.GROUP)]
    faults.unknown(override.key_or_group, known, override.input_line)
    return False


def _of_swept_part(loader: Loader, override: Override, part: Override) -> str:
    """What is right for a key of a group that has several values, and whose default has no such key."""
    line, group = str(override.input_line), part.key_or_group
    choices = [f"{group}={value}" for value in _choices(part)]
    without = []
    for choice in choices:
        base = _composed(loader, [choice], choice, Faults())
        if base is None or not _has(base, override.key_or_group):
            without.append(choice)
    if without:
        return no_key_in(line, without)
    return f"{line}: in a sweep over {group} Hydra knows only the keys of its default; write ++{line}"


def _has(base: DictConfig, key: str) -> bool:
    node: Any = base
    for name in key.split("."):
        if not isinstance(node, DictConfig) or name not in node:
            return False
        opaque = OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name)
        node = None if opaque else node[name]
    return True


def _keys(node: Any, key: str) -> Iterator[str]:
    if isinstance(node, dict):
        for name, item in node.items():
            if key or name != "hydra":
                place = f"{key}.{name}" if key else str(name)
                yield place
                yield from _keys(item, place)
