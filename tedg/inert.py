"""Text on its way to a terminal or a log: what came from outside is shown, and does nothing there."""

from __future__ import annotations


def inert(text: str) -> str:
    """`text` with everything but printable characters and newlines written out, as in `\\x1b` and `\\u202e`.

    A control sequence could move the cursor or rename the window, and a bidirectional override could turn
    the letters of a message around.
    """
    return "".join(
        character if character == "\n" or character.isprintable() else _written_out(character)
        for character in text
    )


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode()
