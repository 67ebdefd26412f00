"""Contrasts that are void, because the part that they are about was dead."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.comparing import BASE, SPREAD, changed, one, only, said, two
from support.records import FUSIONS, arm, record

from tedg.compare.questions import Asked
from tedg.compare.report import Outcome

pytestmark = pytest.mark.usefixtures("quick_figures")


def alive(**figures: Any) -> dict[str, Any]:
    return {**record("cross_attn", 0, 1).liveness, **{k.replace("__", "/"): v for k, v in figures.items()}}


DEAD: dict[str, tuple[dict[str, Any], str]] = {
    "one token": (
        alive(attention__keys=1.0, attention__promised_keys=1, attention__variation=0.0),
        "attention of cross_attn is dead: attention over one key is the constant 1 (10 of 10 runs: ",
    ),
    "W_Q": (alive(gradient__W_Q=0.0), "the gradient of W_Q is exactly 0"),
    "W_K": (alive(gradient__W_K=0.0), "the gradient of W_K is exactly 0"),
    "blind": (alive(attention__variation=0.0), "attention is the same in all states"),
    "logic of zeros": (alive(influence__logic=0.0), "logic of cross_attn is dead: exchanging its inputs"),
    "constant vision": (alive(influence__vision=0.0), "vision of cross_attn is dead: exchanging its inputs"),
}


@pytest.mark.parametrize("case", DEAD)
def test_a_part_that_is_dead_in_all_runs_makes_its_contrast_void(case: str) -> None:
    figures, reason = DEAD[case]
    outcome = one(two(liveness=figures))
    assert outcome.verdict == "void"
    assert outcome.sentence.startswith("The comparison is void, cross_attn against concat")
    assert reason in outcome.sentence
    assert record("cross_attn", 0, 1).run_id in outcome.sentence
    some = one(changed(changed(two(), 3, liveness=figures), 4, liveness=figures))
    assert some.verdict == "better"
    assert "inactive in 2 of 10 seeds" in " ".join(some.liveness)


def test_what_forbids_a_verdict_does_not_hide_that_a_part_was_dead() -> None:
    figures, reason = DEAD["constant vision"]
    report = said(only(two(plan=None, liveness=figures), 0, 1), None)
    (outcome,) = report.outcomes
    assert outcome.verdict == "void"
    assert reason in outcome.sentence
    assert "(2 of 2 runs: " in outcome.sentence
    assert "Nor would there be a verdict: 2 pairs of seeds can never decide it" in outcome.sentence
    assert outcome.no_verdict


def test_an_entmax_gate_that_keeps_one_key_may_have_learned_to() -> None:
    entmax = {**FUSIONS["cross_attn"], "gate": {"_target_": "tedg.models.gate.EntmaxGate", "exponent": 2.0}}
    for kept, verdict in ((1.0, "better"), (1.5, "void")):
        own = {"gradient/W_Q": 0.0, "attention/promised_keys": None, "attention/kept_keys": kept}
        assert by_arm({"new": own}, fusion=entmax).verdict == verdict


def test_alpha_stored_wrong_is_void() -> None:
    outcome = one(changed(two(), 3, max_log_ratio=2e-5))
    assert outcome.verdict == "void"
    assert "|log ratio| is up to 2e-05 before the first step" in outcome.sentence
    assert one(changed(two(), 3, max_log_ratio=9e-6)).verdict == "better"


def by_arm(figures: dict[str, dict[str, Any]], **config: dict[str, Any]) -> Outcome:
    """Two arms of V4 that differ in `config`, which is of the variant, `new`; the other is `old`."""
    records = []
    for name, shift in (("old", 0.0), ("new", 5.0)):
        for r in arm("cross_attn", BASE + (SPREAD + shift if shift else 0), plan=None):
            own = r.config | (config if name == "new" else {})
            options = {**r.options, "arm": name}
            live = {**r.liveness, **figures.get(name, {})}
            records.append(
                dataclasses.replace(r, run_id=name + r.run_id, config=own, options=options, liveness=live)
            )
    return one(records, None, Asked(by="arm", baseline="old"))


def test_a_frozen_router_is_void_only_where_the_router_is_the_contrast() -> None:
    frozen = {"old": {"gradient/router": 0.0}}
    uniform = {"_target_": "tedg.models.routing.Uniform"}
    outcome = by_arm(frozen, routing=uniform)
    assert outcome.verdict == "void"
    assert "router of old is dead" in outcome.sentence
    assert (
        by_arm({"new": {"gradient/router": 0.0}}, routing=uniform).verdict == "better"
    )  # has none on purpose
    assert by_arm(frozen, logic={"_target_": "tedg.models.logic.NoLogic"}).verdict == "better"
    narrow = {**FUSIONS["cross_attn"], "gate": {**FUSIONS["cross_attn"]["gate"], "keep": 0.1}}
    assert by_arm(frozen, fusion=narrow).verdict == "better"
    sparse = {"_target_": "tedg.models.routing.Sparsemax"}
    for one_hot in ({}, {"router/one_hot": 1.0}):  # one-hot rows pass no gradient; the figure is a later one
        learned = by_arm({"new": {"gradient/router": 0.0, **one_hot}}, routing=sparse)
        assert learned.verdict == "better"
        assert "router of new is inactive in 10 of 10 seeds" in learned.liveness[0]
    assert by_arm({"new": {"gradient/router": 0.0, "router/one_hot": 0.9}}, routing=sparse).verdict == "void"
    single = {"_target_": "tedg.models.routing.TopKSoftmax", "k": 1}  # of which nothing is learnt
    assert by_arm({"new": {"gradient/router": 0.0, "router/one_hot": 1.0}}, routing=single).verdict == "void"


def test_a_gate_that_keeps_every_key_is_void_where_the_gate_is_the_contrast() -> None:
    everything = {"attention/kept_keys": 122.0, "attention/promised_keys": 122}
    whole = {
        "_target_": FUSIONS["cross_attn"]["_target_"],
        "gate": {**FUSIONS["cross_attn"]["gate"], "keep": 1.0},
    }
    outcome = by_arm({"new": everything}, fusion=whole)
    assert outcome.verdict == "void"
    assert "gate of new is dead: it keeps every key" in outcome.sentence
    assert (
        by_arm({"old": everything}, fusion={**whole, "gate": {**whole["gate"], "keep": 0.5}}).verdict
        == "better"
    )
    none = FUSIONS["cross_attn_dense"]
    by_scores = {**everything, "attention/promised_keys": None}
    for gate, verdict in (("my_lab.gates.ThresholdGate", "void"), ("tedg.models.gate.EntmaxGate", "better")):
        decided = by_arm({"new": by_scores}, fusion={**none, "gate": {"_target_": gate}})
        assert decided.verdict == verdict
        assert "it keeps every key" in decided.liveness[0]
    both = {"old": everything, "new": everything}
    wide = by_arm(both, fusion={**FUSIONS["cross_attn"], "num_heads": 8})  # the gate is no part of that
    assert wide.verdict == "better"
    broken = by_arm({"old": {"attention/kept_keys": 122.0}}, fusion=none)
    assert broken.verdict == "void"
    assert "it was to drop keys and dropped none" in broken.sentence
    # gate_sweep's 1.0 arm against V3, where attention is the contrast.
    v4 = two(liveness=alive(**{k.replace("/", "__"): v for k, v in everything.items()}))
    for r in v4[10:]:
        r.config["fusion"]["gate"]["keep"] = 1.0
    assert one(v4).verdict == "better"


def test_figures_that_are_missing_are_unknown_and_not_dead() -> None:
    outcome = one(two(liveness={"missing": "the held-out games gave one state"}))
    assert outcome.verdict == "better"
    told = "whether the parts of cross_attn were alive is not known of 10 of 10 runs"
    assert f"{told}: the held-out games gave one state" in outcome.liveness
    zeros = two(liveness=alive(influence__logic=0.0, influence__vision=0.0, attention__variation=0.0))
    for r in zeros[10:]:
        r.config["eval"]["games"] = 0  # an earlier version compared one state with itself
    assert one(zeros).verdict == "better"
