"""The schema of a whole run: every key of conf/, its type and range, and what must fit together.

Nothing here imports torch, so that a bad configuration is refused within a second.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

from tedg.hypergraph.schema import HypergraphError, load_hypergraph
from tedg.module_schemas import NO_LOGIC, Count, Slot, refuse_foreign_targets
from tedg.schema import Faults, Range, read

Natural = Annotated[int, Range(low=0)]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(low=0)]
Fraction = Annotated[float, Range(low=0, high=1)]
Sizes = Annotated[tuple[int, ...], Range(low=1)]
Seed = Annotated[int, Range(low=0, below=2**30)]

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SLUG_RULE = "must be 1 to 80 letters, digits, '.', '_' or '-', the first a letter or digit"
SEED_LIMIT = 2**30  # seeds of games lie below it


@dataclass(frozen=True, slots=True)
class Slug:
    """Text that is safe as the name of a directory."""

    def check(self, value: str, key: str, faults: Faults) -> str:
        """Adds a fault for anything that could leave the parent directory or surprise a shell."""
        if not SLUG.fullmatch(value):
            faults.add(key, value, SLUG_RULE)
        return value


Name = Annotated[str, Slug()]


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Router, experts and critic."""

    num_experts: Count
    expert_input: Literal["context", "vision"]
    router_hidden: Sizes
    expert_hidden: Sizes
    critic_hidden: Sizes


@dataclass(frozen=True, slots=True)
class PPOConfig:
    """Proximal policy optimisation."""

    num_steps: Count
    clip_range: Positive
    gamma: Annotated[float, Range(above=0, high=1)]
    gae_lambda: Fraction
    num_epochs: Count
    minibatch_size: Count
    value_coef: NonNegative
    max_grad_norm: Positive
    adam_eps: Positive
    normalise_rewards: bool
    max_rollbacks: Count


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage of training; a pair is (value at the start, value at the end)."""

    name: Name
    parent: Name | None
    episodes: Count
    routing: Annotated[dict, Slot("routing")]  # type: ignore[type-arg]
    temperature: Annotated[tuple[float, float], Range(above=0)]
    learning_rate: Positive
    entropy_coef: NonNegative
    alpha_entropy: Literal["maximise", "minimise"]
    alpha_entropy_coef: Annotated[tuple[float, float], Range(low=0)]
    load_balance_coef: NonNegative
    diversity_coef: NonNegative
    alignment_coef: NonNegative
    alignment_temperature: Positive
    semantic_coef: NonNegative
    temporal_coef: NonNegative
    overlap_coef: NonNegative


@dataclass(frozen=True, slots=True)
class PhasesConfig:
    """The stages of a curriculum, in their order."""

    warmup: StageConfig
    transition: StageConfig
    finetune: StageConfig


@dataclass(frozen=True, slots=True)
class CurriculumConfig:
    """Several stages in one process."""

    name: Name
    parent: Literal[None]
    phases: PhasesConfig


@dataclass(frozen=True, slots=True)
class StageNode:
    """A single stage or a curriculum, kept as a dict after its check."""

    def check(self, value: Mapping[str, Any], key: str, faults: Faults) -> dict[str, Any]:
        """The node with its numbers in their proper form."""
        checked: CurriculumConfig | StageConfig | None = (
            read(CurriculumConfig, value, key, faults)
            if "phases" in value
            else read(StageConfig, value, key, faults)
        )
        return asdict(checked) if checked is not None else dict(value)


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """How long to train; both null means the stage's own number of episodes."""

    episodes: Count | None
    env_steps: Count | None

    def check(self, key: str, faults: Faults) -> None:
        """The two units exclude each other."""
        if self.episodes is not None and self.env_steps is not None:
            right = f"set only one of {key}.episodes and {key}.env_steps (here {self.env_steps})"
            faults.add(f"{key}.episodes", self.episodes, right)


@dataclass(frozen=True, slots=True)
class EvalConfig:
    """Held-out games at the end of training."""

    games: Natural
    first_seed: Seed
    players: tuple[Literal["random", "random_legal", "script"], ...]

    def check(self, key: str, faults: Faults) -> None:
        """The last game's seed has to be one, and every player plays once."""
        if self.first_seed + self.games >= SEED_LIMIT:
            right = f"first_seed + games must be below 2**30 = {SEED_LIMIT} (games is {self.games})"
            faults.add(f"{key}.first_seed", self.first_seed, right)
        if len(set(self.players)) < len(self.players):
            faults.add(f"{key}.players", list(self.players), "names a player twice")


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """How often the whole state is saved, and how many of these saves are kept."""

    every_updates: Count
    keep: Count


@dataclass(frozen=True, slots=True)
class LoggerConfig:
    """Mirrors of metrics.jsonl."""

    tensorboard: bool


