"""What somebody who misspelt a word, or a path, probably meant."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

MOST_CHARACTERS = 100  # of the word that are compared: a long one takes long
MOST_NAMES = 2000  # of a folder that are looked at
SHOWN = 3  # paths


def did_you_mean(wrong: str, known: Iterable[str], form: str = "; did you mean {}?") -> str:
    """`form` with the nearest of `known`, to be appended to a message; nothing where none is near."""
    near = difflib.get_close_matches(wrong[:MOST_CHARACTERS], list(known), n=1)
    return form.format(near[0]) if near else ""


def did_you_mean_path(
    wrong: str, folders: Iterable[str] = (), known: Iterable[str] = (), form: str = "; did you mean {}?"
) -> str:
    """As `did_you_mean`, with the paths that are nearest to one that does not exist, and are there.

    They are looked for where the path itself leads, and by its last part among the names in `folders` and
    among other names that are `known`.
    """
    name = Path(wrong).name[:MOST_CHARACTERS]
    others = {path.name: str(path) for folder in folders for path in _entries(Path(folder))}
    others |= {one: one for one in known}
    near = [others[one] for one in difflib.get_close_matches(name, list(others), n=SHOWN)]
    found = list(dict.fromkeys([*_near(Path(os.path.expanduser(wrong))), *near]))[:SHOWN]
    if not found:
        return ""
    return form.format(" or ".join(filter(None, [", ".join(found[:-1]), found[-1]])))


def _near(path: Path) -> list[str]:
    """Paths that have another name for the first part of `path` that is not there, and for later ones."""
    there = Path(*path.parts[:1]) if path.is_absolute() else Path()
    parts = path.parts[1:] if path.is_absolute() else path.parts
    for number, part in enumerate(parts):
        if _exists(there / part):
            there /= part
            continue
        names = difflib.get_close_matches(
            part[:MOST_CHARACTERS], [one.name for one in _entries(there)], n=SHOWN
        )
        whole = [there.joinpath(name, *parts[number + 1 :]) for name in names]
        if existing := [one for one in whole if _exists(one)]:
            return [str(one) for one in existing]
        deeper = [one for name in names for one in _near(there.joinpath(name, *parts[number + 1 :]))]
        return deeper or [str(there / name) for name in names]
    return []


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for the system, or with a NUL
        return False


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in islice(entries, MOST_NAMES)]
    except (OSError, ValueError):
        return []
