"""What makes two runs the same run: their configuration and the weights they start from."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tedg.config.compose import Composed
from tedg.config.run_config import RunConfig
from tedg.config.sources import Sources
from tedg.config.typed import Faults, read
from tedg.hypergraph.schema import load_hypergraph

# How a run is named, stored, shown and spread over a machine says nothing about what it computes.
# A preset's numbers count where they are used; a check judges a run and a plan a study; neither changes
# anything in it.
VOLATILE = (
    "name",
    "paths",
    "run_dir",
    "device",
    "threads",
    "compile",
    "cuda_graphs",
    "logger",
    "check",
    "init_from",
    "preset",
    "plan",
)
VOLATILE_ENV = ("num_workers",)
# How a run is measured and kept changes nothing that is learnt. In an id these keys count with the values
# below, whatever the run is given, so that it keeps its id however many games it is asked for. Never change
# these values.
MEASURED: dict[str, dict[str, Any]] = {
    "eval": {"games": 100, "first_seed": 500000, "players": ["random", "random_legal", "script"]},
    "checkpoint": {"every_updates": 20, "keep": 3},
    "diagnostics": {
        "min_usage_entropy": 0.3,
        "min_specialisation": 0.005,
        "late_fraction": 0.5,
        "max_kept_similarity": 0.99,
        "max_context_drift": 5.0,
        "max_grad_norm": 10.0,
        "max_log_ratio": 1.0e-4,
    },
}
# Keys that the first version did not have, with the values that it acted by. A key counts only where it
# differs from that, so that runs begun before keep their ids. A key of a stage begins with "stage", and holds
# for every phase of a curriculum too.
LATER: dict[tuple[str, ...], Any] = {
    ("init_except",): (),
    ("env", "exploration_bonus"): 0.0,
    ("ppo", "max_kl"): 100.0,
    ("ppo", "max_value_loss"): 1e9,
}
# Phases in this order count by their names alone, as they did when there were no others.
FIRST_PHASES = ("warmup", "transition", "finetune")
# Classes that have moved since: where they are now, and the path by which they count.
MOVED = {"tedg.envs.toys.env.ToyVectorEnv": "tedg.envs.toys.vector.ToyVectorEnv"}
# What tedg reads from the environment, and a command that is to do the same needs.
VARIABLES = ("TEDG_CONF_DIR", "TEDG_ALLOW")


def run_id(config: RunConfig, parent: str | None) -> str:
    """Ten hex digits that are equal for equal configurations with equal starts.

    `parent` is the run id that the first weights come from, or a digest of those weights; None for a
    fresh start.
    """
    return _digest(_canonical(config), parent)


def earlier_id(config: RunConfig, parent: str | None) -> str:
    """The id from when the keys of MEASURED still counted; earlier directories have it."""
    node = asdict(config)
    del node["eval"]["milestones"]  # which there were none of then
    return _digest(_canonical(config) | {key: node[key] for key in MEASURED}, parent)


def _digest(canonical: dict[str, Any], parent: str | None) -> str:
    identity = {"config": canonical, "parent": parent}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def parent_of(composed: Composed) -> Composed | None:
    """The run that this one continues: the same configuration with the previous stage's YAML; or None."""
    parent = composed.config.stage["parent"]
    if parent is None:
        return None
    resolved = {**composed.resolved, "stage": composed.ancestors[parent]}
    faults = Faults()
    config = read(RunConfig, resolved, "", faults)
    faults.raise_if_any()
    assert config is not None
    return replace(composed, config=replace(config, init_from="auto", run_dir=None), resolved=resolved)


def weights_digest(path: Path) -> str:
    """Stands in for a parent's run id where the weights come from no finished run."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def command(composed: Composed, overrides: tuple[str, ...] | None = None) -> str:
    """The command line, to be pasted into a shell, that starts or resumes this run.

    As it was given, with the environment variables of tedg that were set. What config.yaml records of values
    from other variables stands there itself, since another shell has other values.
    """
    own = (*composed.hydra_overrides, *composed.overrides) if overrides is None else overrides
    # A job of a sweep has -m and its own values.
    own = tuple(line for line in own if not _key(line).startswith(("hydra.mode", "hydra.sweeper.params")))
    recorded = [_as_recorded(line, composed.saved) for line in own]
    return _command(composed.sources, composed.sweep, recorded)


def sweep_command(sources: Sources, overrides: Sequence[str]) -> str:
    """The command line that starts a sweep, or does what is missing of it; `overrides` are as typed."""
    return _command(sources, True, overrides)


def _command(sources: Sources, sweep: bool, overrides: Sequence[str]) -> str:
    return tool_command("tedg.train", *sources.flags, *(["-m"] if sweep else []), *overrides)


def tool_command(module: str, *parts: str) -> str:
    """A command line of this interpreter, with the environment variables of tedg that are set."""
    variables = [f"{name}={shlex.quote(os.environ[name])}" for name in VARIABLES if os.environ.get(name)]
    return " ".join([*variables, shlex.join([sys.executable, "-m", module, *parts])])


def parent_command(composed: Composed, *more: str) -> str:
    """The command line that trains the parent stage of this run, alone and with `more` overrides."""
    own = (*composed.hydra_overrides, *composed.overrides)
    kept = tuple(line for line in own if not _only_for_child(line))
    stage = f"stage={composed.config.stage['parent']}"
    return command(replace(composed, sweep=False), (*kept, stage, *more))


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _as_recorded(override: str, saved: Mapping[str, Any]) -> str:
    """An override with the value that it read from the environment, where that is recorded."""
    if "${oc.env:" not in override:
        return override
    node: Any = saved
    for name in _key(override).split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    recorded = isinstance(node, int | float | str | list) and "${" not in str(node)
    return f"{override.partition('=')[0]}={node}" if recorded else override


def _only_for_child(override: str) -> bool:
    key = _key(override)
    return key in ("stage", "init_from", "run_dir", "name") or key.startswith(("stage.", "stage@"))


def _canonical(config: RunConfig) -> dict[str, Any]:
    node = {key: value for key, value in asdict(config).items() if key not in VOLATILE}
    node["env"] = {key: value for key, value in config.env.items() if key not in VOLATILE_ENV}
    for (*groups, key), before in LATER.items():
        for group in _groups(node, groups):
            if group.get(key) == before:  # a toy environment lacks some
                del group[key]
    node["env"]["hypergraph"] = load_hypergraph(config.env["hypergraph"]).digest
    phases = node["stage"].get("phases")
    if phases is not None and tuple(phases) != FIRST_PHASES:
        node["stage"]["order"] = list(phases)
    # A routing chosen for all stages and the same one written into each stage are one configuration.
    routing = node.pop("routing")
    if routing["_target_"] is not None:
        for stage in _groups(node, ["stage"]):
            stage["routing"] = routing
    moved: dict[str, Any] = _with_first_paths(node)
    return moved | MEASURED


def _groups(node: dict[str, Any], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The group of keys that `names` lead to; for a stage, every phase of a curriculum."""
    if not names:
        yield node
    elif names[0] == "stage" and "phases" in node["stage"]:
        for phase in node["stage"]["phases"].values():
            yield from _groups(phase, names[1:])
    else:
        yield from _groups(node[names[0]], names[1:])


def _with_first_paths(node: Any) -> Any:
    """`node` with every `_target_` that has moved at the place where it was first."""
    if isinstance(node, dict):
        return {
            key: MOVED.get(item, item) if key == "_target_" else _with_first_paths(item)
            for key, item in node.items()
        }
    return [_with_first_paths(item) for item in node] if isinstance(node, list | tuple) else node
