"""The lines of the doctor as text that can be pasted, with colours on a terminal beside the words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from tedg.doctor.line import Line
from tedg.inert import inert

_STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}
_VERDICT, _NAME = 6, 19  # columns
WIDTH = 100  # of lines that are not on a terminal


class Shown:
    """Prints lines as they are found, and counts them."""

    def __init__(self) -> None:
        terminal = Console()
        self._console = terminal if terminal.is_terminal else Console(width=WIDTH)
        self.counts = dict.fromkeys(_STYLES, 0)

    def show(self, lines: Iterable[Line]) -> None:
        """Print each, with what to do below it."""
        for line in lines:
            self.counts[line.verdict] += 1
            remedy = f"-> {line.remedy}" if line.remedy and line.verdict != "ok" else ""
            for number, text in enumerate(self._wrapped(f"{line.name:<{_NAME - 1}} {line.said}", remedy)):
                head = line.verdict if number == 0 else ""
                whole = Text.assemble((f"{head:<{_VERDICT}}", _STYLES[line.verdict]), text)
                self._console.print(whole, soft_wrap=True)

    def end(self, seconds: float) -> None:
        """One line that says how it stands."""
        ok, warn, bad = (self.counts[name] for name in _STYLES)
        said = f"{ok + warn + bad} lines in {seconds:.0f} s: {ok} ok, {warn} warn, {bad} bad"
        worst = "bad" if bad else "warn" if warn else "ok"
        self._console.print(Text(said, style=_STYLES[worst]), soft_wrap=True)

    def _wrapped(self, said: str, remedy: str) -> list[str]:
        width = max(self._console.width - _VERDICT, 30)
        found = textwrap.wrap(
            inert(said).replace("\n", " "), width, subsequent_indent=" " * _NAME, break_on_hyphens=False
        )
        indent = " " * _NAME
        return found + textwrap.wrap(
            inert(remedy).replace("\n", " "),
            width,
            initial_indent=indent,
            subsequent_indent=f"{indent}   ",
            break_on_hyphens=False,
        )