@dataclass(frozen=True, slots=True)
class DiagnosticsConfig:
    """Thresholds of the warnings printed during training."""

    min_usage_entropy: NonNegative
    min_specialisation: NonNegative
    late_fraction: Fraction
    max_kept_similarity: Fraction
    max_context_drift: Positive
    max_grad_norm: Positive
    max_log_ratio: Positive


@dataclass(frozen=True, slots=True)
class PathsConfig:
    """Where run directories lie: single runs, and a sweep's runs in <multirun_dir>/<study>."""

    output_dir: str
    multirun_dir: str
    study: Name


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A checked configuration. Modules and the stage stay dicts; modules are built from their `_target_`."""

    name: Name
    seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    threads: Count | None
    init_from: str
    env: Annotated[dict, Slot("env")]  # type: ignore[type-arg]
    vision: Annotated[dict, Slot("vision")]  # type: ignore[type-arg]
    logic: Annotated[dict, Slot("logic")]  # type: ignore[type-arg]
    fusion: Annotated[dict, Slot("fusion")]  # type: ignore[type-arg]
    routing: Annotated[dict, Slot("routing", optional=True)]  # type: ignore[type-arg]
    stage: Annotated[dict, StageNode()]  # type: ignore[type-arg]
    policy: PolicyConfig
    ppo: PPOConfig
    budget: BudgetConfig
    eval: EvalConfig
    checkpoint: CheckpointConfig
    logger: LoggerConfig
    diagnostics: DiagnosticsConfig
    paths: PathsConfig
    run_dir: str | None

    @property
    def phases(self) -> tuple[dict[str, Any], ...]:
        """The stages that this run goes through, in their order."""
        return tuple(self.stage["phases"].values()) if "phases" in self.stage else (self.stage,)


def check_config(node: Mapping[str, Any], faults: Faults) -> RunConfig | None:
    """A resolved configuration as a RunConfig; None after adding everything that is wrong with it.

    Looks at the machine too: the device, the hypergraph's file, the directories. Creates nothing.
    """
    config = read(RunConfig, node, "", faults)
    refuse_foreign_targets(node, faults)
    # Checks across groups read single values, so that they still work beside faults in other groups.
    _check_rollout(node, faults)
    _check_hypergraph(node, faults)
    _check_device(node, faults)
    _check_paths(node, faults)
    return config if not faults.lines else None


def _get(node: Any, *keys: str) -> Any:
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _numbers(*values: Any) -> bool:
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in values
    )


def _check_rollout(node: Mapping[str, Any], faults: Faults) -> None:
    envs, steps = _get(node, "env", "num_envs"), _get(node, "ppo", "num_steps")
    minibatch = _get(node, "ppo", "minibatch_size")
    if _numbers(envs, steps, minibatch) and minibatch > envs * steps:
        right = f"must be at most the rollout, env.num_envs * ppo.num_steps = {envs * steps:g}"
        faults.add("ppo.minibatch_size", minibatch, right)


def _check_hypergraph(node: Mapping[str, Any], faults: Faults) -> None:
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
    if _numbers(number) and number != known and _get(node, "logic", "_target_") != NO_LOGIC:
        for key in _aligned_stages(node):
            right = f"alignment needs the hypergraph's {known} experts; take {known}, or {key}=0"
            faults.add("policy.num_experts", number, right)


def _aligned_stages(node: Mapping[str, Any]) -> Iterator[str]:
    phases = _get(node, "stage", "phases")
    stages = (
        {f"stage.phases.{name}": phase for name, phase in phases.items()}
        if phases
        else {"stage": node["stage"]}
    )
    for key, stage in stages.items():
        if _get(stage, "alignment_coef") != 0:
            yield f"{key}.alignment_coef"


def _check_device(node: Mapping[str, Any], faults: Faults) -> None:
    if _get(node, "device") == "cuda":
        reason = cuda_missing()
        if reason is not None:
            faults.add("device", "cuda", f"{reason}; take device=cpu or device=auto")


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


def _check_paths(node: Mapping[str, Any], faults: Faults) -> None:
    for key in ("run_dir", "paths.output_dir", "paths.multirun_dir"):
        value = _get(node, *key.split("."))
        if isinstance(value, str):
            reason = unwritable(Path(value))
            if reason is not None:
                faults.add(key, value, reason)
    start = _get(node, "init_from")
    if (
        isinstance(start, str)
        and start not in ("auto", "none")
        and not (Path(start) / "config.yaml").is_file()
    ):
        faults.add("init_from", start, "must be auto, none, or a run directory (it has no config.yaml)")


def unwritable(path: Path) -> str | None:
    """Why `path` cannot be made or written as a directory; None if nothing speaks against it."""
    if "\0" in str(path):
        return "a path has no NUL"
    try:
        place = path.expanduser().absolute()
        while not place.exists():
            place = place.parent
    except OSError as error:
        return f"cannot be a directory: {error.strerror}"
    if not place.is_dir():
        return f"{place} is a file, not a directory"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{place} is not writable; choose another directory"
    return None
