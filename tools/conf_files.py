"""The files of conf/ as they are written: keys with the comments beside them, before anything is composed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).resolve().parent.parent / "conf"


@dataclass(frozen=True, slots=True)
class Key:
    """A key's value as it is written, and the comment behind it."""

    value: str
    comment: str
    group: bool = False  # of other keys


@dataclass(frozen=True, slots=True)
class Option:
    """A file of conf/, with the keys of the options of its own group that it begins with."""

    about: str
    target: str | None
    is_global: bool  # sets keys outside its group
    keys: dict[str, Key] = field(default_factory=dict)  # by their dotted names
    defaults: dict[str, str] = field(default_factory=dict)  # group or place: option, of its list of defaults


def options_of(group: str) -> dict[str, Option]:
    """The options of a group by their names; of the empty one, config.yaml alone."""
    files = [CONF / "config.yaml"] if not group else sorted((CONF / group).glob("*.yaml"))
    return {path.stem: _read(path) for path in files}


def _read(path: Path) -> Option:
    text = path.read_text()
    lines = text.splitlines()
    comments = [
        line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines)
    ]
    is_global = "@package _global_" in comments
    told = " ".join(line for line in comments if not line.startswith("@"))
    about = re.split(r"\. (?=[A-Z*+])|:\s+python -m", told, maxsplit=1)[0].rstrip(".")
    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    pairs = root.value if root is not None else []
    keys: dict[str, Key] = {}
    defaults: dict[str, str] = {}
    for entry in next((value.value for key, value in pairs if key.value == "defaults"), ()):
        if isinstance(entry, yaml.ScalarNode):
            name, _, place = entry.value.partition("@")
            beside = path.with_name(f"{name}.yaml")
            if place:
                defaults[place] = name
            elif path.stem != "config" and beside.exists():
                earlier = _read(beside)
                keys, defaults = keys | earlier.keys, defaults | earlier.defaults
            continue
        ((group, option),) = entry.value
        defaults[group.value.removeprefix("override ").lstrip("/")] = option.value
    keys |= dict(_keys(pairs, lines, ""))
    target = keys["_target_"].value if "_target_" in keys else None
    return Option(about, None if target == "null" else target, is_global, keys, defaults)


def _keys(pairs: Any, lines: list[str], under: str) -> Iterator[tuple[str, Key]]:
    for key, value in pairs:
        name = f"{under}{key.value}"
        if name in ("defaults", "hydra"):
            continue
        is_group = isinstance(value, yaml.MappingNode) and not value.flow_style
        below = not isinstance(value, yaml.ScalarNode) and not value.flow_style
        end = key.end_mark if below else value.end_mark
        rest = lines[end.line][end.column :] if end.line < len(lines) else ""
        comment = rest.partition("# ")[2].strip()
        written = lines[value.start_mark.line][value.start_mark.column : value.end_mark.column]
        if is_group:  # as on one line
            inner = dict(_keys(value.value, lines, ""))
            written = inner["_target_"].value.rpartition(".")[2] if "_target_" in inner else ""
            written = written or f"{{{', '.join(f'{one}: {held.value}' for one, held in inner.items())}}}"
        yield name, Key(written or "null", comment, is_group)
        if is_group:
            yield from _keys(value.value, lines, f"{name}.")
