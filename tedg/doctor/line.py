"""One line of what the doctor found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Line:
    """A verdict, what it is about, what was found, and what to do where it is not ok."""

    verdict: Verdict
    name: str
    said: str
    remedy: str = ""


Check = Callable[[], Iterable[Line]]


def found(name: str, check: Check) -> Iterator[Line]:
    """The lines of a check. One that fails itself has found something too."""
    try:
        yield from check()
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        yield Line("bad", name, said[:300], "this check failed itself: send all lines with a bug report")
