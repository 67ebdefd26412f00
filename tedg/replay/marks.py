"""Bookmarks of a game: the steps that somebody would look for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from nle import nethack as nh

from tedg.play.recording import Recording

HOLDS = 8  # steps that an expert leads in a row, from which on it counts as a switch
MOST_DROPS = 10
_DROP = 3.0  # standard deviations of the value's changes
_APART = 10  # steps between two drops


@dataclass(frozen=True, slots=True)
class Mark:
    """A step, what kind of thing happens in it, and what."""

    step: int
    kind: str  # end, depth, level, switch, drop or part
    text: str


def marks(recording: Recording) -> list[Mark]:
    """All bookmarks in the order of steps: each is where the thing can be seen first."""
    found = [*_levels(recording), *_switches(recording), *_drops(recording), _end(recording)]
    return sorted(found, key=lambda mark: mark.step)


def parting(one: Recording, other: Recording) -> int | None:
    """The first step in which two games show or do different things; None where they do not."""
    steps = min(len(one), len(other))
    differs = one.action[:steps] != other.action[:steps]
    for name in ("chars", "colors", "blstats", "message"):
        ours, theirs = (getattr(game, name)[:steps].reshape(steps, -1) for game in (one, other))
        differs |= (ours != theirs).any(axis=1)
    return int(differs.argmax()) if differs.any() else None


def _end(recording: Recording) -> Mark:
    end = recording.about.end
    words = {
        "death": f"death ({end.cause})",
        "success": "the task's aim is reached",
        "truncated": "cut off at the limit",
    }
    return Mark(len(recording) - 1, "end", words[end.end])


def _levels(recording: Recording) -> Iterator[Mark]:
    for column, kind, text in (
        (nh.NLE_BL_DEPTH, "depth", "new level: depth"),
        (nh.NLE_BL_XP, "level", "experience level"),
    ):
        best = np.maximum.accumulate(recording.blstats[:, column])
        for step in np.flatnonzero(np.diff(best) > 0) + 1:
            yield Mark(int(step), kind, f"{text} {best[step]}")


def _switches(recording: Recording) -> Iterator[Mark]:
    """Where the expert with the largest share changes for at least HOLDS steps."""
    names = expert_names(recording)
    top = recording.alpha.argmax(axis=1)
    starts = np.flatnonzero(np.diff(top, prepend=-1))
    lengths = np.diff(starts, append=len(top))
    leads: int | None = None
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        if length < HOLDS or top[start] == leads:
            continue
        if leads is not None:
            yield Mark(start, "switch", f"expert {names[leads]} to {names[top[start]]}")
        leads = int(top[start])


def expert_names(recording: Recording) -> tuple[str, ...]:
    """The hypergraph's names where the policy has an expert for each of its experts, else numbers from 1."""
    names, number = recording.about.experts, recording.alpha.shape[1]
    return names if len(names) == number else tuple(str(n) for n in range(1, number + 1))


def _drops(recording: Recording) -> Iterator[Mark]:
    """The largest falls of the value from one step to the next, where they stand out."""
    change = np.diff(recording.value.astype(float))
    if not len(change):
        return
    taken: list[int] = []
    for place in np.argsort(change, kind="stable").tolist():
        if change[place] >= -_DROP * change.std() or change[place] >= 0 or len(taken) == MOST_DROPS:
            break
        if all(abs(place - other) >= _APART for other in taken):
            taken.append(place)
            before, after = recording.value[place], recording.value[place + 1]
            yield Mark(place + 1, "drop", f"value falls from {before:.2f} to {after:.2f}")
