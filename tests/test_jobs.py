"""The jobs of a sweep, composed cheaply, are what Hydra makes of each alone; faults of any axis show at once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tedg.config import jobs as jobs_module
from tedg.config.compose import compose_all
from tedg.config.hydra_api import Loader, every_combination
from tedg.config.jobs import compose_jobs, compose_one
from tedg.config.sources import Sources
from tedg.config.typed import Faults
from tedg.errors import ConfigError
from tedg.run.identity import run_id

# What a sweep is drawn from: for each key the values that its axis may have, wrong ones among them.
GROUPS = {
    "fusion": ["concat", "cross_attn", "cross_attn_dense", "concat_matched", "cros_attn"],
    "fusion/gate": ["topk", "none", "entmax", "random_topk"],
    "fusion/gate@fusion.size_of.gate": ["topk", "none"],
    "vision": ["glyph", "state"],
    "logic": ["hypergraph_gat", "none"],
    "routing": ["stage", "entmax", "symbolic", "topk_softmax", "uniform"],
    "stage": ["warmup", "transition", "finetune", "curriculum", "finetune"],
    "preset": ["default", "small", "described"],
    "policy": ["default", "one_wide_expert"],
    "env": ["nethack_score", "probe", "fake", "nethack_gold"],
    "env/game": ["constant", "endless"],
    "+experiment": ["learns", "tuning", "check"],
    "+study": ["mine", "other"],
    "check": ["none", "default"],
}
VALUES = {
    "seed": ["0", "1", "2", "3e0", "-1", "x", "1.5", "${eval.games}", "'7'", "null"],
    "ppo.gamma": ["0.9", "1", "1.0", "2", "${ppo.gae_lambda}"],
    "++ppo.gamma": ["0.5", "0.25"],
    "+ppo.extra": ["1"],
    "ppo.gama": ["0.5", "0.6"],
    "ppo.minibatch_size": ["8", "16", "1e1", "1e9"],
    "preset.minibatch_size": ["64", "32.0", "2e1"],
    "preset.warmup.learning_rate": ["1e-3", "1", "'x'"],
    "budget.env_steps": ["1e3", "1000", "null", "???"],
    "budget.episodes": ["null", "5"],
    "~eval.players": [""],
    "eval.players": ["[]", "[script]", "[random,script]", "[scrpt]", "script"],
    "policy.router_hidden": ["[1,2]", "[3]", "[]", "5", "[1.0,2]", "[${seed},2]"],
    "policy.router_hidden.0": ["7", "8"],
    "stage.learning_rate": ["1e-4", "0.001", "${preset.warmup.learning_rate}"],
    "stage.parent": ["null", "warmup", "transition", "nowhere", "${stage.name}"],
    "stage.episodes": ["7e0", "8"],
    "+stage.phases.warmup.learning_rate": ["1"],
    "stage.phases.warmup.learning_rate": ["0.1", "0.2"],
    "fusion.gate.keep": ["0.1", "0.5", "1.5"],
    "fusion.gate": ["{_target_:tedg.models.gate.NoGate}", "null"],
    "routing.k": ["1", "3", "9"],
    "name": ["a", "a-${seed}", "b-${ppo.gamma}-${hydra:runtime.choices.fusion}", "..", "${oc.env:WORD}-${seed}", "'1'"],
    "paths": ["{study:s}", "{output_dir:'${oc.env:WORD}'}"],
    "paths.output_dir": ["out", "'o-${hydra:job.name}'", "o/${paths.study}", "${oc.env:WORD}"],
    "paths.study": ["s1", "s-${hydra:job.name}", "../up"],
    "precision": ["float32", "${oc.env:KIND}"],
    "env.num_envs": ['"${oc.decode:${oc.env:NUMBER}}"', "4", "4e1", "${preset.num_envs}"],
    "run_dir": ["null", "runs-${seed}"],
    "init_from": ["auto", "none", "/no/such"],
    "env.hypergraph": ["nethack", "nethak"],
    "hydra.sweep.dir": ["'elsewhere/${seed}'", "'${hydra:job.override_dirname}'", "'x/${hydra.job.name}'"],
    "+hydra.job.env_set.NUMBER": ["'\"5\"'", "'\"${seed}\"'"],
    "compile": ["false", "true"],
    "threads": ["1", "null", "500"],
}  # fmt: skip


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    """tedg's own files, with two of somebody's own beside them."""
    monkeypatch.setenv("WORD", "secret")
    monkeypatch.setenv("KIND", "bfloat16")
    monkeypatch.setenv("NUMBER", "3")
    (tmp_path / "study").mkdir()
    (tmp_path / "study/mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /fusion: concat\nppo: {gamma: 0.5}\nseed: 4\n"
    )
    (tmp_path / "study/other.yaml").write_text("# @package _global_\nname: 'o-${seed}'\n")
    return Sources(Sources.own().main, extra=str(tmp_path))


def drawn(rng: random.Random, wrong: bool) -> list[str]:
    """Overrides of a sweep of up to some dozen jobs; without `wrong` mostly of values that are right."""
    lines = []
    picked = rng.sample(sorted(GROUPS), rng.randint(0, 2)) + rng.sample(sorted(VALUES), rng.randint(1, 4))
    rng.shuffle(picked)
    for key in picked:
        values = {**GROUPS, **VALUES}[key]
        if not wrong:
            values = values[:3]
        if key.startswith("hydra") or "hydra." in key or values == [""]:
            lines.append(f"{key}={rng.choice(values)}" if values != [""] else key)
        else:
            lines.append(f"{key}={','.join(rng.sample(values, min(len(values), rng.randint(1, 3))))}")
    return lines


def assert_as_alone(lines: list[str], sources: Sources) -> int:
    """Compose the jobs of a sweep cheaply, and each by Hydra alone; how many were right."""
    loader = Loader(sources, lines)
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create(config_loader=loader).parse_overrides(lines)
    own = [line for line, one in zip(lines, parsed, strict=True) if one.is_hydra_override()]
    task = [one for one in parsed if not one.is_hydra_override()]
    jobs = compose_jobs(loader, [[*own, *job] for job in every_combination(task)], True)
    for job in jobs:
        if job.faults is None:
            assert any(other.faults is not None and other.faults.lines for other in jobs)
            continue
        faults = Faults()
        alone = compose_one(Loader(sources, lines), job.lines, True, faults)
        assert list(job.faults.lines) == list(faults.lines), job.lines
        assert repr(job.composed) == repr(alone), job.lines
        if alone is not None and job.composed is not None:
            assert run_id(job.composed.config, None) == run_id(alone.config, None)
    return sum(job.composed is not None for job in jobs)


SWEEPS = [
    ["fusion=concat,cross_attn", "seed=1,2", "name=n-${seed}"],
    [
        "hydra.sweep.dir='x/${hydra:job.override_dirname}'",
        "stage=finetune",
        "seed=1,2,3e0",
        "ppo.gamma=1,1.0",
    ],
    ["preset.minibatch_size=32.0,48", "preset.finetune.learning_rate=0.1,0.2", "stage=finetune,curriculum"],
    ["paths.output_dir=${oc.env:WORD}", "precision=${oc.env:KIND}", "seed=1,2"],
    ["+study=mine", "seed=1,2", "stage.parent=null,warmup,nowhere"],
    ["eval.players=[],[script]", "++eval.games=3,4", "++eval.first_seed=7"],
]


@pytest.mark.more_than_first(3)
@pytest.mark.parametrize("lines", SWEEPS)
def test_jobs_are_as_hydra_makes_each_alone(lines: list[str], sources: Sources) -> None:
    assert assert_as_alone(lines, sources)


@pytest.mark.more
@pytest.mark.parametrize("wrong", [False, True])
def test_jobs_of_drawn_sweeps_are_as_hydra_makes_each_alone(wrong: bool, sources: Sources) -> None:
    rng = random.Random(20 + wrong)
    right = sum(assert_as_alone(drawn(rng, wrong), sources) for _ in range(60))
    assert right > 20
