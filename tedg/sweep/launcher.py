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
class Waits:
    """A cell is in the queue of a cluster, for the first time or again."""

    cell: Cell
    notice: str = ""  # what a user may want to read about it


CANCELLED = "Cancelled"  # kind of an end that somebody wanted
NEVER_BEGAN = "NeverBegan"  # kind of an end of a cell whose parent's job ended without weights


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

    # Whether what it starts goes on without this process. Then a child is started with its parent and waits
    # for that by itself, and a cell finds out by itself that another process owns its directory.
    detached: bool

    def has_room(self) -> bool:
        """Whether one more cell can be started now."""
        ...

    def start(self, cell: Cell) -> None:
        """Begin, or go on with, the run of a cell."""
        ...

    def news(self) -> Iterable[Progress | Waits | Ended]:
        """What happened since the last call."""
        ...

    def stop(self) -> None:
        """Ask all that run to save and end; they end later, as `news` tells. Detached ones go on."""
        ...

    def stop_cell(self, cell: Cell) -> None:
        """Ask one to save and end, as `stop` asks all: once, and not after `news` has told its end."""
        ...

    def save(self) -> None:
        """Ask all that run to save and go on."""
        ...
