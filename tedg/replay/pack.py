"""Recorded games as bytes: what the page's script reads, small enough to be sent on.

gzip of a little-endian length, so many bytes of JSON, and columns one after another. The JSON says where each
column lies. A column that is coded "xor" has each row combined with the row before: most cells of a map stay.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from tedg.inert import inert
from tedg.play.recording import Recording
from tedg.replay.marks import Mark, expert_names

BEST = 3  # operators that are kept of a step
NONE = 65535  # in the place of an operator: fewer are available
_FINE = 65535  # of what a share of 1 is written as
_XOR = ("chars", "colors", "blstats", "atoms")


def packed(games: Sequence[tuple[Recording, Sequence[Mark]]]) -> bytes:
    """Games with their bookmarks."""
    blobs: list[bytes] = []
    told = []
    for recording, marks in games:
        messages, columns = _columns(recording)
        places = []
        for name, column in columns.items():
            rows = np.ascontiguousarray(column.reshape(len(recording), -1))
            raw = rows.view(np.uint8)
            if name in _XOR:
                raw = np.concatenate([raw[:1], raw[1:] ^ raw[:-1]])
            place = {"name": name, "type": rows.dtype.name, "width": rows.shape[1], "xor": name in _XOR}
            places.append(place | {"start": sum(map(len, blobs)), "bytes": raw.nbytes})
            blobs.append(raw.tobytes())
        about = asdict(recording.about)
        told.append(
            {
                "about": about,
                "steps": len(recording),
                "experts": expert_names(recording),
                "heads": recording.attention.shape[1],
                "messages": [inert(text) for text in messages],
                "marks": [asdict(mark) for mark in marks],
                "columns": places,
            }
        )
    head = json.dumps({"games": told}, separators=(",", ":")).encode()
    return gzip.compress(len(head).to_bytes(4, "little") + head + b"".join(blobs), compresslevel=9, mtime=0)


def _columns(recording: Recording) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
    """The distinct messages, and all arrays as they are written."""
    texts = [bytes(row).split(b"\0")[0].decode("latin-1") for row in recording.message]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    best, scores = best_operators(recording)
    columns: Mapping[str, npt.NDArray[Any]] = {
        "chars": recording.chars,
        "colors": recording.colors,
        "blstats": recording.blstats,
        "message": np.array([numbers[text] for text in texts], np.uint32),
        "action": recording.action,
        "reward": recording.reward,
        "value": recording.value,
        "legal": np.packbits(recording.legal, axis=1, bitorder="little"),
        "probabilities": np.rint(recording.probabilities * _FINE).astype(np.uint16),
        "alpha": np.rint(recording.alpha * _FINE).astype(np.uint16),
        "atoms": np.packbits(recording.atoms, axis=1, bitorder="little"),
        "best": best,
        "best_scores": scores,
        "attention": attention_bytes(recording.attention),
    }
    return list(numbers), {name: column for name, column in columns.items() if column.size}


def attention_bytes(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Weights [T, H, keys] as parts of 255 of each head's largest; 0: dropped, and no other is 0."""
    if not weights.size:
        return np.zeros(weights.shape, np.uint8)
    largest = weights.max(axis=2, keepdims=True)
    relative = weights / np.where(largest > 0, largest, 1)  # a whole head may be dropped
    return np.where(weights > 0, np.maximum(np.rint(255 * relative), 1), 0).astype(np.uint8)


def best_operators(recording: Recording) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float32]]:
    """The best-scored operators [T, BEST] whose preconditions all hold, best first, and their scores."""
    scores, about = recording.operator_scores, recording.about
    best = np.full((len(recording), BEST), NONE, np.uint16)
    found = np.zeros((len(recording), BEST), np.float32)
    if not scores.shape[1]:
        return best, found
    available = np.stack(
        [_hold(recording, rule.preconditions).all(axis=0) for rule in about.operators], axis=1
    )
    ranked = np.where(available, scores, -np.inf)
    order = np.argsort(-ranked, axis=1, kind="stable")[:, :BEST]
    values = np.take_along_axis(ranked, order, axis=1)
    number = order.shape[1]
    best[:, :number] = np.where(np.isfinite(values), order, NONE)
    found[:, :number] = np.where(np.isfinite(values), values, 0)
    return best, found


def _hold(recording: Recording, literals: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which literals hold in each step, [literals, T]; a row of True more, for rules without any."""
    place = {atom: number for number, atom in enumerate(recording.about.atoms)}
    rows = [np.ones(len(recording), np.bool_)]
    rows += [recording.atoms[:, place[text.lstrip("¬")]] ^ text.startswith("¬") for text in literals]
    return np.stack(rows)
