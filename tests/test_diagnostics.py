"""Figures of router and attention against hand computations; warnings come once, with a remedy."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from tedg.config.compose import compose
from tedg.models.fusion import ConcatFusion, CrossAttentionFusion, HeadGateFusion
from tedg.models.gate import NoGate
from tedg.watch import diagnostics
from tedg.watch.diagnostics import ALIGNMENT_WINDOW, Warnings, dead_attention_warning
from tedg.watch.remedies import Remedies

CONF = Path(__file__).parents[1] / "conf"
CONFIG = compose(["device=cpu"]).config
ON_A_GPU = replace(CONFIG, device="cuda")
THRESHOLDS = CONFIG.diagnostics
LN2 = math.log(2)


def test_router_that_specialises():
    figures = diagnostics.router_figures(torch.eye(4))
    assert figures["router/entropy"] == 0
    assert figures["router/usage_entropy"] == pytest.approx(2 * LN2)
    assert figures["router/specialisation"] == pytest.approx(2 * LN2)
    assert figures["router/dead_experts"] == 0
    assert [figures[f"router/usage_{k}"] for k in range(4)] == [0.25] * 4


def test_router_that_ignores_the_state():
    figures = diagnostics.router_figures(torch.tensor([[0.5, 0.5, 0.0, 0.0]] * 3))
    assert figures["router/entropy"] == pytest.approx(LN2)
    assert figures["router/usage_entropy"] == pytest.approx(LN2)
    assert figures["router/specialisation"] == pytest.approx(0, abs=1e-7)
    assert figures["router/dead_experts"] == 2


def test_dead_experts_are_named():
    alpha = torch.tensor([[0.98, 0.0, 0.02, 0.0], [1.0, 0.0, 0.0, 0.0]])
    assert diagnostics.dead_experts(alpha) == [1, 3]


def test_attention_by_hand():
    # Four keys, two states; weights below 0.1 / 4 = 0.025: the zero and 0.02; below 0.01: the zero.
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.48, 0.02]])[:, None, None]
    figures = diagnostics.attention_figures(weights)
    assert figures["attention/sparsity"] == pytest.approx(3 / 8)
    assert figures["attention/sparsity_0.01"] == pytest.approx(2 / 8)
    squares = 2 * 0.25**2 + 0.48**2 + 0.02**2
    assert figures["attention/effective_keys"] == pytest.approx((2 + 1 / squares) / 2)
    entropy = -(2 * 0.25 * math.log(0.25) + 0.48 * math.log(0.48) + 0.02 * math.log(0.02))
    assert figures["attention/entropy"] == pytest.approx((LN2 + entropy) / 2)
    # Kept sets {0, 1} and {0, 1, 2, 3}: overlap 2 / 4.
    assert figures["attention/kept_similarity"] == pytest.approx(0.5)


def test_uniform_attention():
    figures = diagnostics.attention_figures(torch.full((3, 4, 1, 50), 1 / 50))
    assert figures["attention/effective_keys"] == pytest.approx(50, rel=1e-5)
    assert figures["attention/sparsity"] == 0
    assert figures["attention/sparsity_0.01"] == 0
    assert "attention/kept_similarity" not in figures  # nothing is dropped, so nothing is chosen


def test_kept_similarity_is_per_head():
    constant = torch.tensor([0.5, 0.5, 0.0, 0.0])
    other = torch.tensor([0.0, 0.0, 0.5, 0.5])
    same_in_each_head = torch.stack([constant, other])[None, :, None].repeat(5, 1, 1, 1)
    assert diagnostics.kept_similarity(same_in_each_head) == pytest.approx(1.0)
    opposite = torch.stack([constant, other])[:, None, None]
    assert diagnostics.kept_similarity(opposite) == 0.0
    assert diagnostics.kept_similarity(opposite[:1]) is None


GOOD = {
    "stage": "warmup",
    "router/usage_entropy": 1.3,
    "router/usage_1": 0.2,
    "router/specialisation": 0.2,
    "attention/kept_similarity": 0.6,
    "context/drift": 1.1,
    "gradient/norm": 2.0,
    "train/initial_log_ratio": 1e-7,
    "train/learning_rate": 1e-4,
    "loss/alignment": 0.5,
}


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("router/usage_entropy", 0.29, "stage.load_balance_coef=0.05"),
        ("router/specialisation", 0.001, "stage.diversity_coef=0.02"),
        ("attention/kept_similarity", 0.995, "fusion.gate.keep=0.5"),
        ("context/drift", 6.0, "stage.learning_rate=0.00035"),
        ("context/drift", 0.1, "stage.learning_rate=0.00035"),
        ("gradient/norm", 11.0, "stage.learning_rate=0.00035"),
        ("train/initial_log_ratio", 2e-4, "device=cpu"),
    ],
)
def test_each_warning_names_its_remedy_and_comes_once_until_it_clears(name, value, remedy):
    warnings = Warnings(ON_A_GPU)
    bad = {**GOOD, name: value}
    assert warnings.check(GOOD, 0.9) == []
    (message,) = warnings.check(bad, 0.9)
    assert remedy in message
    assert warnings.check(bad, 0.9) == []
    assert warnings.check(GOOD, 0.9) == []
    assert warnings.check(bad, 0.9) == [message]


def test_specialisation_is_only_asked_for_late():
    bad = {**GOOD, "router/specialisation": 0.0}
    warnings = Warnings(ON_A_GPU)
    assert warnings.check(bad, THRESHOLDS.late_fraction - 0.01) == []
    assert len(warnings.check(bad, THRESHOLDS.late_fraction)) == 1


def test_one_expert_cannot_collapse():
    one = {**diagnostics.router_figures(torch.ones(5, 1)), "stage": "warmup"}
    assert Warnings(ON_A_GPU).check(one, 1.0) == []


@pytest.mark.parametrize("end", [0.5, 0.6])
def test_alignment_that_does_not_fall(end):
    warnings = Warnings(ON_A_GPU)
    messages = []
    for update in range(3 * ALIGNMENT_WINDOW):
        loss = 0.5 + (end - 0.5) * min(update / ALIGNMENT_WINDOW, 1)
        messages += warnings.check({**GOOD, "loss/alignment": loss}, 0.5)
    assert len(messages) == 1
    assert "stage.alignment_coef=0.15" in messages[0]


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.4), (0.001, 0.002)])
def test_alignment_that_falls_or_is_done(start, end):
    warnings = Warnings(ON_A_GPU)
    for update in range(3 * ALIGNMENT_WINDOW):
        loss = start + (end - start) * update / (3 * ALIGNMENT_WINDOW)
        assert warnings.check({**GOOD, "loss/alignment": loss}, 0.5) == []


def test_missing_and_undefined_figures_warn_of_nothing():
    warnings = Warnings(ON_A_GPU)
    assert warnings.check({}, 1.0) == []
    assert warnings.check(dict.fromkeys(GOOD, math.nan), 1.0) == []
    assert warnings.check(dict.fromkeys(GOOD), 1.0) == []


def test_in_a_curriculum_the_remedy_names_the_phase():
    (message,) = Warnings(compose(["stage=curriculum"]).config).check(
        {**GOOD, "router/usage_entropy": 0.0}, 0.1
    )
    assert "stage.phases.warmup.load_balance_coef=0.05" in message


def test_every_remedy_is_a_key_of_the_configuration():
    """The overrides that warnings name exist, so that following one is no misspelt key."""
    nodes = {
        "stage": yaml.safe_load((CONF / "stage" / "warmup.yaml").read_text()),
        "fusion.gate": yaml.safe_load((CONF / "fusion" / "gate" / "topk.yaml").read_text()),
        "": yaml.safe_load((CONF / "config.yaml").read_text()),
    }
    bad = {
        **GOOD,
        "router/usage_entropy": 0.0,
        "router/specialisation": 0.0,
        "attention/kept_similarity": 1.0,
        "context/drift": 9.0,
        "gradient/norm": 99.0,
        "train/initial_log_ratio": 1.0,
    }
    messages = []
    warnings = Warnings(ON_A_GPU)
    for _ in range(2 * ALIGNMENT_WINDOW):
        messages += warnings.check(bad, 1.0)
    assert len(messages) == 7
    for message in messages:
        node, _, key = re.search(r"try ([\w.]+)=", message)[1].rpartition(".")
        assert key in nodes[node]


def test_attention_that_is_dead_by_construction_is_told_before_training():
    sizes = {"vision_dim": 8, "token_dim": 8, "logic_dim": 8, "num_heads": 4, "head_dim": 2}
    one = CrossAttentionFusion(**sizes, num_tokens=1, gate=NoGate())
    assert "try vision=glyph" in dead_attention_warning(one, 1)
    assert "query.weight, query.bias, key get exactly zero gradient" in dead_attention_warning(one, 1)
    heads = HeadGateFusion(**sizes, num_tokens=9, keep=0.3)
    assert "try fusion=cross_attn" in dead_attention_warning(heads, 9)
    assert dead_attention_warning(CrossAttentionFusion(**sizes, num_tokens=2, gate=NoGate()), 2) is None
    assert dead_attention_warning(ConcatFusion(8, 8, 1, 8), 1) is None


@pytest.mark.more
def test_a_remedy_goes_beyond_what_is_set():
    """Whatever the present value is; each override changes something, and can be composed."""
    set_high = ["stage.load_balance_coef=3", "stage.diversity_coef=0.7", "stage.alignment_coef=2"]
    set_high += ["stage.entropy_coef=0.3", "stage.alpha_entropy_coef=[0.5,0.05]", "fusion.gate.keep=0.8"]
    for overrides in (["device=cpu"], set_high):
        config = compose(overrides).config
        found = Remedies(config)
        for name in ("load_balance_coef", "diversity_coef", "alignment_coef", "entropy_coef"):
            texts = (found.balance(), found.diversity(), found.alignment(), found.explore())
            (text,) = [text for text in texts if f".{name}=" in text]
            override = text.split()[1]
            assert value_of(override) > config.stage[name], text
            compose([*overrides, override])
        (pair,) = re.findall(r"=\[(.*?)\] ", found.undecided())
        assert all(
            float(a) > b for a, b in zip(pair.split(","), config.stage["alpha_entropy_coef"], strict=True)
        )
        assert value_of(found.keep_more().split()[1]) > config.fusion["gate"]["keep"]


def value_of(override):
    return float(override.partition("=")[2])


def test_a_gate_without_a_share_to_keep_gets_a_remedy_of_its_own():
    assert "fusion.gate.exponent=1.25 " in Remedies(compose(["fusion/gate=entmax"]).config).keep_more()
    assert Remedies(compose(["fusion.gate.keep=1"]).config).keep_more() == "try fusion=cross_attn_dense"


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"precision": "bfloat16", "device": "cuda"}, "try precision=float32"),
        ({"compile": True}, "try compile=false"),
        ({}, "something in the forward pass"),
    ],
)
def test_a_remedy_is_never_what_is_set_already(changes, remedy):
    assert Remedies(replace(CONFIG, **changes)).same_policy().startswith(remedy)
