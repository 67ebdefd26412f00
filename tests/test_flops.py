"""How many operations a policy is said to take for a state."""

from __future__ import annotations

from support.models import batch, toy

from tedg.models.flops import forward_flops
from tedg.models.routing import Softmax


def test_what_a_pass_computes_once_is_shared_by_its_states() -> None:
    _, env, policy = toy("fusion=cross_attn")
    states = batch(env, policy, steps=8)
    alone, together = (forward_flops(policy, some, Softmax()) for some in (states[:1], states))
    assert alone is not None
    assert together is not None
    # V4 multiplies weights with each other once, for one state and for many; one alone takes mostly that.
    assert together < alone / 5
    assert together > 2 * sum(weight.numel() for weight in policy.critic.parameters())
