"""A run's whole state in a checkpoint and back, and the weights alone of another run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
import torch

from tedg.errors import ConfigError
from tedg.learn.ppo import Learner
from tedg.learn.rollout import Rollout
from tedg.models.policy import MoEPolicy
from tedg.track import checkpoint
from tedg.track.restore import optimizer_tensors, restore_optimizer, restore_rng, rng_tensors


@dataclass(slots=True)
class RunState:
    """Where a run stands, besides what its learner holds."""

    games_started: list[int]  # per environment; names the next game's seed after a resume
    update: int = 0
    env_steps: int = 0
    episodes: int = 0
    rollbacks_in_a_row: int = 0
    rollbacks: int = 0
    updates_per_stage: dict[str, int] = field(default_factory=dict)
    initial_context_norm: float | None = None

    @staticmethod
    def saved_in(saved: checkpoint.Checkpoint) -> RunState:
        """What `save` was given."""
        return RunState(**saved.state["run"])


def save(
    run_dir: Path, state: RunState, learner: Learner, generators: dict[str, torch.Generator], keep: int
) -> None:
    """Write a checkpoint of everything that the next update depends on. Raises StorageError."""
    optimizer, groups = optimizer_tensors(learner.optimizer)
    rng, _ = rng_tensors(generators)
    tensors = {
        "model": learner.policy.state_dict(),
        "optim": optimizer,
        "normaliser": learner.normaliser.state_dict(),
        "rng": rng,
    }
    if learner.alignment is not None:
        tensors["alignment"] = learner.alignment.state_dict()
    checkpoint.save(
        run_dir / "checkpoints", state.update, tensors, {"run": asdict(state), "optim": groups}, keep=keep
    )


def find(run_dir: Path, warn: Callable[[str], None]) -> checkpoint.Checkpoint | None:
    """The newest intact checkpoint, naming broken ones; None without any. Raises StorageError."""
    newest = checkpoint.latest(run_dir / "checkpoints", warn)
    return None if newest is None else checkpoint.load(newest)


def resume(saved: checkpoint.Checkpoint, learner: Learner, generators: dict[str, torch.Generator]) -> None:
    """Give learner and generators what the checkpoint holds. Raises StorageError if it is not theirs."""
    learner.policy.load_state_dict(saved.tensors["model"])
    restore_optimizer(learner.optimizer, saved.tensors["optim"], saved.state["optim"])
    learner.normaliser.load_state_dict(saved.tensors["normaliser"])
    if learner.alignment is not None:
        learner.alignment.load_state_dict(saved.tensors["alignment"])
    restore_rng(generators, saved.tensors["rng"], {})


def load_weights(policy: MoEPolicy, run_dir: Path) -> None:
    """Start from the last weights of another run; its optimiser and counters are not taken.

    Raises ConfigError, naming what differs, when they belong to another architecture, and StorageError
    when they cannot be read.
    """
    newest = checkpoint.latest(run_dir / "checkpoints")
    if newest is None:
        raise ConfigError(f"init_from: {run_dir} has no checkpoint; name a run directory that has one")
    weights = checkpoint.load(newest).tensors["model"]
    own = policy.state_dict()
    differences = [f"{name}: only in this policy" for name in own.keys() - weights.keys()]
    differences += [f"{name}: only in the checkpoint" for name in weights.keys() - own.keys()]
    differences += [
        f"{name}: {list(own[name].shape)} here, {list(weights[name].shape)} in the checkpoint"
        for name in own.keys() & weights.keys()
        if own[name].shape != weights[name].shape
    ]
    if differences:
        listed = "\n  ".join(sorted(differences))
        raise ConfigError(
            f"init_from: the weights in {newest} are of another architecture:\n  {listed}\n"
            "use the parent's vision, logic, fusion and policy settings, or init_from=none"
        )
    policy.load_state_dict(weights)


def write_debug_bundle(run_dir: Path, rollout: Rollout) -> Path:
    """The rollout that no update survived, for a bug report; the last good weights are in the checkpoint."""
    tensors = {
        name: value.detach().cpu().contiguous()
        for name in rollout.__dataclass_fields__
        if isinstance(value := getattr(rollout, name), torch.Tensor)
    }
    tensors |= {f"observation.{n}": v.cpu().contiguous() for n, v in rollout.observation.items()}
    path = run_dir / "debug" / "rollout.safetensors"
    path.parent.mkdir(exist_ok=True)
    safetensors.torch.save_file(tensors, path)
    return path
