"""Reads plain data and collects every fault with its place, instead of stopping at the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from tedg.spelling import did_you_mean

MAX_TEXT = 1000
MAX_FAULTS_SHOWN = 50
SUGGESTION = ', did you mean "{}"?'

T = TypeVar("T")


class Checker:
    """Collects (place, fault) pairs; after a fault a stand-in value is returned, to be thrown away later."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str]] = []

    def fault(self, place: str, message: str) -> None:
        """Record one fault."""
        self.faults.append((place, message))

    def did_you_mean(self, word: str, known: Iterable[str]) -> str:
        """A suggestion to append to a fault, or ""; none once there are more faults than anyone is shown."""
        return did_you_mean(word, known, SUGGESTION) if len(self.faults) < MAX_FAULTS_SHOWN else ""

    def mapping(
        self, value: Any, place: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """A mapping with these keys and no others; the known ones are returned."""
        if not isinstance(value, dict):
            self.fault(place, f"must be a mapping with the keys {', '.join(required)}, got {describe(value)}")
            return {}
        keys = required + optional
        for key in value:
            if key not in keys:
                hint = self.did_you_mean(key, keys) or f", the keys are {', '.join(keys)}"
                self.fault(place, f'unknown key "{key[:60]}"{hint}')
        for key in required:
            if key not in value:
                self.fault(place, f'the key "{key}" is missing')
        return {key: value[key] for key in keys if key in value}

    def sequence(
        self, value: Any, place: str, item: Callable[[Any, str], T], least: int, most: int
    ) -> list[T]:
        """A list of `least` to `most` items, each read by `item(value, place)`."""
        if not isinstance(value, list):
            self.fault(place, f"must be a list, got {describe(value)}")
            return []
        if len(value) < least:
            self.fault(place, "must not be empty")
        if len(value) > most:
            self.fault(place, f"holds {len(value):,} entries, at most {most:,} are allowed")
            return []
        return [item(entry, f"{place}[{index}]") for index, entry in enumerate(value)]

    def text(self, value: Any, place: str, empty: bool = False) -> str:
        """A text of at most MAX_TEXT characters; "" stands in for a faulty one."""
        if not isinstance(value, str):
            self.fault(place, f"must be text, got {describe(value)}")
            return ""
        if not value and not empty:
            self.fault(place, "must not be empty")
        if len(value) > MAX_TEXT:
            self.fault(place, f"is {len(value):,} characters long, at most {MAX_TEXT:,} are allowed")
            return ""
        return value

    def integer(self, value: Any, place: str, low: int, high: int) -> int:
        """An integer in [low, high]; -1 stands in for a faulty one."""
        if not isinstance(value, int) or isinstance(value, bool):
            self.fault(place, f"must be an integer, got {describe(value)}")
            return -1
        if not low <= value <= high:
            self.fault(place, f"must be from {low} to {high}, got {value}")
            return -1
        return value

    def distinct(self, names: list[str], place: str, suffix: str) -> None:
        """Every name once; empty stand-ins are passed over."""
        first: dict[str, int] = {}
        for index, name in enumerate(names):
            if name and first.setdefault(name, index) != index:
                self.fault(f"{place}[{index}]{suffix}", f'"{name}" is already {place}[{first[name]}]{suffix}')


def told(file: str, faults: Sequence[tuple[str, str]], most: int = MAX_FAULTS_SHOWN) -> str:
    """A message with one line per fault of a file; those after the first `most` are counted."""
    lines = [f"{file}: {place}: {fault}" if place else f"{file}: {fault}" for place, fault in faults]
    lines = ["\\n".join(line.splitlines()) for line in lines]  # a key may hold a line break
    if len(lines) > most:
        lines[most:] = [f"{file}: and {len(lines) - most} more faults"]
    return "\n".join(lines)


def describe(value: Any) -> str:
    """A wrong value in a few words for a message, whatever it is."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    return f"{type(value).__name__} {str(value)[:60]!r}"
