"""The live panel of a run on a terminal: one for its training, then one for its held-out games."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console as Terminal
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tedg.inert import inert
from tedg.watch.progress import Clock, Pace, Progress, figures, losses, speed, steps, usage

REDRAW_SECONDS = 0.1  # least time between two drawings
_BAR = 24  # cells of a bar that has a row to itself
_LEAST_BAR = 9  # of an expert's, which shares its row
_LABEL = 10  # cells of the column of labels
_FRAME = 4  # cells of a panel's border and padding, left and right
_NUMBER = re.compile(r"\d[\d.,]*(e[+-]?\d+)?")


class LiveConsole:
    """A panel that is redrawn with every update; messages scroll above it.

    A warning stands in one place at a time: in the panel, and above it once the panel is full. One that comes
    again with other figures takes the place of the first, with a count.
    """

    def __init__(
        self, terminal: Terminal | None = None, clock: Clock = time.monotonic, title: str = ""
    ) -> None:
        """`title` says which run it is."""
        self.warnings: list[str] = []
        self._terminal = terminal or Terminal()
        self._clock, self._title = clock, title
        self._pace = Pace(clock)
        self._live: Live | None = None
        self._progress: Progress | None = None  # after the last update
        self._players: dict[str, tuple[int, int]] = {}  # held-out games that ended, and of how many
        self._playing = Pace(clock)
        self._alerts: dict[str, str] = {}  # the warnings in the panel, by what is the same in each of a kind
        self._times: Counter[str] = Counter()
        self._drawn_at: float | None = None
        # Terminals without Unicode get bars that they can show.
        self._full, self._empty = ("█", "░") if self._terminal.encoding.startswith("utf") else ("#", ".")

    def start(self, summary: Mapping[str, str]) -> None:
        """Print the summary and open the panel below it."""
        rows = _grid()
        for name, value in summary.items():
            _add(rows, name, value)
        self._safely(lambda: self._terminal.print(rows))
        self._open()

    def update(self, progress: Progress) -> None:
        """Redraw the panel."""
        self._pace.see(progress.fraction)
        self._progress = progress
        self._draw()

    def warn(self, message: str) -> None:
        """Show it in the panel, or print it where there is none yet."""
        self.warnings.append(message)
        kind = _NUMBER.sub("#", message)
        self._times[kind] += 1
        if self._live is None or self._panel() is None:
            self._print(f"warning: {message}", "yellow")
            return
        self._alerts.pop(kind, None)
        self._alerts[kind] = message
        self._draw(at_once=True)

    def note(self, message: str) -> None:
        """Print it above the panel."""
        self._print(message)

    def saved(self) -> None:
        """Shown with the next update."""
        self._pace.saved()

    def played(self, player: str, games: int, total: int) -> None:
        """Show it in a panel of its own; the last one of training stays above."""
        if not self._players and self._progress is not None:
            self._close()
            self._open()
        if games == 1:
            self._playing = Pace(self._clock)
        self._players[player] = (games, total)
        self._playing.see(games / total)
        self._draw(at_once=games == total)

    def close(self) -> None:
        """Leave the last panel on the screen."""
        self._close()

    def _open(self) -> None:
        # Redrawn by hand: a refreshing thread would be alive when workers are forked.
        self._live = Live(console=self._terminal, auto_refresh=False)
        self._safely(self._live.start)

    def _close(self) -> None:
        self._draw(at_once=True)
        if self._live is not None:
            self._safely(self._live.stop)
        self._live = None
        self._alerts.clear()

    def _draw(self, at_once: bool = False) -> None:
        now = self._clock()
        if not at_once and self._drawn_at is not None and now - self._drawn_at < REDRAW_SECONDS:
            return
        self._drawn_at = now
        self._safely(self._redraw)

    def _redraw(self) -> None:
        while (panel := self._panel()) is not None and self._alerts and not self._fits(panel):
            self._print(f"warning: {self._alerts.pop(next(iter(self._alerts)))}", "yellow")
        if self._live is not None and panel is not None:
            self._live.update(panel, refresh=True)

    def _fits(self, panel: Panel) -> bool:
        """Whether it leaves a line of the terminal free; Rich would cut off what does not fit."""
        return len(self._terminal.render_lines(panel, pad=False)) < self._terminal.height

    def _print(self, message: str, style: str = "") -> None:
        self._safely(lambda: self._terminal.print(_text(message, style)))

    def _panel(self) -> Panel | None:
        """As things stand; None before there is anything to show."""
        if self._players:
            rows, title = (
                self._games(),
                f"held-out games of {self._title}" if self._title else "held-out games",
            )
        elif self._progress is not None:
            rows = self._training(self._progress)
            title = ", ".join(part for part in (self._title, f"stage {self._progress.stage}") if part)
        else:
            return None
        for kind, message in self._alerts.items():
            times = self._times[kind]
            _add(rows, "warning" if times == 1 else f"warning {times}x", message, "yellow")
        return Panel(rows, title=_text(title), title_align="left")

    def _training(self, progress: Progress) -> Table:
        rows = _grid()
        _add(
            rows,
            "progress",
            f"{self._bar(progress.fraction, _BAR)} {progress.fraction:.1%}, {self._pace.left()}",
        )
        done = f"{steps(progress)}, {progress.episodes:,} episodes, update {progress.update:,}"
        _add(rows, "done", done)
        _add(rows, "speed", ", ".join(speed(progress)))
        play = ("rollout/mean_return", "rollout/mean_score", "rollout/best_score", "rollout/deepest")
        _add(rows, "play", ", ".join(figures(progress, play)))
        learning = ("policy/entropy", "train/kl", "train/clip_fraction", "train/explained_variance")
        _add(rows, "learning", ", ".join(figures(progress, learning)))
        _add(rows, "experts", self._experts(usage(progress)))
        attention = ("attention/effective_keys", "attention/sparsity")
        _add(rows, "attention", ", ".join(figures(progress, attention)))
        age = self._pace.save_age()
        _add(rows, "checkpoint", "none yet" if age is None else f"{age} ago")
        _add(rows, "restarts", losses(progress) or "none")
        return rows

    def _experts(self, shares: Sequence[float]) -> str:
        """A bar for each, as many in a row as leave them long enough."""
        width = max(self._terminal.width - _FRAME - _LABEL - 2, _LEAST_BAR)
        each = _LEAST_BAR + len(" 100%  ")
        most = max((width + 2) // each, 1)
        rows = max(math.ceil(len(shares) / most), 1)
        columns = max(math.ceil(len(shares) / rows), 1)
        bar = min((width + 2) // columns - len(" 100%  "), _BAR)
        texts = [f"{self._bar(share, bar)} {f'{share:.0%}':<4}" for share in shares]
        return "\n".join("  ".join(texts[i : i + columns]) for i in range(0, len(texts), columns))

    def _games(self) -> Table:
        rows = _grid()
        for player, (games, total) in self._players.items():
            left = f", {self._playing.left()}" if 0 < games < total else ""
            _add(rows, player, f"{self._bar(games / total, _BAR)} {games:,} of {total:,}{left}")
        return rows

    def _bar(self, share: float, width: int) -> str:
        filled = round(min(max(share, 0.0), 1.0) * width)
        return self._full * filled + self._empty * (width - filled)

    def _safely(self, show: Callable[[], object]) -> None:
        try:
            show()
        # The terminal went away: training goes on. Where its reader did, Rich ends the process by SystemExit.
        except (OSError, ValueError, SystemExit):
            self._live = None


def _grid() -> Table:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True, min_width=_LABEL)
    rows.add_column(overflow="fold")
    return rows


def _add(rows: Table, name: str, value: str, style: str = "") -> None:
    """Add a row unless it is empty."""
    if value:
        rows.add_row(_text(name), _text(value, style))


def _text(text: str, style: str = "") -> Text:
    """As Text, whose square brackets are no markup; without what a terminal would obey."""
    return Text(inert(text), style=style)
