"""What makes two runs the same run: their configuration and the weights they start from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path
from typing import Any

from tedg.compose import Composed
from tedg.config import RunConfig
from tedg.hypergraph.schema import load_hypergraph
from tedg.schema import Faults, read

# How a run is named, stored, shown and spread over a machine says nothing about what it computes.
# A preset's numbers count where they are used; a check judges a run and changes nothing in it.
VOLATILE = (
    "name",
    "paths",
    "run_dir",
    "device",
    "threads",
    "compile",
    "logger",
    "check",
    "init_from",
    "preset",
)
VOLATILE_ENV = ("num_workers",)
# Keys that came after the first version, with the values by which it acted: they count only where they
# differ, so that runs begun before keep their ids.
LATER = {("init_except",): (), ("ppo", "max_kl"): 100.0, ("ppo", "max_value_loss"): 1e9}


def run_id(config: RunConfig, parent: str | None) -> str:
    """Ten hex digits that are equal for equal configurations with equal starts.

    `parent` is the run id that the first weights come from, or a digest of those weights; None for a
    fresh start.
    """
    identity = {"config": _canonical(config), "parent": parent}
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


def command(composed: Composed, overrides: tuple[str, ...] | None = None) -> list[str]:
    """The command line that starts or resumes this run."""
    flags = ["-m"] if composed.sweep else []
    own = composed.overrides if overrides is None else overrides
    return ["python", "-m", "tedg.train", *flags, *own]


def parent_command(composed: Composed) -> list[str]:
    """The command line that trains the parent stage of this run, as a run of its own."""
    kept = tuple(line for line in composed.overrides if not _only_for_child(line))
    stage = f"stage={composed.config.stage['parent']}"
    return command(replace(composed, sweep=False), (*kept, stage))


def _only_for_child(override: str) -> bool:
    key = override.partition("=")[0].lstrip("+~")
    return key in ("stage", "init_from", "run_dir", "name") or key.startswith(("stage.", "stage@"))


def _canonical(config: RunConfig) -> dict[str, Any]:
    node = {key: value for key, value in asdict(config).items() if key not in VOLATILE}
    for (*groups, key), before in LATER.items():
        group = reduce(dict.__getitem__, groups, node)
        if group[key] == before:
            del group[key]
    node["env"] = {key: value for key, value in config.env.items() if key not in VOLATILE_ENV}
    node["env"]["hypergraph"] = load_hypergraph(config.env["hypergraph"]).digest
    # A routing chosen for all stages and the same one written into each stage are one configuration.
    routing = node.pop("routing")
    if routing["_target_"] is not None:
        for stage in _stage_nodes(node["stage"]):
            stage["routing"] = routing
    return node


def _stage_nodes(stage: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "phases" in stage:
        yield from stage["phases"].values()
    else:
        yield stage
