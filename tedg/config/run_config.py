"""The schema of a whole run: every key of conf/, its type and range. `validation.py` has the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, make_dataclass
from functools import cache
from typing import Annotated, Any, Literal

from tedg.config.auxiliary import AUXILIARY, coefficient
from tedg.config.module_schemas import SLOTS, Count, Natural, Slot
from tedg.config.plan import PlanConfig
from tedg.config.typed import Faults, Range, read, show, words
from tedg.files import SLUG, SLUG_RULE
from tedg.spelling import did_you_mean

Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(low=0)]
Fraction = Annotated[float, Range(low=0, high=1)]
# The same for what enters a network, a loss or the optimiser, which compute in float32.
SinglePositive = Annotated[float, Range(above=0, single=True)]
SingleNonNegative = Annotated[float, Range(low=0, single=True)]
SingleFraction = Annotated[float, Range(low=0, high=1, single=True)]
Sizes = Annotated[tuple[int, ...], Range(low=1)]
Seed = Annotated[int, Range(low=0, below=2**30)]

SEED_LIMIT = 2**30  # seeds of games lie below it


@dataclass(frozen=True, slots=True)
class Slug:
    """Text that is safe as the name of a directory."""

    def validate(self, value: str, key: str, faults: Faults) -> str:
        """Adds a fault for anything that could leave the parent directory or surprise a shell."""
        if not SLUG.fullmatch(value):
            faults.add(key, value, SLUG_RULE)
        return value


Name = Annotated[str, Slug()]


@dataclass(frozen=True, slots=True)
class Device:
    """What a run learns on."""

    def validate(self, value: str, key: str, faults: Faults) -> str:
        """Adds a fault for anything but the three words; of several GPUs the environment chooses."""
        options = ("auto", "cpu", "cuda")
        if numbered := re.fullmatch(r"(?:cuda|gpu):?(\d+)", value):
            right = (
                f"one of several GPUs is chosen outside: CUDA_VISIBLE_DEVICES={numbered[1]} and {key}=cuda"
            )
            faults.add(key, value, f"must be one of {', '.join(options)}; {right}")
        elif value not in options:
            faults.add(key, value, f"must be one of {', '.join(options)}{did_you_mean(value, options)}")
        return value


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Router, experts and critic."""

    num_experts: Count
    expert_input: Literal["context", "vision"]
    router_hidden: Sizes
    expert_hidden: Sizes
    critic_hidden: Sizes
    dropout: Annotated[float, Range(low=0, below=1, single=True)]


@dataclass(frozen=True, slots=True)
class PPOConfig:
    """Proximal policy optimisation."""

    num_steps: Count
    clip_range: SinglePositive
    gamma: Annotated[float, Range(above=0, high=1, single=True)]
    gae_lambda: SingleFraction
    num_epochs: Count
    minibatch_size: Count
    value_coef: SingleNonNegative
    max_grad_norm: SinglePositive
    adam_eps: SinglePositive
    normalise_rewards: bool
    max_kl: Positive
    max_value_loss: Positive
    max_rollbacks: Count


@dataclass(frozen=True, slots=True)
class _Stage:
    """What every stage holds besides the weights of the auxiliary losses."""

    name: Name
    parent: Name | None
    episodes: Count
    routing: Annotated[dict, Slot("routing")]  # type: ignore[type-arg]
    temperature: Annotated[tuple[float, float], Range(above=0, single=True)]
    learning_rate: SinglePositive
    entropy_coef: SingleNonNegative
    alpha_entropy: Literal["maximise", "minimise"]
    alpha_entropy_coef: Annotated[tuple[float, float], Range(low=0, single=True)]
    alignment_temperature: SinglePositive


# One stage of training; a pair is (value at the start, value at the end). A key per auxiliary loss is added.
StageConfig = make_dataclass(
    "StageConfig",
    [(coefficient(name), SingleNonNegative) for name in AUXILIARY],
    bases=(_Stage,),
    frozen=True,
    slots=True,
)


