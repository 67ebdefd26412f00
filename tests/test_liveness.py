"""Liveness figures: zero exactly where a part cannot matter, positive where it does."""

from __future__ import annotations

import pytest
import torch
from support.models import batch, toy
from support.settings import NARROW

from tedg.learn.liveness import liveness
from tedg.learn.stages import make_schedule


def figures(*overrides, change=None):
    config, env, policy = toy(*NARROW, *overrides)
    if change is not None:
        change(policy)
    settings = make_schedule(config)[0][-1].settings(0)
    return liveness(policy, batch(env, policy), settings, torch.Generator().manual_seed(0)), policy


@pytest.mark.parametrize("fusion", ["cross_attn", "cross_attn_dense"])
def test_attention_over_one_key_is_dead(fusion):
    found, _ = figures("vision=state", f"fusion={fusion}")
    assert found["gradient/W_Q"] == 0.0
    assert found["gradient/W_K"] == 0.0
    assert found["attention/variation"] == 0.0
    assert found["attention/keys"] == found["attention/kept_keys"] == 1
    assert found["gradient/router"] > 0


@pytest.mark.parametrize(("fusion", "kept"), [("cross_attn", 37), ("cross_attn_dense", 122)])
def test_attention_over_many_keys_is_alive(fusion, kept):
    found, _ = figures("vision=glyph", f"fusion={fusion}")
    assert found["gradient/W_Q"] > 1e-9
    assert found["gradient/W_K"] > 1e-9
    assert found["attention/variation"] > 1e-9
    assert found["attention/keys"] == 122
    assert found["attention/kept_keys"] == kept  # ceil(0.3 * 122)
    assert 1 <= found["attention/effective_keys"] <= kept


def test_without_attention_nothing_is_said_about_it():
    found, _ = figures("fusion=concat")
    assert not [name for name in found if name.startswith("attention/")]
    influence = {f"influence/{part}" for part in ("vision", "logic", "map")}
    assert set(found) == {"gradient/router", "router/one_hot", *influence}


def test_both_streams_of_a_fresh_policy_have_influence():
    for fusion in ("concat", "cross_attn"):
        found, _ = figures(f"fusion={fusion}")
        assert found["influence/vision"] > 1e-9
        assert found["influence/logic"] > 1e-9


def deaf_to(stream):
    """Cut the weights with which router and experts read one half of a concatenated context."""

    def change(policy):
        width = policy.vision.vision_dim
        part = slice(width, None) if stream == "logic" else slice(0, width)
        with torch.no_grad():
            policy.router[0].weight[:, part] = 0
            policy.experts.weights[0][:, part] = 0

    return change


@pytest.mark.parametrize(("stream", "other"), [("logic", "vision"), ("vision", "logic")])
def test_a_stream_that_is_ignored_has_no_influence(stream, other):
    found, _ = figures("fusion=concat", change=deaf_to(stream))
    assert found[f"influence/{stream}"] == 0.0
    assert found[f"influence/{other}"] > 1e-9


def test_the_control_without_symbols_has_no_influence_of_logic():
    found, _ = figures("logic=none")
    assert found["influence/logic"] == 0.0
    assert found["influence/vision"] > 1e-9


def test_a_router_that_gets_no_gradient_is_noticed():
    def alike(policy):
        """Experts that all say the same: how they are mixed does not matter."""
        with torch.no_grad():
            for parameter in policy.experts.parameters():
                parameter.copy_(parameter[:1].expand_as(parameter).clone())

    found, _ = figures(change=alike)
    alive, _ = figures()
    assert found["gradient/router"] < 1e-6 * alive["gradient/router"]


def test_it_leaves_no_gradients_and_no_statistics_behind():
    config, env, policy = toy(*NARROW)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    settings = make_schedule(config)[0][-1].settings(0)
    liveness(policy, batch(env, policy), settings, torch.Generator().manual_seed(0))
    assert all(p.grad is None for p in policy.parameters())
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())


def test_one_state_says_nothing_about_differences_between_states():
    """Neither influence nor variation is 0 there: they are absent, with the reason."""
    config, env, policy = toy(*NARROW, "fusion=cross_attn")
    settings = make_schedule(config)[0][-1].settings(0)
    one = batch(env, policy)[:1]
    found = liveness(policy, one, settings, torch.Generator().manual_seed(0))
    assert not [name for name in found if name.startswith("influence/")]
    assert "attention/variation" not in found
    assert found["attention/keys"] > 1
    assert "compare states" in found["missing"]


def test_of_two_states_each_gets_the_other_ones_inputs():
    """A permutation that leaves all at their places would make every stream look dead."""
    config, env, policy = toy(*NARROW, "fusion=concat")
    settings = make_schedule(config)[0][-1].settings(0)
    for seed in range(6):
        found = liveness(policy, batch(env, policy)[:2], settings, torch.Generator().manual_seed(seed))
        assert found["influence/vision"] > 0


def test_the_influence_of_the_map_is_told_beside_that_of_all_that_vision_reads():
    assert figures("vision=glyph")[0]["influence/map"] > 1e-9
    assert "influence/map" not in figures("vision=state")[0]

    def mapless(policy):
        with torch.no_grad():
            policy.vision.map_token.weight.zero_()

    blind, _ = figures("vision=glyph", change=mapless)
    assert blind["influence/map"] == 0.0
    assert blind["influence/vision"] > 1e-9


def test_states_that_are_alike_say_nothing_about_what_reads_them():
    """Games of a few steps may all show the same: exchanging that is no sign of a dead stream."""
    config, env, policy = toy(*NARROW, "fusion=cross_attn")
    settings = make_schedule(config)[0][-1].settings(0)
    states = batch(env, policy)
    states.atoms[:] = states.atoms[:1]
    found = liveness(policy, states, settings, torch.Generator().manual_seed(0))
    assert "influence/logic" not in found
    assert found["missing"].endswith("alike to logic")
    assert found["influence/vision"] > 1e-9
    assert found["attention/variation"] > 1e-9
    one = states[:1].map(lambda x: x.expand(4, *x.shape[1:]))
    assert "attention/variation" not in liveness(policy, one, settings, torch.Generator().manual_seed(0))


def test_experts_that_act_alone_are_told():
    assert figures("routing=sparsemax")[0]["router/one_hot"] == 0
    alone, _ = figures("routing=topk_softmax", "routing.k=1")
    assert alone["router/one_hot"] == 1
    assert alone["gradient/router"] == 0
