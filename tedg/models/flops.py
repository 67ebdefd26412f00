"""How much a policy computes for one state."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from tedg.envs.observation import Observation
from tedg.models.policy import MoEPolicy
from tedg.models.routing import Routing

BATCH = 256  # states; what a pass computes once, such as products of weights, is shared by so many


def forward_flops(policy: MoEPolicy, observation: Observation, routing: Routing) -> int | None:
    """Floating-point operations of a forward pass, as while learning, for each of the first `BATCH` states.

    This counts what torch counts, matrix products, convolutions and attention, without tedg's own kernels.
    None for a compiled policy, whose operations torch does not see.
    """
    if policy.compiled:
        return None
    batch = observation[:BATCH]
    counter = FlopCounterMode(display=False)
    # Without gradients it would look up operators that it has computed before.
    with counter, torch.enable_grad():
        policy(batch, routing, 1.0)
    return int(counter.get_total_flops()) // len(batch)
