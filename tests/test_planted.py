"""Dead parts in networks that were really trained: a comparison says void, why, and of which runs.

`support/planted.py` has the parts. Two seeds can decide nothing, and void is said all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.planted import OPTIONS
from support.settings import ON_NETHACK, TINY
from support.stand_ins import Lines

from tedg.compare.__main__ import run as compare
from tedg.compare.arms import values_of
from tedg.config.compose import compose_all
from tedg.learn import setup
from tedg.models.policy import MoEPolicy
from tedg.run import app
from tedg.statistics import aggregates
from tedg.store.record import read_records

# Each arm's overrides, after those of a run of a second of V4.
ARMS: dict[str, tuple[str, ...]] = {
    "v4": (),
    "v3": ("fusion=concat",),
    "one_token": ("vision=state",),
    "uniform": ("routing=uniform",),
    "frozen": ("routing=sparsemax",),  # and its router takes no gradient
    "detached": ("routing=detached",),
    "zeros": ("logic=zeros",),
    "constant": ("vision=constant",),
    "constant_map": ("vision=constant_map",),
    "none": ("fusion/gate=none",),
    "whole": ("fusion.gate.keep=1.0",),
    "keeps_all": ("fusion/gate=keeps_all",),
    "drops_none": ("fusion/gate=drops_none",),
    "acts_otherwise": ("routing=acts_otherwise",),
}
# (variant, baseline, the group that tells them apart, what is said to be dead and why)
VOID = [
    ("one_token", "v3", "fusion", "attention of cross_attn is dead: attention over one key is the constant"),
    ("frozen", "uniform", "routing", "router of sparsemax is dead: no gradient of the policy reaches"),
    ("detached", "uniform", "routing", "router of detached is dead: no gradient of the policy reaches"),
    ("zeros", "v4", "logic", "logic of zeros is dead: exchanging its inputs between states changes nothing"),
    ("constant", "v4", "vision", "vision of constant is dead: exchanging its inputs between states changes"),
    ("constant_map", "v4", "vision", "vision of constant_map is dead: exchanging the map between states"),
    ("keeps_all", "none", "fusion/gate", "gate of keeps_all is dead: it keeps every key"),
    ("keeps_all", "v4", "fusion/gate", "gate of keeps_all is dead: it keeps every key"),
    ("none", "keeps_all", "fusion/gate", "gate of keeps_all is dead: it keeps every key"),
    ("drops_none", "none", "fusion/gate", "gate of drops_none is dead: it was to drop keys and dropped none"),
    ("acts_otherwise", "v4", "routing", "the learner of acts_otherwise is dead: |log ratio| is up to 0.0"),
]
# What is dead there, if anything, is not what the contrast is about, or is what its arm is for.
NOT_VOID = [
    ("v4", "v3", "fusion"),
    ("v4", "uniform", "routing"),
    ("v4", "none", "fusion/gate"),
    ("whole", "v3", "fusion"),
    ("whole", "none", "fusion/gate"),
    ("none", "whole", "fusion/gate"),
    ("v4", "whole", "fusion.gate.keep"),
    ("one_token", "v4", "vision"),
]


def train(root: Path, arm: str, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds of an arm, below `root/multirun/<arm>`."""

    def frozen(*arguments: Any) -> MoEPolicy:
        policy = build_policy(*arguments)
        assert policy.router is not None
        policy.router.requires_grad_(False)
        return policy

    paths = [f"paths.{name}_dir={root}/{name}" for name in ("output", "multirun", "experiments")]
    search = f"hydra.searchpath=[file://{root}/conf]"
    own = (*ARMS[arm], *paths, f"paths.study={arm}", search, "seed=0,1")
    overrides = (*TINY, "eval.players=[]", "checkpoint.every_updates=2", *settings, *own)
    build_policy = setup.build_policy
    with monkeypatch.context() as patch:
        if arm == "frozen":
            patch.setattr(setup, "build_policy", frozen)
        for composed in compose_all(overrides, True):
            app.run(composed, say=Lines())


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Trains arms where that was not done, and gives what a comparison says of two of them."""
    monkeypatch.setattr(aggregates, "RESAMPLES", 10)
    monkeypatch.setenv("TEDG_ALLOW", "support")
    for option, content in OPTIONS.items():
        file = tmp_path / "conf" / f"{option}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"_target_: support.planted.{content}\n")

    def judged(variant: str, baseline: str, by: str, settings: tuple[str, ...] = ()) -> dict[str, Any]:
        study = tmp_path / f"{variant}_{baseline}"
        study.mkdir()
        for arm in (variant, baseline):
            if not (tmp_path / "multirun" / arm).exists():
                train(tmp_path, arm, settings, monkeypatch)
            for one in (tmp_path / "multirun" / arm).glob("*-s*"):
                (study / f"{arm}-{one.name}").symlink_to(one)
        (name,) = {values_of([one], by)[0] for one in read_records(tmp_path / "multirun" / baseline)}
        assert compare([str(study), "--by", by, "--baseline", str(name), "--json", f"{study}.json"]) == 0
        (outcome,) = json.loads(Path(f"{study}.json").read_text())["outcomes"]
        return dict(outcome)

    return judged


def check(judge: Callable[..., dict[str, Any]], settings: tuple[str, ...]) -> None:
    for variant, baseline, by, reason in VOID:
        outcome = judge(variant, baseline, by, settings)
        assert outcome["verdict"] == "void", (variant, outcome["liveness"])
        assert reason in outcome["sentence"]
        assert "(2 of 2 runs: " in outcome["sentence"]
        assert "2 pairs of seeds can never decide it" in outcome["sentence"]
    for variant, baseline, by in NOT_VOID:
        outcome = judge(variant, baseline, by, settings)
        assert outcome["verdict"] is None, outcome["sentence"]
        assert "2 pairs of seeds can never decide it" in outcome["sentence"]


@pytest.mark.slow
@pytest.mark.timeout(900)  # 28 runs, on a busy machine
def test_a_dead_part_makes_the_contrast_void_that_is_about_it(judge: Callable[..., dict[str, Any]]) -> None:
    check(judge, ("budget.env_steps=64",))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_so_it_is_on_real_nethack(judge: Callable[..., dict[str, Any]]) -> None:
    check(judge, (*ON_NETHACK, "env.num_workers=0", "eval.games=4"))
