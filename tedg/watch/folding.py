"""Long lines on their way to a terminal, which would break them inside words."""

from __future__ import annotations

import shutil
import sys
import textwrap

_COMMAND = " -m tedg."  # a line with this is there to be copied, and stays whole


def folded(text: str) -> str:
    """`text` with line breaks between words, where standard output is a terminal; commands stay whole."""
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(_folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    if len(line) <= width or _COMMAND in line:
        return line
    return textwrap.fill(
        line, max(width, 20), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
