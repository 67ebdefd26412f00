"""The arrays in which games and the process that steps them meet, in one piece of memory."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt

from tedg.envs.frames import Frames
from tedg.envs.observation import EnvSpec, EpisodeEnd, Observation
from tedg.envs.rewards import EPISODE
from tedg.shared_memory import Layout, part

_TYPES = {int: np.int64, float: np.float64, str: "U12"}  # no word for an end or a cause is longer
# All of an `EpisodeEnd` but `env`: who plays a game knows its row alone.
_ENDS = np.dtype([(name, _TYPES[kind]) for name, kind in get_type_hints(EpisodeEnd).items() if name != "env"])


@dataclass(frozen=True, slots=True)
class GameMemory:
    """One row per game. Whoever plays the games fills everything but `action`."""

    frames: Frames
    # Steps are written into the two in turn, so the last living frame of a dead game is in the other one.
    observations: tuple[Observation, Observation]
    final: Observation  # the last observation of each episode that ended in this step, in its row
    ends: npt.NDArray[np.void]  # [B] how those episodes ended, in the same rows: EpisodeEnd without `env`
    action: npt.NDArray[np.int64]  # [B]
    reward: npt.NDArray[np.float32]  # [B]
    terminated: npt.NDArray[np.bool_]  # [B]
    truncated: npt.NDArray[np.bool_]  # [B]
    episodes: npt.NDArray[np.void]  # [B] the running games so far, EPISODE
    playing: npt.NDArray[np.bool_]  # [B] NetHack's own code runs now; says which game crashed or hangs

    @classmethod
    def size(cls, spec: EnvSpec, num_envs: int) -> int:
        """Bytes that `over` needs."""
        return _layout(spec, num_envs).size

    @classmethod
    def over(cls, buffer: Any, spec: EnvSpec, num_envs: int) -> GameMemory:
        """The arrays of `num_envs` games in a writable buffer of `size` zero bytes.

        Processes that map the same memory with the same arguments see the same arrays.
        """
        arrays = _layout(spec, num_envs).over(buffer)
        return cls(
            frames=Frames(**part(arrays, "frames")),
            observations=(Observation(**part(arrays, "even")), Observation(**part(arrays, "odd"))),
            final=Observation(**part(arrays, "final")),
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


def _layout(spec: EnvSpec, num_envs: int) -> Layout:
    """Where the arrays of `num_envs` games lie; what follows is the shape and type of one row of each."""
    crop = (spec.crop_size, spec.crop_size)
    observation: dict[str, np.dtype[Any]] = {
        "state": np.dtype((np.float32, (spec.state_dim,))),
        "atoms": np.dtype((np.bool_, (spec.num_atoms,))),
        "mask": np.dtype((np.bool_, (spec.num_actions,))),
        "crop": np.dtype((np.int16, crop)),
        "overview": np.dtype((np.uint8, spec.overview_shape)),
        "hero": np.dtype((np.int16, (2,))),
        "hostile_dirs": np.dtype((np.bool_, (8,))),
        "noise": np.dtype(np.int64),
    }
    empty = Frames.allocate(0)
    frames = {f.name: getattr(empty, f.name) for f in fields(Frames)}
    columns = {f"frames.{n}": np.dtype((array.dtype, array.shape[1:])) for n, array in frames.items()}
    for owner in ("even", "odd", "final"):
        columns |= {f"{owner}.{name}": row for name, row in observation.items()}
    columns |= _OWN
    return Layout(tuple((name, (num_envs, *row.shape), row.base) for name, row in columns.items()))
