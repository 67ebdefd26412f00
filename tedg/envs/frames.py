"""The raw frames of a batch of games: the six arrays of NLE that everything else is computed from."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from tedg.envs.sizes import MAP_COLUMNS, MAP_ROWS

BLSTATS = 27
INVENTORY = 55


@dataclass(frozen=True, slots=True)
class Frames:
    """One row per game. The games write into these rows in place, so nothing here outlives a step."""

    glyphs: npt.NDArray[np.int16]  # [B, 21, 79]
    blstats: npt.NDArray[np.int64]  # [B, 27]
    message: npt.NDArray[np.uint8]  # [B, 256], zero-padded
    inv_oclasses: npt.NDArray[np.uint8]  # [B, 55], padded with 18
    inv_letters: npt.NDArray[np.uint8]  # [B, 55], padded with 0
    misc: npt.NDArray[np.int32]  # [B, 3], first: a question waits for a key

    @classmethod
    def allocate(cls, num_envs: int) -> Frames:
        """Zeroed rows for `num_envs` games."""
        return cls(
            glyphs=np.zeros((num_envs, MAP_ROWS, MAP_COLUMNS), np.int16),
            blstats=np.zeros((num_envs, BLSTATS), np.int64),
            message=np.zeros((num_envs, 256), np.uint8),
            inv_oclasses=np.zeros((num_envs, INVENTORY), np.uint8),
            inv_letters=np.zeros((num_envs, INVENTORY), np.uint8),
            misc=np.zeros((num_envs, 3), np.int32),
        )

    def row(self, index: int) -> dict[str, npt.NDArray[np.generic]]:
        """Views of one game's row, by NLE's name of the observation."""
        return {f.name: getattr(self, f.name)[index] for f in fields(self)}


FRAME_KEYS: tuple[str, ...] = tuple(f.name for f in fields(Frames))
