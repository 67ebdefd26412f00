"""What a schema cannot see: keys of different groups that must fit together, and the machine itself.

Nothing here imports torch, so that a bad configuration is refused within a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tedg.config.machine import validate_machine
from tedg.config.module_schemas import NO_LOGIC, SYMBOLIC_ROUTING, has_own_parts, refuse_foreign_targets
from tedg.config.run_config import RunConfig
from tedg.config.typed import LARGEST_WHOLE, Faults, exact, read
from tedg.files import SLUG, leads_outside, unwritable
from tedg.hypergraph.schema import HypergraphError, load_hypergraph
from tedg.spelling import did_you_mean_path


def validate(
    node: Mapping[str, Any],
    faults: Faults,
    sweep: bool = False,
    known: tuple[Mapping[str, Any], RunConfig] | None = None,
) -> RunConfig | None:
    """A resolved configuration as a RunConfig; None after adding everything that is wrong with it.

    `sweep`: it is a job of a multirun. `known`: another job with its RunConfig, the parts of which that both
    share are not read again. Looks at the machine too: the device, the hypergraph's file, the
    directory that would be written. Leaves nothing on the disk.
    """
    faults.importing = False  # which takes seconds, so everything else is looked at first
    config = read(RunConfig, node, "", faults, known)
    faults.importing = True
    refuse_foreign_targets(node, faults)
    # What concerns several groups reads single values, so that it still works beside faults in other groups.
    _validate_rollout(node, faults)
    _validate_hypergraph(node, faults)
    _validate_routing(node, faults)
    _validate_milestones(node, faults)
    _validate_plan(node, faults)
    _validate_device(node, faults)
    validate_machine(node, faults)
    if known is None or any(node.get(key) != known[0].get(key) for key in ("paths", "run_dir")):
        _validate_place(node, faults, sweep)
    _validate_start(node, faults)
    if not faults.lines and has_own_parts(node):
        config = read(RunConfig, node, "", faults, known)
    return config if not faults.lines else None


def _get(node: Any, *keys: str) -> Any:
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _numbers(*values: Any) -> bool:
    """Whether all are positive numbers that a schema could take."""
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LARGEST_WHOLE
        for value in values
    )


def _validate_rollout(node: Mapping[str, Any], faults: Faults) -> None:
    envs, steps = _get(node, "env", "num_envs"), _get(node, "ppo", "num_steps")
    minibatch = _get(node, "ppo", "minibatch_size")
    if _numbers(envs, steps, minibatch) and minibatch > envs * steps:
        right = (
            f"must be at most the rollout, env.num_envs * ppo.num_steps = {exact(envs * steps)}; "
            f"ppo.minibatch_size={exact(max(envs * steps // 8, 1))} makes eight minibatches of it"
        )
        faults.add("ppo.minibatch_size", minibatch, right)


def _validate_hypergraph(node: Mapping[str, Any], faults: Faults) -> None:
    name = _get(node, "env", "hypergraph")
    if not isinstance(name, str):
        return
    try:
        hypergraph = load_hypergraph(name)
    except HypergraphError as error:
        for line in str(error).splitlines():
            faults.add("env.hypergraph", name, line)
        return
    number, known = _get(node, "policy", "num_experts"), len(hypergraph.experts)
    # A single expert is a control: nothing is left to align.
    if _numbers(number) and number not in (1, known) and _get(node, "logic", "_target_") != NO_LOGIC:
        for key, stage in _stages(node):
            if _get(stage, "alignment_coef") != 0:
                right = f"alignment needs the hypergraph's {known} experts; take {known}"
                right += f", or {key}.alignment_coef=0"
                faults.add("policy.num_experts", number, right)
    for key, routing in _routings(node):
        if _get(routing, "_target_") == SYMBOLIC_ROUTING and _numbers(number) and number != known:
            right = f"{key} mixes the hypergraph's {known} experts by their operators; take {known}"
            faults.add("policy.num_experts", number, right)


def _validate_routing(node: Mapping[str, Any], faults: Faults) -> None:
    number = _get(node, "policy", "num_experts")
    for key, routing in _routings(node):
        if _get(routing, "_target_") == SYMBOLIC_ROUTING and _get(node, "logic", "_target_") == NO_LOGIC:
            right = (
                "mixes the experts by their operators' scores, and logic=none has none; take another routing"
            )
            faults.add(f"{key}._target_", SYMBOLIC_ROUTING, right)
        k = _get(routing, "k")
        if _numbers(k, number) and k > number:
            faults.add(f"{key}.k", k, f"must be at most policy.num_experts={number}")
        exponents = _get(routing, "exponent")
        if isinstance(exponents, Mapping):
            for _, stage in _stages(node):
                name = _get(stage, "name")
                if isinstance(name, str) and name not in exponents:
                    faults.report(f"{key}.exponent.{name}: is missing: [at the stage's start, at its end]")


def _stages(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    phases = _get(node, "stage", "phases")
    if isinstance(phases, Mapping):
        yield from ((f"stage.phases.{name}", phase) for name, phase in phases.items())
    else:
        yield "stage", _get(node, "stage")


def _routings(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The routing that replaces the stages' own, or each stage's."""
    if _get(node, "routing", "_target_") is not None:
        yield "routing", node["routing"]
    else:
        yield from ((f"{key}.routing", _get(stage, "routing")) for key, stage in _stages(node))


