"""Digests of what games show. A game that is played again and has another digest is not the same game."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tedg.envs.frames import Frames
from tedg.envs.glyphs import STONE
from tedg.envs.observation import Observation, Position
from tedg.envs.sizes import CROP, MAP_COLUMNS, MAP_ROWS

# Digests in checkpoints of schema 2 were computed by another rule; with this before them they still count.
SCHEMA_2 = "schema 2: "
_FIELDS_OF_SCHEMA_2 = (
    *("state", "atoms", "mask", "crop", "overview", "glyphs"),
    *("hero", "hostile_dirs", "noise"),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that B games show, in numpy arrays, at a moment when no step is under way."""

    observation: Observation
    frames: Frames | None  # what NetHack itself shows, the whole map too; None for toys, which have no more

    def digest(self, env: int) -> str:
        """Hex digest of all that one game shows: every field of its observation and of its frame."""
        frame = {} if self.frames is None else self.frames.row(env)
        return _hex_digest(
            [
                *((name, values[env]) for name, values in self.observation.items()),
                *((f"frames.{name}", values) for name, values in frame.items()),
            ]
        )

    def strayed(self, positions: Sequence[Position]) -> list[int]:
        """The environments that do not show what the digests of their positions [B] say."""
        return [
            env
            for env, position in enumerate(positions)
            if position.digest is not None and position.digest != self._digest_like(position.digest, env)
        ]

    def _digest_like(self, other: str, env: int) -> str:
        """One game's digest, by the rule that `other` was computed by."""
        return self._digest_of_schema_2(env) if other.startswith(SCHEMA_2) else self.digest(env)

    def _digest_of_schema_2(self, env: int) -> str:
        """It covered the observation, which held the whole map at that time, and nothing else."""
        values = {name: values[env] for name, values in self.observation.items()}
        values["glyphs"] = self._map_of_toy(env) if self.frames is None else self.frames.glyphs[env]
        return SCHEMA_2 + _hex_digest((name, values[name]) for name in _FIELDS_OF_SCHEMA_2)

    def _map_of_toy(self, env: int) -> npt.NDArray[np.int16]:
        """[21, 79] the map that toys drew: the crop around the hero, and stone."""
        row, column = (self.observation.hero[env] - CROP // 2).tolist()
        glyphs = np.full((MAP_ROWS, MAP_COLUMNS), STONE, np.int16)
        glyphs[row : row + CROP, column : column + CROP] = self.observation.crop[env]
        return glyphs


def _hex_digest(content: Iterable[tuple[str, Any]]) -> str:
    """The digest of names with numpy arrays or scalars."""
    found = hashlib.blake2b(digest_size=16)
    for name, values in content:
        found.update(name.encode())
        found.update(values.tobytes())
    return found.hexdigest()
