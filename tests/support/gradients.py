"""Which parameters a policy's gradient does not reach."""

from __future__ import annotations

import torch

from tedg.learn import losses

RELATIVE = 1e-9  # of the network's largest gradient, in float64


def faint_parameters(policy, observation, routing, temperature):
    """Names of trainable parameters whose largest gradient is below RELATIVE of the network's largest."""
    race = policy.race(len(observation), torch.Generator().manual_seed(0))
    acted = policy.get_action_and_value(observation, routing, temperature, race=race)
    weights = torch.linspace(-1, 2, len(observation), dtype=acted.log_prob.dtype)
    loss = (acted.log_prob * weights).mean() + (acted.output.value - weights).square().mean()
    loss = loss + losses.load_balance(acted.output.soft_alpha)
    policy.zero_grad()
    loss.backward()
    largest = {
        name: 0.0 if p.grad is None else float(p.grad.abs().max())
        for name, p in policy.named_parameters()
        if p.requires_grad
    }
    return [name for name, value in largest.items() if value < RELATIVE * max(largest.values())]
