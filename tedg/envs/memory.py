"""The arrays in which games and the process that steps them meet, in one piece of memory."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tedg.envs.frames import Frames
from tedg.envs.observation import EnvSpec, EpisodeEnd, Observation
from tedg.envs.rewards import EPISODE
from tedg.envs.sizes import MAP_COLUMNS, MAP_ROWS

_ALIGNMENT = 64  # bytes; no two arrays share a line of the processor's cache
_ENDS = np.dtype(
    [
        ("seed", np.int64),
        ("length", np.int64),
        ("episode_return", np.float64),
        ("score", np.float64),
        ("depth", np.int64),
        ("turns", np.int64),
        ("end", "U10"),
    ]
)


@dataclass(frozen=True, slots=True)
class GameMemory:
    """One row per game. Whoever plays the games fills everything but `action`."""

    frames: Frames
    # Steps are written into one and the other in turn, so that the dead find their last living frame.
    observations: tuple[Observation, Observation]
    final: Observation  # rows of the episodes that ended in this step: their own last observation
    ends: npt.NDArray[np.void]  # [B] the same rows: fields of EpisodeEnd, but `env`
    action: npt.NDArray[np.int64]  # [B]
    reward: npt.NDArray[np.float32]  # [B]
    terminated: npt.NDArray[np.bool_]  # [B]
    truncated: npt.NDArray[np.bool_]  # [B]
    episodes: npt.NDArray[np.void]  # [B] the running games so far, EPISODE
    playing: npt.NDArray[np.bool_]  # [B] NetHack itself has the word; says which game crashed or hangs

    @classmethod
    def size(cls, spec: EnvSpec, num_envs: int) -> int:
        """Bytes that `over` needs."""
        return sum(_padded(num_envs * row.itemsize) for row in _columns(spec).values())

    @classmethod
    def over(cls, buffer: Any, spec: EnvSpec, num_envs: int) -> GameMemory:
        """The arrays of `num_envs` games in a writable buffer of `size` zero bytes.

        Processes that map the same memory with the same arguments see the same arrays.
        """
        arrays: dict[str, Any] = {}
        offset = 0
        for name, row in _columns(spec).items():
            arrays[name] = np.ndarray((num_envs, *row.shape), row.base, buffer, offset)
            offset += _padded(num_envs * row.itemsize)

        def part(prefix: str) -> dict[str, Any]:
            start = f"{prefix}."
            return {n.removeprefix(start): array for n, array in arrays.items() if n.startswith(start)}

        return cls(
            frames=Frames(**part("frames")),
            observations=(Observation(**part("even")), Observation(**part("odd"))),
            final=Observation(**part("final")),
            **{name: array for name, array in arrays.items() if "." not in name},
        )

    def rows(self, rows: slice) -> GameMemory:
        """The same memory, some of the games."""
        frames = {field.name: getattr(self.frames, field.name)[rows] for field in fields(Frames)}
        even, odd = self.observations
        arrays = {name: getattr(self, name)[rows] for name in _OWN}
        return GameMemory(Frames(**frames), (even[rows], odd[rows]), self.final[rows], **arrays)

    def note_end(self, row: int, end: EpisodeEnd) -> None:
        """Write down how the episode of a row ended."""
        assert _ENDS.names is not None
        self.ends[row] = tuple(getattr(end, name) for name in _ENDS.names)

    def end(self, row: int, env: int) -> EpisodeEnd:
        """What `note_end` wrote, for the environment of that number."""
        assert _ENDS.names is not None
        return EpisodeEnd(env=env, **dict(zip(_ENDS.names, self.ends[row].item(), strict=True)))


_OWN: dict[str, np.dtype[Any]] = {
    "ends": _ENDS,
    "action": np.dtype(np.int64),
    "reward": np.dtype(np.float32),
    "terminated": np.dtype(np.bool_),
    "truncated": np.dtype(np.bool_),
    "episodes": EPISODE,
    "playing": np.dtype(np.bool_),
}


def _columns(spec: EnvSpec) -> dict[str, np.dtype[Any]]:
    """Shape and type of one row of every array, in the order in which they lie in memory."""
    crop = (spec.crop_size, spec.crop_size)
    observation: dict[str, np.dtype[Any]] = {
        "state": np.dtype((np.float32, (spec.state_dim,))),
        "atoms": np.dtype((np.bool_, (spec.num_atoms,))),
        "mask": np.dtype((np.bool_, (spec.num_actions,))),
        "crop": np.dtype((np.int16, crop)),
        "overview": np.dtype((np.uint8, spec.overview_shape)),
        "glyphs": np.dtype((np.int16, (MAP_ROWS, MAP_COLUMNS))),
        "hero": np.dtype((np.int16, (2,))),
        "hostile_dirs": np.dtype((np.bool_, (8,))),
        "noise": np.dtype(np.int64),
    }
    empty = Frames.allocate(0)
    frames = {f.name: getattr(empty, f.name) for f in fields(Frames)}
    columns = {f"frames.{n}": np.dtype((array.dtype, array.shape[1:])) for n, array in frames.items()}
    for part in ("even", "odd", "final"):
        columns |= {f"{part}.{name}": row for name, row in observation.items()}
    return columns | _OWN


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