@dataclass(frozen=True, slots=True)
class StagePreset:
    """What a preset decides for one stage."""

    learning_rate: SinglePositive
    entropy_coef: SingleNonNegative


@dataclass(frozen=True, slots=True)
class PresetConfig:
    """What a preset decides for the environment and PPO."""

    num_envs: Count
    minibatch_size: Count
    num_steps: Count
    clip_range: SinglePositive
    gae_lambda: SingleFraction = 0.97  # of presets that say nothing of it, as none did at first
    exploration_bonus: SingleNonNegative = 0.0


@dataclass(frozen=True, slots=True)
class PresetNode:
    """Numbers that PPO and stages take over, the stages' by their names; they count where they are used."""

    def validate(self, value: Mapping[str, Any], key: str, faults: Faults) -> dict[str, Any]:
        """The node with its numbers in their proper form."""
        known = [field.name for field in fields(PresetConfig)]
        own: dict[str, Any] = {}
        stages: dict[str, Any] = {}
        for name, item in value.items():
            # A single value under another name is one of the known keys misspelt, if it is like one.
            misspelt = not isinstance(item, Mapping) and did_you_mean(str(name), known)
            (own if name in known or misspelt else stages)[name] = item
        ppo = read(PresetConfig, own, key, faults)
        each = {name: read(StagePreset, item, f"{key}.{name}", faults) for name, item in stages.items()}
        if ppo is None:
            return dict(value)
        return asdict(ppo) | {name: asdict(stage) for name, stage in each.items() if stage is not None}


@dataclass(frozen=True, slots=True)
class Phases:
    """The stages of a curriculum by their names, in the order of the YAML."""

    def validate(self, value: Mapping[str, Any], key: str, faults: Faults) -> dict[str, Any]:
        """The stages with their numbers in their proper form."""
        if not value:
            faults.report(f"{key}: must hold at least one stage")
        return {name: self._stage(str(name), value, key, faults) for name in value}

    def _stage(self, phase: str, phases: Mapping[str, Any], key: str, faults: Faults) -> Any:
        node, place = phases[phase], f"{key}.{phase}"
        if isinstance(node, Mapping) and "name" not in node:
            near = did_you_mean(phase, [other for other in phases if other != phase])
            if near:
                faults.report(f"{place}={show(node)}: there is no such stage{near}")
                return node
        stage = read(StageConfig, node, place, faults)
        if stage is None:
            return node
        if stage.name != phase:  # keys of a stage are told to the user by its name
            faults.add(f"{place}.name", stage.name, f"must be {phase}, as the phase is called")
        return asdict(stage)


@dataclass(frozen=True, slots=True)
class CurriculumConfig:
    """Several stages in one process."""

    name: Name
    parent: Literal[None]
    phases: Annotated[dict, Phases()]  # type: ignore[type-arg]


@dataclass(frozen=True, slots=True)
class StageNode:
    """A single stage or a curriculum, kept as a dict after its validation."""

    def validate(self, value: Mapping[str, Any], key: str, faults: Faults) -> dict[str, Any]:
        """The node with its numbers in their proper form."""
        schema: type[Any] = CurriculumConfig if "phases" in value else StageConfig
        valid = read(schema, value, key, faults)
        return asdict(valid) if valid is not None else dict(value)


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """How long to train; both null means the stage's own number of episodes."""

    episodes: Count | None
    env_steps: Count | None

    def validate(self, key: str, faults: Faults) -> None:
        """The two units exclude each other."""
        if self.episodes is not None and self.env_steps is not None:
            right = f"set only one of {key}.episodes and {key}.env_steps (here {self.env_steps})"
            faults.add(f"{key}.episodes", self.episodes, right)


