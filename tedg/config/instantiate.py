"""Builds the modules that a configuration picks by `_target_`."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Mapping
from typing import Any

from tedg.config.targets import is_allowed, refusal
from tedg.errors import ConfigError


def build(node: Mapping[str, Any], **runtime: Any) -> Any:
    """Build `node["_target_"]` from the node's other keys and `runtime`, nested nodes first.

    Sizes known only when a run starts come in `runtime`, which goes to the outermost object alone.
    Raises ConfigError for a target outside tedg and the packages in TEDG_ALLOW, for arguments that the target
    does not take, and for values that it refuses by a ValueError or trips over by a TypeError.
    """
    target = node.get("_target_")
    factory = locate(target)
    settings = {key: _nested(value) for key, value in node.items() if key != "_target_"}
    try:
        inspect.signature(factory).bind(**settings, **runtime)
    except TypeError as error:
        raise ConfigError(f"_target_={target}: {error}") from None
    try:
        return factory(**settings, **runtime)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"_target_={target}: {in_words(error)}") from error


def in_words(error: Exception) -> str:
    """An error of somebody's code in one line: a ValueError's text, of others the kind and the place too."""
    if isinstance(error, ValueError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    places = [place for place in frames if place.filename[0] != "<" and "site-packages" not in place.filename]
    where = f" ({places[-1].filename}, line {places[-1].lineno})" if places else ""
    return f"{type(error).__name__}: {error}{where}"


def _nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return build(value) if "_target_" in value else {key: _nested(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nested(item) for item in value]
    return value


def locate(target: Any) -> Any:
    """The allowed class or function that a `_target_` names; ConfigError otherwise."""
    reason = refusal(target)
    if reason is not None:
        raise ConfigError(f"_target_={target}: {reason}")
    module, _, name = target.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    # A name that a module imported from elsewhere is as foreign as its home.
    if not callable(found) or not is_allowed(getattr(found, "__module__", "") or ""):
        raise ConfigError(f"_target_={target}: refused: it is not a class or function of an allowed package")
    return found
