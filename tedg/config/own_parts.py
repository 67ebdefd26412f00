"""The settings of a part that tedg has no schema for, validated against its class."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, is_dataclass, make_dataclass
from inspect import Parameter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from tedg.config.instantiate import in_words, locate
from tedg.config.typed import Faults, read
from tedg.errors import ConfigError


def read_own(
    target: str, settings: Mapping[str, Any], given: Collection[str], key: str, faults: Faults
) -> dict[str, Any]:
    """`settings` in the form that the class `target` takes; faults are added under the dotted `key`.

    The schema is the class's own dataclass `Settings`. Without one it is the constructor's arguments, but for
    those that are `given` when it is built: their names, which of them have defaults, and their annotations.

    The class is imported, with torch as a rule: what an annotation, a base class or a decorator means shows
    only then. Nothing is added to what was written, and whole numbers stay whole, so a run keeps its id when
    its class gets annotations.
    """
    try:
        part = locate(target)
        schema: Any = getattr(part, "Settings", None)
        if not is_dataclass(schema):
            schema = _schema(part, settings, given)
    except ConfigError as error:
        faults.report(f"{key}.{error}")
        return dict(settings)
    except Exception as error:  # whatever a module does when it is imported
        faults.add(f"{key}._target_", target, f"cannot be imported: {in_words(error)}")
        return dict(settings)
    valid = read(schema, settings, key, faults)
    if valid is None:
        return dict(settings)
    return {name: _as_written(value, getattr(valid, name)) for name, value in settings.items()}


def _schema(part: Any, settings: Mapping[str, Any], given: Collection[str]) -> Any:
    """A dataclass of the constructor's arguments."""
    try:
        signature = inspect.signature(part, eval_str=True)
    except NameError:  # an annotation names what is imported for type checkers only
        signature = inspect.signature(part)
    parameters = [p for p in signature.parameters.values() if p.name not in given]
    fields: dict[str, Any] = {}
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
        fields = {name: (Any, field(default=None)) for name in settings}
    for p in parameters:
        if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
            hint = p.annotation if _readable(p.annotation) else Any
            fields[p.name] = (hint, field() if p.default is Parameter.empty else field(default=None))
    named = [(name, hint, default) for name, (hint, default) in fields.items()]
    return make_dataclass("Settings", named, kw_only=True)


def _readable(hint: Any) -> bool:
    """Whether values of this type can be told in a configuration; others are up to the constructor."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _readable(get_args(hint)[0])
    if origin in (Union, UnionType, tuple, list, Sequence):
        return all(inner is ... or _readable(inner) for inner in get_args(hint))
    return origin is Literal or hint in (bool, int, float, str, NoneType)


def _as_written(written: Any, value: Any) -> Any:
    """`value`, but with whole numbers that were written for floats as they were written."""
    if isinstance(written, list | tuple) and isinstance(value, list | tuple):
        return [_as_written(*pair) for pair in zip(written, value, strict=True)]
    return written if isinstance(written, int) and isinstance(value, float) else value
