"""A terminal that keeps what is written to it, as somebody would see it when scrolling back."""

from __future__ import annotations

import io
import re

from rich.console import Console as Terminal

_PIECES = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|(.)", re.S)


class Screen:
    """Understands what Rich writes: text, new lines, and going up to write anew."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._written = io.StringIO()
        self.terminal = Terminal(file=self._written, force_terminal=True, width=width, height=height)

    def lines(self) -> list[str]:
        """All lines, those that have scrolled away too; one that is too long goes on in the next."""
        found: list[list[str]] = [[]]
        row = 0
        for number, command, character in _PIECES.findall(self._written.getvalue()):
            if command == "A":
                row -= int(number or 1)
            elif command == "K":
                found[row] = []
            elif character == "\n" or (character not in ("", "\r") and len(found[row]) == self.width):
                row += 1
                if row == len(found):
                    found.append([])
            if character not in ("", "\r", "\n"):
                found[row].append(character)
        return ["".join(line) for line in found]
