"""A run's whole state in a checkpoint and back, and the weights alone of another run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from tedg.envs.observation import Position
from tedg.errors import ConfigError, StorageError
from tedg.learn.migrations import migrated
from tedg.learn.ppo import Learner
from tedg.learn.rollout import CollectorState
from tedg.models.policy import MoEPolicy
from tedg.store import checkpoint
from tedg.store.rundir import CHECKPOINTS, WEIGHTS
from tedg.store.torch_state import (
    RandomSource,
    differences,
    optimizer_tensors,
    restore_optimizer,
    restore_rng,
    rng_tensors,
)

Generators = Mapping[str, RandomSource]


@dataclass(slots=True)
class RunState:
    """Where a run stands, besides what its learner and its collector hold."""

    update: int = 0
    env_steps: int = 0
    episodes: int = 0
    rollbacks_in_a_row: int = 0
    rollbacks: int = 0
    updates_per_stage: dict[str, int] = field(default_factory=dict)
    initial_context_norm: float | None = None
    border_kl: float | None = None  # of the stage's border that the next update crosses
    lost_episodes: int = 0
    incidents: int = 0  # processes lost and replaced


def save(
    run_dir: Path,
    state: RunState,
    learner: Learner,
    generators: Generators,
    games: CollectorState,
    *,
    keep: int,
    meta: Mapping[str, Any],
    quality: float | None,
) -> None:
    """Write a checkpoint of everything that the next update depends on. Raises StorageError."""
    tensors: dict[str, dict[str, Tensor]] = {}
    content: dict[str, Any] = {"run": asdict(state)}
    for name, part in learner.parts.items():
        if isinstance(part, Optimizer):
            tensors[name], content[name] = optimizer_tensors(part)
        else:
            tensors[name] = part.state_dict()
    tensors["rng"], content["rng"] = rng_tensors(generators)
    tensors["collector"] = {"continues": games.continues}
    if games.previous_alpha is not None:
        tensors["collector"]["previous_alpha"] = games.previous_alpha
    content["positions"] = [
        {**asdict(position), "actions": position.actions.hex()} for position in games.positions
    ]
    checkpoint.save(run_dir / CHECKPOINTS, state.update, tensors, content, meta, keep, quality)


def find(run_dir: Path, warn: Callable[[str], None]) -> checkpoint.Checkpoint | None:
    """The newest intact checkpoint, naming broken ones; None without any. Raises StorageError."""
    newest = checkpoint.latest(run_dir / CHECKPOINTS, warn)
    return None if newest is None else migrated(checkpoint.load(newest), warn)


def resume(
    saved: checkpoint.Checkpoint, learner: Learner, generators: Generators
) -> tuple[RunState, CollectorState]:
    """Give learner and generators what the checkpoint holds, and return the rest of it.

    Raises ConfigError, naming what differs, when the weights are of another architecture, and StorageError
    when anything else is not what `save` wrote.
    """
    found = differences(learner.policy.state_dict(), saved.tensors.get("model", {}))
    if found:
        raise ConfigError(
            f"{saved.path} is of another architecture than this version of the code builds:\n  "
            + "\n  ".join(found)
            + "\ngo on with the code that saved it, or begin a new run with "
            f"init_from={saved.path} and init_except for the parts that differ"
        )
    try:
        for name, part in learner.parts.items():
            if isinstance(part, Optimizer):
                restore_optimizer(part, saved.tensors[name], saved.state[name])
            else:
                part.load_state_dict(saved.tensors[name])
        restore_rng(generators, saved.tensors["rng"], saved.state["rng"])
        positions = [
            Position(place["episode"], bytes.fromhex(place["actions"]), place["digest"])
            for place in saved.state["positions"]
        ]
        collector = saved.tensors["collector"]
        games = CollectorState(positions, collector["continues"], collector.get("previous_alpha"))
        return RunState(**saved.state["run"]), games
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StorageError(
            f"checkpoint {saved.path} does not fit this run: {type(error).__name__}: {error}"
        ) from error


def load_weights(policy: MoEPolicy, source: Path, exceptions: Sequence[str] = ()) -> list[str]:
    """Start from weights saved elsewhere; optimiser and counters are not taken.

    `source` is a run's directory, for its newest checkpoint, or one checkpoint. Parameters whose names
    begin with one of `exceptions` keep their fresh values; their names are returned. Raises ConfigError,
    naming what differs, when the rest is of another architecture, or when an exception fits no parameter,
    and StorageError when the weights cannot be read.
    """
    path = weights_in(source)
    weights, own = checkpoint.load(path).tensors.get("model", {}), policy.state_dict()
    for start in exceptions:
        if not any(name.startswith(start) for name in own):
            raise ConfigError(f"init_except: no parameter of this policy begins with {start!r}")
    fresh = [name for name in own if name.startswith(tuple(exceptions))]
    wanted = {name: value for name, value in own.items() if name not in fresh}
    given = {name: value for name, value in weights.items() if not name.startswith(tuple(exceptions))}
    found = differences(wanted, given)
    if found:
        listed = "\n  ".join(found)
        raise ConfigError(
            f"init_from: the weights in {path} are of another architecture:\n  {listed}\n"
            "use the settings of vision, logic, fusion and policy that they were trained with, leave parts "
            "fresh by the beginnings of their names, as in init_except=[fusion.], or take init_from=none"
        )
    policy.load_state_dict({**own, **given})
    return fresh


def weights_in(source: Path) -> Path:
    """The checkpoint that `source` names: itself, or a run directory's newest. Raises ConfigError."""
    path = source if checkpoint.is_checkpoint(source) else checkpoint.latest(source / CHECKPOINTS)
    if path is None:
        raise ConfigError(f"init_from={source}: has no checkpoint yet; let that run save one, or finish")
    if not (path / WEIGHTS).is_file():
        raise ConfigError(f"init_from={source}: {path.name} holds no weights; name another run")
    return path
