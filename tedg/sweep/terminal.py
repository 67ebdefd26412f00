"""What a sweep shows: a table that is kept current on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from rich.console import Console as Terminal
from rich.console import Group
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tedg.inert import inert
from tedg.store.study import LOGS, steps
from tedg.sweep.cell import OPEN, Cell, State
from tedg.watch.progress import Clock, duration

REDRAW_SECONDS = 0.5
LINE_SECONDS = 10.0  # least time between two plain lines about the whole sweep
WIDTH = 200  # of the last table where there is no terminal
_LEAST_ROWS = 5

# The most interesting first, where a terminal cannot show all.
_ORDER = (
    *(State.RUNNING, State.FAILED, State.LOST, State.DIVERGED, State.BLOCKED, State.ELSEWHERE),
    *(State.PENDING, State.QUEUED, State.WAITING, State.STOPPED, State.PRUNED, State.DONE),
)
_STYLES = {
    State.RUNNING: "cyan",
    State.DONE: "green",
    State.DIVERGED: "yellow",
    State.BLOCKED: "yellow",
    State.FAILED: "red",
    State.LOST: "red",
}


class Display(Protocol):
    """Where a sweep speaks to its user. No method ever raises because of the terminal."""

    def notice(self, cell: Cell, text: str) -> None:
        """Something happened to a cell."""
        ...

    def say(self, text: str) -> None:
        """A line about the sweep."""
        ...

    def show(self) -> None:
        """Called at every turn; shows how all cells stand when it is time to."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was, with the last table."""
        ...


def make_display(cells: Sequence[Cell], total: int = 0) -> Display:
    """A live table where standard output is a terminal, plain lines otherwise.

    `total` counts the cells that are still to be appended to `cells`, too.
    """
    return LiveDisplay(cells, total=total) if sys.stdout.isatty() else PlainDisplay(cells, total=total)


class TimeLeft:
    """How long the rest of a sweep takes at the pace since its start."""

    def __init__(self, cells: Sequence[Cell], clock: Clock = time.monotonic, total: int = 0) -> None:
        self._cells, self._clock, self._begun, self._total = cells, clock, clock(), total
        self._first = {cell: cell.fraction for cell in cells}

    def text(self) -> str:
        """Time left; `unknown` until something has been trained."""
        for cell in self._cells:
            # A cell's first line includes what earlier commands had done, which is no part of today's pace.
            known = self._first.setdefault(cell, 0.0) or not cell.earlier_attempts
            if not known and cell.fraction and cell.state is State.RUNNING:
                self._first[cell] = cell.fraction
        gained = sum(max(cell.fraction - self._first[cell], 0) for cell in self._cells)
        left = sum(1 - cell.fraction for cell in self._cells if cell.state in OPEN)
        left += max(self._total - len(self._cells), 0)
        elapsed = self._clock() - self._begun
        return "unknown" if gained <= 0 else duration(elapsed / gained * left)


def counts(cells: Iterable[Cell]) -> str:
    """`3 of 12 done, 2 running, 7 queued`."""
    found = Counter(cell.state for cell in cells)
    rest = [f"{number} {state}" for state in _ORDER[:-1] if (number := found[state])]
    return ", ".join([f"{found[State.DONE]} of {found.total()} done", *rest])


def table(cells: Sequence[Cell], rows: int | None = None, logs: bool = True) -> Table:
    """All cells in their order; where only some `rows` fit, the most interesting ones with shorter texts.

    The column of `logs` can be left out: file names in a narrow one are hard to read, and to copy.
    """
    shown = list(cells)
    if rows is not None and len(cells) > rows:
        chosen = set(sorted(cells, key=lambda cell: _ORDER.index(cell.state))[:rows])
        shown = [cell for cell in cells if cell in chosen]
    drawn = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("cell", "seed", "state", "steps", "score", "time", *(["log"] if logs else [])):
        right = name in ("seed", "steps", "score", "time")
        drawn.add_column(name, justify="right" if right else "left", no_wrap=name != "log", overflow="fold")
    for cell in shown:
        drawn.add_row(
            *(
                Text(inert(text), style=_STYLES.get(cell.state, ""))
                for text in _row(cell, rows is None)[: len(drawn.columns)]
            )
        )
    return drawn


