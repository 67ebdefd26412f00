"""How much a policy computes for one state."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from tedg.envs.observation import Observation
from tedg.models.policy import MoEPolicy
from tedg.models.routing import Routing


def forward_flops(policy: MoEPolicy, observation: Observation, routing: Routing) -> int | None:
    """Floating-point operations of one forward pass of the first state, as while learning.

    Counted is what torch counts, matrix products, convolutions and attention, without tedg's own kernels.
    None for a compiled policy, whose operations torch does not see.
    """
    if policy.compiled:
        return None
    counter = FlopCounterMode(display=False)
    # Without gradients it would look up operators that it has computed before.
    with counter, torch.enable_grad():
        policy(observation[:1], routing, 1.0)
    return int(counter.get_total_flops())
