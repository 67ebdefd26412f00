"""Reads one small YAML or JSON file into plain dicts, lists, texts, integers, booleans and None.

The file may come from anyone, so it is read event by event, nothing is constructed but plain data, and
every construct that can hide work (tags, aliases, repeated keys, deep nesting, large files) is refused.
"""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # PyYAML without libyaml: slower, same result
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

MAX_BYTES = 2_000_000
MAX_DEPTH = 20
_CORE_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_WORDS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


class DocumentError(ValueError):
    """The file cannot be read as a plain document; `faults` are (place, what is wrong) pairs."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{place}: {fault}" if place else fault for place, fault in faults))
        self.faults = faults


def read_document(path: Path) -> Any:
    """Parse the file at `path`; raises DocumentError with every fault found."""
    return _Reader(_read_text(path)).read()


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise DocumentError([("", "not a regular file")])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError([("", f"cannot be read: {error.strerror or error}")]) from None
    if len(data) > MAX_BYTES:
        raise DocumentError([("", f"larger than {MAX_BYTES:,} bytes")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(
            [("", f"not UTF-8 text: byte {error.start} is {data[error.start]:#04x}")]
        ) from None


class _Reader:
    """Builds plain data from a parser's events; recursion is bounded by MAX_DEPTH."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.faults: list[tuple[str, str]] = []

    def read(self) -> Any:
        """The document's only value; raises DocumentError."""
        try:
            self.loader: Any = Loader(self.text)
            self._next()  # stream start
            if isinstance(self._next(), yaml.StreamEndEvent):
                raise DocumentError([("", "the file is empty")])
            document = self._value(self._next(), "", 0)
            self._next()  # document end
            if not isinstance(self._next(), yaml.StreamEndEvent):
                raise DocumentError([*self.faults, ("", "holds more than one document")])
        except yaml.YAMLError as error:
            if _open_brackets(self.text) > MAX_DEPTH:  # some versions of the parser refuse that themselves
                raise DocumentError([*self.faults, _too_deep("")]) from None
            problem = " ".join(str(error).replace('in "<unicode string>", ', "").split())
            raise DocumentError([*self.faults, ("", f"not valid YAML: {problem[:300]}")]) from None
        if self.faults:
            raise DocumentError(self.faults)
        return document

    def _next(self) -> Any:
        return self.loader.get_event()

    def _value(self, event: Any, place: str, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            raise DocumentError(
                [*self.faults, (place, "aliases (*name) are not allowed, write the value out")]
            )
        if depth > MAX_DEPTH:
            raise DocumentError([*self.faults, _too_deep(place)])
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, place)
        if event.tag is not None:
            self.faults.append((place, f"the tag {event.tag!r} is not allowed"))
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place, depth)
        return self._mapping(place, depth)

    def _sequence(self, place: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event, f"{place}[{len(items)}]", depth + 1))
        return items

    def _mapping(self, place: str, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._value(event, place, depth + 1)
            value = self._value(self._next(), join(place, str(key)[:60]), depth + 1)
            if not isinstance(key, str):
                self.faults.append((place, f"the key {str(key)[:60]} must be text"))
            elif key in items:
                self.faults.append((place, f"the key {key[:60]!r} is given twice"))
            else:
                items[key] = value
        return items

    def _scalar(self, event: Any, place: str) -> str | int | bool | None:
        text: str = event.value
        if event.tag is not None:
            self.faults.append((place, f"the tag {event.tag!r} is not allowed"))
            return text
        tag = self.loader.resolve(yaml.ScalarNode, text, event.implicit).removeprefix(_CORE_TAG)
        if tag == "str":
            return text
        if tag == "null":
            return None
        if tag == "bool":
            return _WORDS[text.lower()]
        if tag == "int" and _INTEGER.fullmatch(text):
            return int(text)
        self.faults.append(
            (place, f"{text[:60]} reads as {tag}; write a plain decimal integer, or quote a text")
        )
        return text


def _too_deep(place: str) -> tuple[str, str]:
    return place[:60], f"nested more than {MAX_DEPTH} levels deep"


def _open_brackets(text: str) -> int:
    """The most brackets and braces that are open at once, without regard to quotes and comments."""
    steps = (1 if mark in "[{" else -1 for mark in re.findall(r"[\[\]{}]", text))
    return max(accumulate(steps), default=0)


def join(place: str, key: str) -> str:
    """The place of `key` inside the mapping at `place`."""
    return f"{place}.{key}" if place else key
