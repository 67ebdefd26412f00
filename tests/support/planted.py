"""Parts that are dead, each in one way, and otherwise work: what a comparison has to notice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tedg.envs.observation import Observation
from tedg.models.gate import NoGate, TopKGate
from tedg.models.logic import HypergraphEncoder, LogicOutput
from tedg.models.routing import Softmax
from tedg.models.vision import GlyphEncoder, VisualOutput

# YAML files by their place in conf/: the class here, and its settings.
OPTIONS = {
    "routing/detached": "DetachedSoftmax",
    "routing/acts_otherwise": "ActsOtherwise",
    "logic/zeros": "LogicOfZeros\nembedding_dim: 8\nnum_heads: 4\noutput_dim: 16\nfreeze: false",
    "vision/constant": "ConstantVision\ntoken_dim: 8\nchannels: 16\nhead_dim: 16",
    "vision/constant_map": "ConstantMap\ntoken_dim: 8\nchannels: 16\nhead_dim: 16",
    "fusion/gate/keeps_all": "KeepsAll\nthreshold: 1.0e-9",
    "fusion/gate/drops_none": "DropsNone\nkeep: 0.3",
}


class DetachedSoftmax(Softmax):
    """No gradient reaches the router through its shares."""

    def shares(self, z: Tensor) -> Tensor:
        return super().shares(z.detach())


class ActsOtherwise(Softmax):
    """The alpha that is stored is not the one of learning: while acting, experts are all alike."""

    def shares(self, z: Tensor) -> Tensor:
        return super().shares(z if torch.is_grad_enabled() else torch.zeros_like(z))


class LogicOfZeros(HypergraphEncoder):
    """The graph network is there, and no atom ever holds."""

    def forward(self, observation: Observation) -> LogicOutput:
        return super().forward(replace(observation, atoms=torch.zeros_like(observation.atoms)))


class ConstantVision(GlyphEncoder):
    """The convolutions are there, and see the same whatever the game shows."""

    def forward(self, observation: Observation) -> VisualOutput:
        blank = {name: torch.zeros_like(getattr(observation, name)) for name in self.inputs}
        return super().forward(replace(observation, **blank))


class ConstantMap(GlyphEncoder):
    """The map is the same whatever the game shows; the state vector is not."""

    def forward(self, observation: Observation) -> VisualOutput:
        blank = {name: torch.zeros_like(getattr(observation, name)) for name in ("crop", "overview", "hero")}
        return super().forward(replace(observation, **blank))


@dataclass(frozen=True, slots=True)
class KeepsAll(NoGate):
    """A threshold that no key falls below."""

    threshold: float

    def num_kept(self, num_keys: int) -> None:
        """It depends on the scores."""
        return


class DropsNone(TopKGate):
    """Promises to drop keys and drops none."""

    def __call__(self, scores: Tensor, noise: Tensor | None) -> Tensor:
        return torch.softmax(scores, dim=-1)
