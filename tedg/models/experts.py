"""Multi-layer perceptrons, and several of equal shape run as one batched product."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tedg.models.norm_relu import NormReLU, norm_relu
from tedg.models.seeded import Salt, uniform


def mlp(input_dim: int, hidden: Sequence[int], output_dim: int, output_gain: float) -> nn.Sequential:
    """Linear, LayerNorm, ReLU per hidden layer, then a linear output; orthogonal initialisation."""
    layers: list[nn.Module] = []
    for width in hidden:
        linear = nn.Linear(input_dim, width)
        nn.init.orthogonal_(linear.weight, math.sqrt(2))
        nn.init.zeros_(linear.bias)
        layers += [linear, NormReLU(width), nn.Identity()]  # three, as checkpoints number the layers
        input_dim = width
    output = nn.Linear(input_dim, output_dim)
    nn.init.orthogonal_(output.weight, output_gain)
    nn.init.zeros_(output.bias)
    return nn.Sequential(*layers, output)


class Experts(nn.Module):
    """K MLPs of equal shape (hidden layers with LayerNorm and ReLU), computed together.

    Layer weights are stacked as [K, in, out], so K experts cost one batched product per layer. With
    `dropout` each hidden unit is left out with that probability in training mode (Srivastava et al.
    2014); which ones follows from the states' noise, so acting and learning leave out the same.
    """

    def __init__(
        self,
        num_experts: int,
        input_dim: int,
        hidden: Sequence[int],
        num_actions: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.inputs: tuple[str, ...] = ("noise",) if dropout > 0 else ()
        self.num_experts, self.num_actions = num_experts, num_actions
        sizes = [input_dim, *hidden, num_actions]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.norm_gains = nn.ParameterList()
        self.norm_shifts = nn.ParameterList()
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            last = layer == len(sizes) - 2
            weight = torch.empty(num_experts, fan_in, fan_out)
            for expert in weight:
                nn.init.orthogonal_(expert, 0.5 if last else math.sqrt(2))
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(num_experts, 1, fan_out)))
            if not last:
                self.norm_gains.append(nn.Parameter(torch.ones(num_experts, 1, fan_out)))
                self.norm_shifts.append(nn.Parameter(torch.zeros(num_experts, 1, fan_out)))

    def forward(
        self, x: Float[Tensor, "batch input_dim"], noise: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch experts actions"]:
        """Logits of every expert. ValueError without noise where there is dropout."""
        hidden = x.unsqueeze(0).expand(self.num_experts, -1, -1)
        for layer, (gain, shift) in enumerate(zip(self.norm_gains, self.norm_shifts, strict=True)):
            hidden = torch.baddbmm(self.biases[layer], hidden, self.weights[layer])
            hidden = norm_relu(hidden, gain, shift)
            if self.dropout > 0 and self.training:
                units = (self.num_experts, hidden.shape[-1])
                kept = uniform(noise, Salt.DROPOUT + layer, units) >= self.dropout
                hidden = hidden * kept.transpose(0, 1) / (1 - self.dropout)
        return torch.baddbmm(self.biases[-1], hidden, self.weights[-1]).transpose(0, 1)