@dataclass(frozen=True, slots=True)
class EvalConfig:
    """Held-out games at the end of training, and the env steps whose weights are kept for more of them."""

    games: Natural
    first_seed: Seed
    players: tuple[Literal["random", "random_legal", "script"], ...]
    milestones: tuple[Count, ...]

    def validate(self, key: str, faults: Faults) -> None:
        """The last game's seed has to be one, and every player plays once."""
        if self.first_seed + self.games >= SEED_LIMIT:
            right = f"first_seed + games must be below 2**30 = {SEED_LIMIT} (games is {self.games})"
            faults.add(f"{key}.first_seed", self.first_seed, right)
        if len(set(self.players)) < len(self.players):
            faults.add(f"{key}.players", list(self.players), "names a player twice")
        if len(set(self.milestones)) < len(self.milestones):
            faults.add(f"{key}.milestones", list(self.milestones), "names a number of env steps twice")


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """How often the whole state is saved, and how many of these saves are kept."""

    every_updates: Count
    keep: Count


@dataclass(frozen=True, slots=True)
class WandbConfig:
    """Where on Weights & Biases a run is shown."""

    project: str
    entity: str | None
    mode: Literal["online", "offline"]


@dataclass(frozen=True, slots=True)
class LoggerConfig:
    """Mirrors of metrics.jsonl."""

    tensorboard: bool
    wandb: WandbConfig | None = None  # which the first versions did not have


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
class CheckConfig:
    """Thresholds of the table that a run ends with (see `tedg.watch.health`)."""

    max_p_value: Annotated[float, Range(above=0, below=1)]
    max_loss_growth: NonNegative
    max_grad_norm: Positive
    max_log_ratio: Positive
    min_expert_share: Fraction
    min_router_entropy: Fraction
    min_policy_entropy: Fraction
    max_negligible_share: Fraction
    min_effective_keys: Annotated[float, Range(low=1)]
    min_influence: NonNegative
    confidence: Annotated[float, Range(above=0, below=1)]


@dataclass(frozen=True, slots=True)
class PathsConfig:
    """Where run directories lie: single runs, and a sweep's runs in <multirun_dir>/<study>.

    Results that count without their run directories are kept in <experiments_dir>/<study>/runs; null: none.
    """

    output_dir: str
    multirun_dir: str
    experiments_dir: str | None
    study: Name


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A validated configuration. Preset, stage and modules stay dicts, and modules name their `_target_`."""

    name: Name
    seed: Seed
    device: Annotated[str, Device()]
    threads: Count | None
    precision: Literal["float32", "tf32", "bfloat16"]
    cuda_graphs: bool
    compile: bool
    init_from: str
    init_except: tuple[str, ...]
    env: Annotated[dict, Slot("env")]  # type: ignore[type-arg]
    vision: Annotated[dict, Slot("vision")]  # type: ignore[type-arg]
    logic: Annotated[dict, Slot("logic")]  # type: ignore[type-arg]
    fusion: Annotated[dict, Slot("fusion")]  # type: ignore[type-arg]
    routing: Annotated[dict, Slot("routing", optional=True)]  # type: ignore[type-arg]
    preset: Annotated[dict, PresetNode()]  # type: ignore[type-arg]
    stage: Annotated[dict, StageNode()]  # type: ignore[type-arg]
    policy: PolicyConfig
    ppo: PPOConfig
    budget: BudgetConfig
    eval: EvalConfig
    checkpoint: CheckpointConfig
    logger: LoggerConfig
    diagnostics: DiagnosticsConfig
    check: CheckConfig | None
    paths: PathsConfig
    run_dir: str | None
    plan: PlanConfig | None = None

    @property
    def phases(self) -> tuple[dict[str, Any], ...]:
        """The stages that this run goes through, in their order."""
        return tuple(self.stage["phases"].values()) if "phases" in self.stage else (self.stage,)


@cache
def known_words() -> frozenset[str]:
    """Every text that the schemas themselves name: options of keys, and targets."""
    modules = {target: schema for slot in SLOTS.values() for target, schema in slot.items()}
    schemas = (RunConfig, StageConfig, *modules.values())
    return frozenset(modules).union(*(words(schema) for schema in schemas))
