"""What somebody who misspelt a word probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_CHARACTERS = 100  # of the word that are compared: a long one takes long


def did_you_mean(wrong: str, known: Iterable[str], form: str = "; did you mean {}?") -> str:
    """`form` with the nearest of `known`, to be appended to a message; nothing where none is near."""
    near = difflib.get_close_matches(wrong[:MOST_CHARACTERS], list(known), n=1)
    return form.format(near[0]) if near else ""
