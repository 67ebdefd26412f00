"""What passes between environments and learner: observations, steps, ended episodes, sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Observation:
    """One batch of B observations: numpy arrays from the environments, tensors inside the learner.

    A field nobody asked for may be None (see `select`); a policy names what it reads.
    """

    state: Any = None  # [B, 115] float32, named features, see `STATE_FEATURES`
    atoms: Any = None  # [B, A] bool, one bit per condition of the hypergraph
    mask: Any = None  # [B, actions] bool, True where the action is legal
    crop: Any = None  # [B, 9, 9] int16, glyphs around the hero; STONE outside the map
    overview: Any = None  # [B, 7, 20, C] uint8, cells of each terrain class in every 3 x 4 block of the map
    hero: Any = None  # [B, 2] int16, row and column of the hero on the map
    hostile_dirs: Any = None  # [B, 8] bool, adjacent hostile in the direction of action 1..8
    noise: Any = None  # [B] int64, drawn anew for every step: for policies that are random in a forward pass

    def items(self) -> list[tuple[str, Any]]:
        """(name, array) of every field that is present."""
        return [(name, v) for name in _FIELDS if (v := getattr(self, name)) is not None]

    def map(self, fn: Callable[[Any], Any]) -> Observation:
        """Apply `fn` to every present field."""
        return Observation(**{name: fn(value) for name, value in self.items()})

    def select(self, names: tuple[str, ...]) -> Observation:
        """Keep only the named fields."""
        return Observation(**{name: getattr(self, name) for name in names})

    @staticmethod
    def concatenate(parts: Sequence[Observation]) -> Observation:
        """One batch out of several of numpy arrays that have the same fields."""
        names = [name for name, _ in parts[0].items()]
        return Observation(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})

    def __getitem__(self, index: Any) -> Observation:
        """Index every present field along the batch."""
        return self.map(lambda value: value[index])

    def __len__(self) -> int:
        return len(self.items()[0][1])

    def to(self, device: torch.device | str) -> Observation:
        """Tensors on `device`, from numpy arrays (whose memory is shared on the CPU) or tensors."""
        import torch  # 100 MB that no process with games alone should need

        return self.map(lambda value: torch.as_tensor(value).to(device))


_FIELDS = tuple(f.name for f in fields(Observation))


@dataclass(frozen=True, slots=True)
class EpisodeEnd:
    """One finished episode, in raw game units."""

    env: int  # index of the environment in the vector
    seed: int  # the game's seed
    length: int  # env steps
    episode_return: float  # sum of raw rewards
    score: float  # in-game score of the last living observation
    depth: int  # deepest level reached
    turns: int  # game turns of the last living observation
    end: str  # "death", "success", "truncated", or "lost" with the process that played it
    # How the hero died, where the game tells it. No part of equality: tables of earlier versions lack it.
    cause: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Position:
    """Where an environment stands in its plan of games; the default is the beginning.

    A game cannot be saved, but the same seeds and actions make the same game again.
    """

    episode: int = 0  # number of the running game
    actions: bytes = b""  # taken in it so far, one byte each
    digest: str | None = None  # of what it shows now, see `Shown.digest`; None: nobody has seen it yet


@dataclass(frozen=True, slots=True)
class Resumed:
    """The outcome of playing games again up to their positions."""

    observation: Observation  # of all environments, as `VectorEnv.reset` returns it
    lost: list[EpisodeEnd]  # games that did not reach their positions; the next ones have begun instead
    incidents: list[str] = field(default_factory=list)  # what went wrong, for the user


@dataclass(frozen=True, slots=True)
class Step:
    """Result of one step of B environments, all or one group, with same-step autoreset.

    `observation` is the first frame of the next episode wherever an episode just ended; the ended
    episode's own last observation is in `final_observation`: the live frame after the last action
    for a truncated episode, the last living frame for a terminated one. An episode that is lost with the
    process that played it counts as truncated, without reward, and its final observation is the one before.
    """

    observation: Observation
    reward: npt.NDArray[np.float32]  # [B]
    terminated: npt.NDArray[np.bool_]  # [B]
    truncated: npt.NDArray[np.bool_]  # [B]
    final_index: npt.NDArray[np.int64]  # [K] rows whose episode ended in this step
    final_observation: Observation | None  # K rows in the order of `final_index`; None when K = 0
    episodes: list[EpisodeEnd]  # K entries in the order of `final_index`
    incidents: list[str] = field(default_factory=list)  # processes lost and replaced, for the user


@runtime_checkable
class Player(Protocol):
    """Chooses one action per game, each from a generator of its own, so games do not affect each other."""

    def act(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Actions [B] for a batch of B games."""
        ...


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """Sizes a policy is built from."""

    name: str
    num_actions: int
    num_atoms: int
    state_dim: int
    overview_shape: tuple[int, int, int]  # rows, columns, terrain classes
    crop_size: int
    symbolic_state: npt.NDArray[np.bool_]  # [state_dim] True for features read from the hypergraph or rules
    script: Player | None = None  # the environment's own scripted player; None: NetHack's


@runtime_checkable
class VectorEnv(Protocol):
    """B environments stepped together. `seeds(env, episode)` names every game before it starts.

    They form groups, so that a learner can act in one while another one steps:

        env.send(0, actions); env.send(1, actions); step = env.receive(0); env.send(0, ...); ...

    `step` steps all groups and waits for them. What comes out is the same in whatever order groups are
    stepped.
    """

    spec: EnvSpec
    num_envs: int
    groups: tuple[slice, ...]  # the environments of each group, none empty; together 0 to num_envs - 1

    def reset(self) -> Observation:
        """Start a new episode everywhere and return its first observations; steps under way are forgotten."""
        ...

    def send(self, group: int, actions: npt.NDArray[np.int64]) -> None:
        """Begin a step of one group, with one action per environment of it."""
        ...

    def receive(self, group: int) -> Step:
        """Wait for the group's step. Rows count within the group, `EpisodeEnd.env` over all groups."""
        ...

    def step(self, actions: npt.NDArray[np.int64]) -> Step:
        """Apply one action per environment; ended episodes restart within the same step."""
        ...

    def positions(self) -> list[Position]:
        """Where every environment stands. Raises RuntimeError before the first reset and during a step."""
        ...

    def resume(self, positions: Sequence[Position]) -> Resumed:
        """Instead of `reset`: bring every environment to its position, by playing its game again.

        A game that does not show what its position's digest says is given up: the next one begins.
        """
        ...

    def close(self) -> None:
        """Release every game. May be called again."""
        ...
