"""Resolves a composed configuration twice: for use, and for saving without secrets from the environment."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from tedg.config.run_config import known_words
from tedg.config.typed import Faults


def resolve(cfg: DictConfig, faults: Faults) -> tuple[dict[str, Any], dict[str, Any]]:
    """`cfg` as plain data for use, and for a file.

    In the second form text that depends on an environment variable, however indirectly, stays the
    interpolation that was written: it may be a secret. Numbers are none, nor are the schema's own words
    (`cpu`, `none`), so these are written out, and with them what depends on nothing else. Faults are added
    for values that are missing or cannot be resolved.
    """
    used = _dict(cfg, "", faults)
    with _without_environment():
        saved = _dict(cfg, "", None)
    public = {key: value for key, value in _differing(used, saved) if _is_public(value)}
    if not public:
        return used, saved
    known = copy.deepcopy(cfg)
    for key, value in public.items():
        OmegaConf.update(known, key, value)
    with _without_environment():
        return used, _dict(known, "", None)


def _differing(used: Any, saved: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(place, value for use) where the form for a file has another value."""
    if isinstance(used, dict) and isinstance(saved, dict):
        for name in used:
            yield from _differing(used[name], saved[name], f"{key}.{name}" if key else name)
    elif isinstance(used, list) and isinstance(saved, list):
        for i, item in enumerate(used):
            yield from _differing(item, saved[i], f"{key}[{i}]")
    elif used != saved:
        yield key, used


def _is_public(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_public(item) for item in value)
    return value in known_words() if isinstance(value, str) else not isinstance(value, dict)


def _dict(node: DictConfig, key: str, faults: Faults | None) -> dict[str, Any]:
    places = {name: f"{key}.{name!s}" if key else str(name) for name in node}
    return {str(name): _value(node, name, place, faults) for name, place in places.items()}


def _value(node: DictConfig | ListConfig, name: Any, key: str, faults: Faults | None) -> Any:
    if OmegaConf.is_missing(node, name):
        if faults is not None:
            faults.report(f"{key}: has no default; set it")
        return None
    try:
        value = node[name]
    except (OmegaConfBaseException, _EnvironmentError) as error:
        raw: Any = OmegaConf.to_container(node, resolve=False)
        written = raw[name]
        if faults is not None:
            faults.add(key, written, f"cannot be resolved: {str(error).splitlines()[0]}")
        return written
    if isinstance(value, DictConfig):
        return _dict(value, key, faults)
    if isinstance(value, ListConfig):
        return [_value(value, i, f"{key}[{i}]", faults) for i in range(len(value))]
    return value


class _EnvironmentError(Exception):
    """An environment variable was asked for."""


def _refuse(*_: Any) -> Any:
    raise _EnvironmentError


@contextmanager
def _without_environment() -> Iterator[None]:
    OmegaConf.register_new_resolver("oc.env", _refuse, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
