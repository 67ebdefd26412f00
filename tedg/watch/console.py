"""What a run shows while it trains: one live panel on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Protocol, TextIO, runtime_checkable

from tedg.inert import inert
from tedg.watch.progress import Clock, Pace, figures, losses, speed, steps, usage
from tedg.watch.progress import Progress as Progress

LINE_SECONDS = 10.0  # least time between two plain lines


@runtime_checkable
class Console(Protocol):
    """Where a run speaks to its user. No method ever raises because of the terminal."""

    warnings: list[str]  # every warning so far, in order

    def start(self, summary: Mapping[str, str]) -> None:
        """Show what is about to run, as names and values."""
        ...

    def update(self, progress: Progress) -> None:
        """Take in the state after an update."""
        ...

    def warn(self, message: str) -> None:
        """Show something that the user should act on."""
        ...

    def note(self, message: str) -> None:
        """Show something that the user may want to know."""
        ...

    def saved(self) -> None:
        """A checkpoint was just written."""
        ...

    def played(self, player: str, games: int, total: int) -> None:
        """So many of a player's held-out games have ended; it is told 0 of each before any of them plays."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was; may be called twice."""
        ...


def make_console(title: str = "") -> Console:
    """The live panel on a terminal, plain lines elsewhere; `title` says which run it is."""
    if not sys.stdout.isatty():
        return PlainConsole(sys.stdout, title=title)
    from tedg.watch.panel import LiveConsole

    return LiveConsole(title=title)


class QuietConsole:
    """Shows nothing and remembers warnings; for runs inside other commands."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def start(self, summary: Mapping[str, str]) -> None:
        """Nothing is shown."""

    def update(self, progress: Progress) -> None:
        """Nothing is shown."""

    def warn(self, message: str) -> None:
        """Remember the warning."""
        self.warnings.append(message)

    def note(self, message: str) -> None:
        """Nothing is shown."""

    def saved(self) -> None:
        """Nothing is shown."""

    def played(self, player: str, games: int, total: int) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing to close."""


class PlainConsole:
    """One line for the first update, then at most one per `LINE_SECONDS`, and the last one on close."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic, title: str = "") -> None:
        """`title` says which run it is, with the summary."""
        self.warnings: list[str] = []
        self._title = title
        self._stream: TextIO | None = stream
        self._clock = clock
        self._pace = Pace(clock)
        self._printed_at: float | None = None
        self._pending: str | None = None
        self._playing = False  # held-out games

    def start(self, summary: Mapping[str, str]) -> None:
        """Print the summary, one row per line."""
        if self._title:
            self._print(self._title)
        width = max(map(len, summary), default=0)
        for name, value in summary.items():
            self._print(f"{name:<{width}}  {value}")

    def update(self, progress: Progress) -> None:
        """Print a line if it is time for one."""
        self._pace.see(progress.fraction)
        fields = [
            f"update {progress.update}",
            progress.stage,
            steps(progress),
            f"{progress.fraction:.1%}",
            self._pace.left(),
            *speed(progress),
            *figures(progress, ("rollout/mean_return", "rollout/mean_score", "rollout/deepest")),
            *figures(progress, ("policy/entropy", "train/kl")),
        ]
        shares = usage(progress)
        if shares:
            fields.append("experts " + "/".join(f"{share:.0%}" for share in shares))
        if lost := losses(progress):
            fields.append(f"restarts {lost}")
        if (age := self._pace.save_age()) is not None:
            fields.append(f"saved {age} ago")
        self._show(" | ".join(fields))

    def _show(self, line: str) -> None:
        self._pending = line
        now = self._clock()
        if self._printed_at is None or now - self._printed_at >= LINE_SECONDS:
            self._printed_at = now
            self._flush()

    def warn(self, message: str) -> None:
        """Print it at once."""
        self.warnings.append(message)
        self._print(f"warning: {message}")

    def note(self, message: str) -> None:
        """Print it at once."""
        self._print(message)

    def saved(self) -> None:
        """Shown with the next line."""
        self._pace.saved()

    def played(self, player: str, games: int, total: int) -> None:
        """Print a line if it is time for one, after the last of training."""
        if not self._playing:
            self._flush()
        self._playing = True
        if not games:
            return
        self._show(f"held-out games of {player} | {games:,} of {total:,}")
        if games == total:
            self._flush()

    def close(self) -> None:
        """Print the last update if its line is still due."""
        self._flush()

    def _flush(self) -> None:
        if self._pending is not None:
            self._print(self._pending)
        self._pending = None

    def _print(self, line: str) -> None:
        if self._stream is None:
            return
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            shown = inert(line).encode(encoding, "replace").decode(encoding)
            print(shown, file=self._stream, flush=True)
        except (OSError, ValueError):  # the reader went away or the stream is closed: training goes on
            self._stream = None
