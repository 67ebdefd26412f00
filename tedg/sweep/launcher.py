"""What a sweep asks of whatever starts its cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tedg.sweep.cell import Cell


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a cell is."""

    cell: Cell
    fraction: float  # of its budget
    env_steps: int
    score: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The process of a cell is gone."""

    cell: Cell
    code: int | None  # exit code; None where it was killed
    signal: str = ""  # by which signal
    kind: str = ""  # class of the error that it ended with
    message: str = ""  # of that error
    seconds: float = 0.0  # that it ran


class Launcher(Protocol):
    """Starts cells and tells what becomes of them. No method waits for a cell."""

    def has_room(self) -> bool:
        """Whether one more cell can be started now."""
        ...

    def start(self, cell: Cell) -> None:
        """Begin, or go on with, the run of a cell."""
        ...

    def news(self) -> Iterable[Progress | Ended]:
        """What happened since the last call."""
        ...

    def stop(self) -> None:
        """Ask all that run to save and end; they end later, as `news` tells."""
        ...

    def stop_cell(self, cell: Cell) -> None:
        """Ask one to save and end, as `stop` asks all: once, and not after `news` has told its end."""
        ...

    def save(self) -> None:
        """Ask all that run to save and go on."""
        ...