def _validate_plan(node: Mapping[str, Any], faults: Faults) -> None:
    planned, kept = _get(node, "plan", "milestones"), _get(node, "eval", "milestones")
    for steps in planned if isinstance(planned, list) and isinstance(kept, list) else ():
        if steps not in kept:
            faults.add("plan.milestones", steps, f"needs weights that are kept: eval.milestones=[{steps}]")


def _validate_milestones(node: Mapping[str, Any], faults: Faults) -> None:
    milestones, budget = _get(node, "eval", "milestones"), _get(node, "budget", "env_steps")
    for steps in milestones if isinstance(milestones, list) and _numbers(budget) else ():
        if _numbers(steps) and steps > budget:
            faults.add("eval.milestones", steps, f"is past the run's end, budget.env_steps={exact(budget)}")


def _validate_device(node: Mapping[str, Any], faults: Faults) -> None:
    device = _get(node, "device")
    if device == "cuda" and (reason := cuda_missing()) is not None:
        faults.add("device", "cuda", f"{reason}; take device=cpu or device=auto")
    elif _get(node, "precision") == "tf32":
        why = "device=cpu" if device == "cpu" else cuda_missing()
        if why is not None:
            faults.add("precision", "tf32", f"needs a GPU ({why}); take precision=float32 or bfloat16")


def cuda_missing() -> str | None:
    """Why there can be no CUDA device here, as far as that shows without importing torch; else None."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible!r} hides every GPU"
    if not any(
        Path(device).exists() for device in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
    ):
        return "this machine has no GPU driver"
    try:
        build = version("torch")
    except PackageNotFoundError:
        return "torch is not installed"
    return f"torch {build} is built for the CPU only" if build.endswith("+cpu") else None


def _validate_place(node: Mapping[str, Any], faults: Faults, sweep: bool) -> None:
    """The directories that this run would write, and no others."""
    places = {"run_dir": _get(node, "run_dir")}
    if sweep:  # Hydra makes this one in any case
        places["paths.multirun_dir"] = _get(node, "paths", "multirun_dir")
    elif places["run_dir"] is None:
        places["paths.output_dir"] = _get(node, "paths", "output_dir")
    for key, value in places.items():
        if not isinstance(value, str):
            continue
        reason = unwritable(Path(value))
        if reason is not None:
            faults.add(key, value, reason)
        elif key == "paths.multirun_dir":
            _validate_study(Path(value).expanduser(), _get(node, "paths", "study"), faults)


def _validate_study(root: Path, study: Any, faults: Faults) -> None:
    if not isinstance(study, str) or not SLUG.fullmatch(study):
        return  # reported as a bad name
    reason = unwritable(root / study)
    if reason is None and leads_outside(root / study, root):
        place = (root / study).resolve()
        own = f"paths.multirun_dir={place.parent} paths.study={place.name}"
        reason = f"{root / study} is a link to a place outside of {root}; to go on there: {own}"
    if reason is not None:
        faults.add("paths.study", study, reason)


def _validate_start(node: Mapping[str, Any], faults: Faults) -> None:
    start = _get(node, "init_from")
    if (
        isinstance(start, str)
        and start not in ("auto", "none")
        and not any(os.path.isfile(os.path.join(start, name)) for name in ("config.yaml", "manifest.json"))
    ):
        right = "must be auto, none, a run directory or one of its checkpoints (it has no config.yaml)"
        output_dir = _get(node, "paths.output_dir")
        near = did_you_mean_path(start, [output_dir] if isinstance(output_dir, str) else [])
        faults.add("init_from", start, right + near)
    if start == "none" and _get(node, "init_except"):
        faults.add("init_except", node["init_except"], "excepts parts of weights, but init_from takes none")
