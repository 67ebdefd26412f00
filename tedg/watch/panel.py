"""The live panel of a run on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rich.console import Console as Terminal
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tedg.inert import inert
from tedg.watch.progress import Clock, Pace, Progress, figures, speed, steps, usage

SHOWN_WARNINGS = 3


class LiveConsole:
    """One panel that is redrawn with every update; messages scroll above it."""

    def __init__(self, terminal: Terminal | None = None, clock: Clock = time.monotonic) -> None:
        self.warnings: list[str] = []
        self._terminal = terminal or Terminal()
        self._pace = Pace(clock)
        self._live: Live | None = None
        self._trained: Panel | None = None
        # Terminals without Unicode get bars that they can show.
        self._full, self._empty = ("█", "░") if self._terminal.encoding.startswith("utf") else ("#", ".")

    def start(self, summary: Mapping[str, str]) -> None:
        """Print the summary and open the panel below it."""
        rows = _grid()
        for name, value in summary.items():
            _add(rows, name, value)
        self._safely(lambda: self._terminal.print(rows))
        # Redrawn by hand: a refreshing thread would be alive when workers are forked.
        self._live = Live(console=self._terminal, auto_refresh=False)
        self._safely(self._live.start)

    def update(self, progress: Progress) -> None:
        """Redraw the panel."""
        self._pace.see(progress.fraction)
        panel = self._trained = self._panel(progress)
        if self._live is not None:
            live = self._live
            self._safely(lambda: live.update(panel, refresh=True))

    def warn(self, message: str) -> None:
        """Print it above the panel and list it there with the last few."""
        self.warnings.append(message)
        self._safely(lambda: self._terminal.print(_text(f"warning: {message}", "yellow"), soft_wrap=True))

    def note(self, message: str) -> None:
        """Print it above the panel."""
        self._safely(lambda: self._terminal.print(_text(message), soft_wrap=True))

    def saved(self) -> None:
        """Shown with the next update."""
        self._pace.saved()

    def played(self, player: str, games: int, total: int) -> None:
        """Show them below the last state of training."""
        rows = _grid()
        _add(rows, player, f"{self._bar(games / total, 24)} {games:,} of {total:,}")
        if self._live is not None:
            live, panel = self._live, Panel(rows, title=_text("held-out games"), title_align="left")
            whole = panel if self._trained is None else Group(self._trained, panel)
            self._safely(lambda: live.update(whole, refresh=True))

    def close(self) -> None:
        """Leave the last panel on the screen."""
        if self._live is not None:
            self._safely(self._live.stop)
        self._live = None

    def _panel(self, progress: Progress) -> Panel:
        rows = _grid()
        bar = self._bar(progress.fraction, 24)
        _add(rows, "progress", f"{bar} {progress.fraction:.1%}, eta {self._pace.eta()}")
        done = f"{steps(progress)}, {progress.episodes:,} episodes, update {progress.update:,}"
        _add(rows, "done", done)
        _add(rows, "speed", ", ".join(speed(progress)))
        play = ("rollout/mean_return", "rollout/mean_score", "rollout/best_score", "rollout/deepest")
        _add(rows, "play", ", ".join(figures(progress, play)))
        learning = ("policy/entropy", "train/kl", "train/clip_fraction", "train/explained_variance")
        _add(rows, "learning", ", ".join(figures(progress, learning)))
        shares = usage(progress)
        _add(rows, "experts", "  ".join(f"{self._bar(share, 6)} {share:.0%}" for share in shares))
        attention = ("attention/effective_keys", "attention/sparsity")
        _add(rows, "attention", ", ".join(figures(progress, attention)))
        age = self._pace.save_age()
        _add(rows, "checkpoint", "none yet" if age is None else f"{age} ago")
        for message in self.warnings[-SHOWN_WARNINGS:]:
            _add(rows, "warning", message, "yellow")
        return Panel(rows, title=_text(progress.stage), title_align="left")

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
    rows.add_column(style="dim")
    rows.add_column(overflow="fold")
    return rows


def _add(rows: Table, name: str, value: str, style: str = "") -> None:
    """Add a row unless it is empty."""
    if value:
        rows.add_row(_text(name), _text(value, style))


def _text(text: str, style: str = "") -> Text:
    """As Text, whose square brackets are no markup; without what a terminal would obey."""
    return Text(inert(text), style=style)
