"""Resolves a composed configuration twice: for use, and for saving without secrets from the environment."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from tedg.config.run_config import known_words
from tedg.config.typed import Faults

Path = tuple[str | int, ...]

# Interpolations of another key and of the options that were chosen, which depend on nothing else.
_OF_A_KEY = re.compile(r"\$\{(hydra:runtime\.choices\.)?([A-Za-z_]\w*(?:\.\w+)*)\}")
# A text like ${hydra:runtime.choices.fusion}-s${seed}: more than one interpolation alone, and no odd signs.
_NAME = re.compile(rf"(?:[\w/-]+|{_OF_A_KEY.pattern}){{2,}}")
_PART = re.compile(rf"([\w/-]+)|{_OF_A_KEY.pattern}")


def resolve(cfg: DictConfig, faults: Faults) -> tuple[dict[str, Any], dict[str, Any]]:
    """`cfg` as plain data for use, and for a file; see Resolution."""
    return Resolution(cfg).resolve(faults)


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """A place whose value has to be asked for: an interpolation, or one that is missing."""

    node: DictConfig | ListConfig  # that holds it
    name: Any
    key: str  # dotted, as it is told to the user
    path: Path
    reads: frozenset[str] | None  # see `keys_read`
    text: str


class Resolution:
    """The plain data of a configuration, made again cheaply after single values of it were set.

    Only the interpolations that may have changed are evaluated again. All data that was ever returned shares
    what stayed the same, so nobody may change it.
    """

    def __init__(self, cfg: DictConfig, inside: str = "") -> None:
        """Looks for the interpolations, which stay the same. `inside`: where `cfg` is a part, its key."""
        self.cfg, self._inside = cfg, inside
        written: Any = OmegaConf.to_container(cfg, resolve=False)
        self._open = list(_open_places(cfg, written, "", ()))
        self._used: dict[str, Any] = _with_text_keys(written)
        self._saved = self._used
        self._private = any(place.reads is None for place in self._open)
        self._due = set(self._open)  # to be evaluated
        self._concerned: dict[str, list[_Open]] = {}  # by a key
        whole = [self._whole_key(place) for place in self._open]
        self._names = {  # texts made of settled values, which need no parser when they are made again
            place
            for place in self._open
            if not inside
            and _NAME.fullmatch(place.text)
            and not any(_overlap(*pair) for pair in product(place.reads or (), whole))
        }

    def resolve(self, faults: Faults) -> tuple[dict[str, Any], dict[str, Any]]:
        """The data for use, and for a file.

        In the second form text that depends on an environment variable, however indirectly, stays the
        interpolation that was written: it may be a secret. Numbers are none, nor are the schema's own words
        (`cpu`, `none`), so these are written out, and with them what depends on nothing else. Faults are
        added for values that are missing or cannot be resolved.
        """
        due = [place for place in self._open if place in self._due]
        self._due = {place for place in due if place.reads is None}
        self._used = self._evaluated(self._used, due, faults)
        if not self._private:
            self._saved = self._used
            return self._used, self._saved
        with _without_environment():
            self._saved = self._evaluated(self._saved, due, None)
        public = {key: value for key, value in _differing(self._used, self._saved) if _is_public(value)}
        if not public:
            return self._used, self._saved
        known = copy.deepcopy(self.cfg)
        for key, value in public.items():
            OmegaConf.update(known, key, value)
        with _without_environment():
            return self._used, _dict(known, "", None)

    @property
    def is_closed(self) -> bool:
        """Whether all it depends on are its own values and the options that were chosen."""
        return not self._private

    def holds(self, path: Path) -> bool:
        """Whether there is a value at this place, below groups of keys only."""
        node: Any = self._used
        for name in path:
            if not isinstance(node, dict) or name not in node:
                return False
            node = node[name]
        return True

    def written(self, key: str) -> Any:
        """What stands at the dotted `key`: a value, or the text of an interpolation."""
        *groups, name = key.split(".")
        node: Any = self.cfg
        for group in groups:
            node = node[group]
        if OmegaConf.is_interpolation(node, name):
            raw: Any = OmegaConf.to_container(node, resolve=False)
            return raw[name]
        value = node[name]
        return OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value

    def set(self, key: str, value: Any) -> None:
        """Set the value of a key that is there, to another one of its kind, as an override does."""
        OmegaConf.update(self.cfg, key, value, merge=True)
        found: dict[Path, Any] = {tuple(key.split(".")): self.written(key)}
        self._used, self._saved = _placed(self._used, found), _placed(self._saved, found)
        self.changed(key)

    def changed(self, key: str) -> None:
        """Another value was set at this key of the whole configuration."""
        if key not in self._concerned:
            keys, found = {key}, set[_Open]()
            while new := [
                place
                for place in self._open
                if place not in found
                and place.reads is not None
                and any(_overlap(*pair) for pair in product(place.reads | {self._whole_key(place)}, keys))
            ]:
                found.update(new)
                keys.update(self._whole_key(place) for place in new)
            self._concerned[key] = list(found)
        self._due.update(self._concerned[key])

    def _filled(self, place: _Open, tree: dict[str, Any]) -> str | None:
        """The text of a name; None where it is up to OmegaConf how a value is written."""
        choices: Any = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
        parts = []
        for literal, of_hydra, key in _PART.findall(place.text):
            path = tuple(key.split("."))
            value = choices.get(key) if of_hydra else _at(tree, path) if key and self.holds(path) else literal
            if type(value) not in (str, int):
                return None
            parts.append(str(value))
        return "".join(parts)

    def _whole_key(self, place: _Open) -> str:
        return ".".join(str(name) for name in ((self._inside,) if self._inside else ()) + place.path)

    def _evaluated(self, tree: dict[str, Any], due: list[_Open], faults: Faults | None) -> dict[str, Any]:
        found = {}
        for place in due:
            if place in self._names and (name := self._filled(place, tree)) is not None:
                found[place.path] = name
                continue
            before = faults.count if faults is not None else 0
            found[place.path] = _value(place.node, place.name, place.key, faults)
            if faults is not None and faults.count > before:
                self._due.add(place)  # to be reported again
        return _placed(
            tree, {path: value for path, value in found.items() if not _same(_at(tree, path), value)}
        )


def _open_places(node: Any, written: Any, key: str, path: Path) -> Iterator[_Open]:
    for name, item in written.items() if isinstance(written, dict) else enumerate(written):
        inside = isinstance(written, list)
        place = f"{key}[{name}]" if inside else f"{key}.{name}" if key else str(name)
        here = (*path, name if inside else str(name))
        if isinstance(item, dict | list):
            yield from _open_places(node[name], item, place, here)
        elif isinstance(item, str) and ("${" in item or item == "???"):
            yield _Open(node, name, place, here, keys_read(item), item)


def keys_read(text: str) -> frozenset[str] | None:
    """The dotted keys of the whole configuration that decide what a text means; None: that cannot be told."""
    if "${" in _OF_A_KEY.sub("", text):
        return None
    found = frozenset(found[2] for found in _OF_A_KEY.finditer(text) if found[1] is None)
    return None if any(key.split(".")[0] == "hydra" for key in found) else found


def _overlap(first: str, second: str) -> bool:
    """Whether two dotted keys are the same, or one lies in the other."""
    return f"{first}.".startswith(f"{second}.") or f"{second}.".startswith(f"{first}.")


def _with_text_keys(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(name): _with_text_keys(item) for name, item in node.items()}
    return [_with_text_keys(item) for item in node] if isinstance(node, list) else node


def _at(node: Any, path: Path) -> Any:
    for name in path:
        node = node[name]
    return node


def _same(first: Any, second: Any) -> bool:
    """Whether two plain values are equal and of the same types: 1, 1.0 and true are three."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(first) == list(second) and all(_same(first[name], second[name]) for name in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)


def _placed(tree: dict[str, Any], values: Mapping[Path, Any]) -> dict[str, Any]:
    """`tree` with other values at some places; what lies on the way to them is copied, the rest is shared."""
    if not values:
        return tree
    copied: dict[Path, Any] = {(): copy.copy(tree)}
    for path, value in values.items():
        for i, name in enumerate(path[:-1]):
            here = path[: i + 1]
            if here not in copied:
                copied[here] = copied[path[:i]][name] = copy.copy(copied[path[:i]][name])
        copied[path[:-1]][path[-1]] = value
    return copied[()]


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
