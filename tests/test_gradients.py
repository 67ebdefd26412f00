"""Every parameter can matter: none has a gradient that is zero by construction."""

from __future__ import annotations

import pytest
import torch
from support.gradients import faint_parameters
from support.models import FUSIONS, STAGES, batch, toy

from tedg.models.routing import Softmax, Sparsemax


@pytest.mark.more_than_first(2)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("logic", ["hypergraph_gat", "none"])
@pytest.mark.parametrize("vision", ["glyph", "state"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_parameter_of_every_variant_gets_a_gradient(fusion, vision, logic, stage):
    config, env, policy = toy(f"fusion={fusion}", f"vision={vision}", f"logic={logic}", f"stage={stage}")
    policy.double()
    observation = batch(env, policy, steps=16)
    routing = Sparsemax() if stage == "finetune" else Softmax()
    faint = faint_parameters(policy, observation, routing, config.stage["temperature"][1])
    if vision == "state" and fusion != "concat":
        # One key: attention is the constant 1, so nothing that steers it can matter. Runs say so.
        assert sorted(faint) == ["fusion.key", "fusion.query.bias", "fusion.query.weight"]
    else:
        assert faint == []


def test_the_measure_sees_a_dead_part():
    _, env, policy = toy()
    policy.double()
    policy.fusion.register_parameter("unused", torch.nn.Parameter(torch.ones(3, dtype=torch.float64)))
    assert faint_parameters(policy, batch(env, policy), Softmax(), 1.0) == ["fusion.unused"]
