"""Stages: what routing, learning rate and loss weights hold at a given point of the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from tedg.config.auxiliary import AUXILIARY, coefficient
from tedg.config.instantiate import build
from tedg.config.run_config import RunConfig
from tedg.models.routing import Routing

ROUTING = "routing."  # what the names of a routing's own numbers begin with


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Coefficients of one update. `alpha_entropy` is positive to maximise the router's entropy."""

    entropy: float | Tensor
    alpha_entropy: float | Tensor
    auxiliary: Mapping[str, float | Tensor]  # of every loss of `AUXILIARY`, by its name
    alignment_temperature: float | Tensor


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a stage decides for one rollout and its update.

    Its numbers are floats, or tensors without dimensions where something captured reads them.
    """

    stage: str
    routing: Routing
    temperature: float | Tensor
    learning_rate: float
    weights: LossWeights

    def numbers(self) -> dict[str, float | Tensor]:
        """What may change from update to update within a stage, by name; but for the learning rate."""
        weights = self.weights
        return {
            "temperature": self.temperature,
            "entropy": weights.entropy,
            "alpha_entropy": weights.alpha_entropy,
            "alignment_temperature": weights.alignment_temperature,
            **weights.auxiliary,
            **{ROUTING + name: value for name, value in self.routing.numbers().items()},
        }

    def with_numbers(self, numbers: Mapping[str, float | Tensor]) -> Settings:
        """The same with other numbers."""
        own = {n.removeprefix(ROUTING): value for n, value in numbers.items() if n.startswith(ROUTING)}
        weights = LossWeights(
            entropy=numbers["entropy"],
            alpha_entropy=numbers["alpha_entropy"],
            auxiliary={name: numbers[name] for name in self.weights.auxiliary},
            alignment_temperature=numbers["alignment_temperature"],
        )
        routing, temperature = self.routing.with_numbers(own), numbers["temperature"]
        return replace(self, routing=routing, temperature=temperature, weights=weights)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage and the part of the budget it covers, in the budget's unit."""

    node: Mapping[str, Any]  # the stage's configuration
    routing: Routing
    start: float
    end: float

    @property
    def name(self) -> str:
        """The stage's name in configuration and metrics."""
        return str(self.node["name"])

    def settings(self, done: float) -> Settings:
        """Settings when `done` of the budget is spent; pairs in the configuration are interpolated."""
        progress = min(max((done - self.start) / (self.end - self.start), 0.0), 1.0)

        def between(key: str) -> float:
            first, last = self.node[key]
            return float(first + (last - first) * progress)

        sign = 1.0 if self.node["alpha_entropy"] == "maximise" else -1.0
        node = self.node
        return Settings(
            stage=self.name,
            routing=self.routing.at(self.name, progress),
            temperature=between("temperature"),
            learning_rate=float(node["learning_rate"]),
            weights=LossWeights(
                entropy=float(node["entropy_coef"]),
                alpha_entropy=sign * between("alpha_entropy_coef"),
                auxiliary={name: float(node[coefficient(name)]) for name in AUXILIARY},
                alignment_temperature=float(node["alignment_temperature"]),
            ),
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train: so many completed training episodes, or so many env steps."""

    unit: str  # "episodes" or "env_steps"
    total: int

    def done(self, episodes: int, env_steps: int) -> int:
        """How much of the budget is spent."""
        return episodes if self.unit == "episodes" else env_steps


def make_schedule(config: RunConfig) -> tuple[list[Stage], Budget]:
    """Stages in order with their borders, and the budget.

    The borders keep the proportions of the stages' own numbers of episodes, whatever the budget.
    A routing choice other than the stage's own replaces the kind of routing in every stage.
    """
    own = sum(node["episodes"] for node in config.phases)
    if config.budget.env_steps is not None:
        budget = Budget("env_steps", config.budget.env_steps)
    else:
        budget = Budget("episodes", config.budget.episodes or own)
    stages = []
    start = 0
    for node in config.phases:
        end = start + node["episodes"]
        kind = config.routing if config.routing.get("_target_") else node["routing"]
        stages.append(Stage(node, build(kind), budget.total * start / own, budget.total * end / own))
        start = end
    return stages, budget