def _row(cell: Cell, whole: bool) -> tuple[str, ...]:
    state = f"{cell.state} {cell.fraction:.0%}" if cell.state is State.RUNNING else str(cell.state)
    if cell.job and cell.state in (State.RUNNING, State.PENDING):
        state = f"{state} (job {cell.job})"
    return (
        cell.label,
        str(cell.composed.config.seed),
        f"{state} (check failed)" if cell.check_failed else f"{state} (kept)" if cell.kept else state,
        steps(cell.env_steps, cell.total_env_steps),
        "-" if cell.score is None else f"{cell.score:.1f}",
        "-" if not cell.elapsed else duration(cell.elapsed),
        str(cell.log) if whole else f"{LOGS}/{cell.log.name}",
    )


class PlainDisplay:
    """Lines that each say whose they are, and one about the whole sweep at most every `LINE_SECONDS`."""

    def __init__(self, cells: Sequence[Cell], clock: Clock = time.monotonic, total: int = 0) -> None:
        self._cells, self._clock = cells, clock
        self._left = TimeLeft(cells, clock, total)
        self._said_at = clock()

    def notice(self, cell: Cell, text: str) -> None:
        """Print it at once."""
        self.say(f"[{cell.label}] {text}")

    def say(self, text: str) -> None:
        """Print it at once."""
        print(inert(text), flush=True)

    def show(self) -> None:
        """Print a line if it is time for one."""
        now = self._clock()
        if now - self._said_at >= LINE_SECONDS:
            self._said_at = now
            running = [cell for cell in self._cells if cell.state is State.RUNNING]
            each = "".join(f"; {cell.label} {cell.fraction:.0%}" for cell in running)
            self.say(f"sweep: {counts(self._cells)}, time left {self._left.text()}{each}")

    def close(self) -> None:
        """Print the table."""
        terminal = Terminal(width=WIDTH, file=sys.stdout)
        with terminal.capture() as captured:
            terminal.print(table(self._cells))
        for line in captured.get().splitlines():
            print(line.rstrip(), flush=True)


class LiveDisplay:
    """One table that is redrawn; notices scroll above it."""

    def __init__(self, cells: Sequence[Cell], terminal: Terminal | None = None, total: int = 0) -> None:
        self._cells = cells
        self._left = TimeLeft(cells, total=total)
        self._terminal = terminal or Terminal()
        # Redrawn by hand: a refreshing thread would be alive when cells are forked.
        self._live: Live | None = Live(console=self._terminal, auto_refresh=False)
        self._drawn_at = 0.0
        self._safely(self._live.start)

    def notice(self, cell: Cell, text: str) -> None:
        """Print it above the table, but for what the table shows."""
        if cell.state in (State.FAILED, State.LOST, State.DIVERGED, State.BLOCKED) or cell.reason:
            self.say(f"[{cell.label}] {text}")

    def say(self, text: str) -> None:
        """Print it above the table."""
        self._safely(lambda: self._terminal.print(Text(inert(text)), soft_wrap=True))

    def show(self) -> None:
        """Redraw the table if it is time to."""
        now = time.monotonic()
        if self._live is not None and now - self._drawn_at >= REDRAW_SECONDS:
            self._drawn_at = now
            self._draw(max(self._terminal.height - 6, _LEAST_ROWS))

    def close(self) -> None:
        """Leave the whole table on the screen."""
        if self._live is not None:
            self._safely(lambda: self._draw(None))
            self._safely(self._live.stop)
        self._live = None

    def _draw(self, rows: int | None) -> None:
        last = f"{counts(self._cells)}, time left {self._left.text()}"
        drawn = table(self._cells, rows)
        if self._wide(drawn) > self._terminal.width:
            drawn = table(self._cells, rows, logs=False)
            places = dict.fromkeys(str(cell.log.parent) for cell in self._cells)
            last += f"; logs in {', '.join(places)}"
        live = self._live
        assert live is not None
        self._safely(lambda: live.update(Group(drawn, Text(inert(last))), refresh=True))

    def _wide(self, drawn: Table) -> int:
        """The columns that it takes where there is no end of them."""
        return Measurement.get(self._terminal, self._terminal.options.update(width=10**6), drawn).maximum

    def _safely(self, show: Callable[[], object]) -> None:
        try:
            show()
        # The terminal went away: the sweep goes on. Where its reader did, Rich raises SystemExit.
        except (OSError, ValueError, SystemExit):
            self._live = None
