"""A recorded game: what was shown, said and done in each step; kept in a file, and drawn by the replay."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tedg.envs.observation import EpisodeEnd
from tedg.errors import StorageError
from tedg.files import write_bytes
from tedg.hypergraph.schema import Hypergraph
from tedg.models.vision import Region

_ABOUT = "about"


@dataclass(frozen=True, slots=True)
class Rule:
    """An operator in words; literals are names of atoms, negated ones after a "¬"."""

    name: str
    expert: int
    preconditions: tuple[str, ...]
    effects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class About:
    """Which game this is, who played it, and the names of what is counted."""

    run: str  # name of its directory
    stage: str  # whose routing and temperature the policy played under
    seed: int  # of the game, and of the draws
    cap: int  # env steps after which the game is cut off
    task: str
    end: EpisodeEnd
    actions: tuple[str, ...]
    atoms: tuple[str, ...]
    experts: tuple[str, ...]
    operators: tuple[Rule, ...]
    regions: tuple[Region | None, ...]  # where each key of attention lies on the map


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """T steps of one game: row t is what was shown, what the policy said and did, and what came of it.

    H heads, K experts, O operators, A atoms; H and O are 0 for a policy that has none.
    """

    about: About
    chars: npt.NDArray[np.uint8]  # [T, 21, 79] as NLE gives them
    colors: npt.NDArray[np.uint8]  # [T, 21, 79] 0 to 15
    blstats: npt.NDArray[np.int32]  # [T, 27]
    message: npt.NDArray[np.uint8]  # [T, 256]
    action: npt.NDArray[np.uint8]  # [T]
    reward: npt.NDArray[np.float32]  # [T] of the action
    legal: npt.NDArray[np.bool_]  # [T, actions]
    probabilities: npt.NDArray[np.float32]  # [T, actions]
    value: npt.NDArray[np.float32]  # [T]
    alpha: npt.NDArray[np.float32]  # [T, K]
    atoms: npt.NDArray[np.bool_]  # [T, A]
    operator_scores: npt.NDArray[np.float32]  # [T, O]
    attention: npt.NDArray[np.float32]  # [T, H, keys]

    def __len__(self) -> int:
        return len(self.action)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != _ABOUT}

    def save(self, path: str | Path) -> None:
        """Write it as .npz, compressed. Raises StorageError."""
        about = np.frombuffer(json.dumps(asdict(self.about)).encode(), np.uint8)
        file = io.BytesIO()
        arrays: dict[str, Any] = {_ABOUT: about, **self.arrays()}
        np.savez_compressed(file, **arrays)
        write_bytes(Path(path), file.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """What `save` wrote. Raises StorageError for anything else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = _about(json.loads(arrays.pop(_ABOUT).tobytes()))
            return cls(about=about, **arrays)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise StorageError(f"{path} is no recording: {error}") from None


def rules_of(graph: Hypergraph) -> tuple[Rule, ...]:
    """The operators of a hypergraph in words."""
    return tuple(
        Rule(
            operator.name,
            graph.experts.index(operator.expert),
            tuple(map(_literal, operator.preconditions)),
            tuple(map(_literal, operator.effects)),
        )
        for operator in graph.operators
    )


def _literal(literal: Any) -> str:
    return literal.atom if literal.positive else f"¬{literal.atom}"


def _about(content: Mapping[str, Any]) -> About:
    """From what `asdict` made, which JSON gave back with lists for tuples."""
    told: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
    rules: list[dict[str, Any]] = [
        {name: tuple(v) if isinstance(v, list) else v for name, v in one.items()} for one in told["operators"]
    ]
    regions = (None if one is None else Region(*one) for one in told["regions"])
    own = {
        "end": EpisodeEnd(**told["end"]),
        "operators": tuple(Rule(**one) for one in rules),
        "regions": tuple(regions),
    }
    return About(**(told | own))
