"""The jobs of a sweep, composed cheaply, are what Hydra makes of each; faults of any axis show at once."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tedg.config.compose import compose_all
from tedg.config.hydra_api import Loader, every_combination
from tedg.config.jobs import compose_jobs, compose_one
from tedg.config.sources import Sources
from tedg.config.typed import Faults
from tedg.errors import ConfigError
from tedg.run.identity import run_id
from tedg.watch.composing import Composing

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
    "name": ["a-${seed}", "b-${ppo.gamma}-${hydra:runtime.choices.fusion}", "..", "${oc.env:WORD}-1", "'1'"],
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
    (tmp_path / "study/other.yaml").write_text(
        "# @package _global_\nname: 'o-${seed}'\ninit_except: ['${hydra:job.override_dirname}']\n"
    )
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
        if list(job.faults.lines) != list(faults.lines):  # of what Hydra refuses a job stands for its like
            assert keys(job.faults) == keys(faults), job.lines
        assert repr(job.composed) == repr(alone), job.lines
        if alone is not None and job.composed is not None:
            assert run_id(job.composed.config, None) == run_id(alone.config, None)
    return sum(job.composed is not None for job in jobs)


def keys(faults: Faults) -> set[str]:
    return {re.split("[=:]", line)[0] for line in faults.lines}


SWEEPS = [
    ["fusion=concat,cross_attn", "seed=1,2", "name=n-${seed}"],
    [
        "hydra.sweep.dir='x/${hydra:job.override_dirname}'",
        "+study=other",
        "stage=finetune",
        "seed=1,2,3e0",
        "ppo.gamma=1,1.0",
    ],
    ["preset.minibatch_size=32.0,48", "preset.transition.learning_rate=0.1,0.2", "stage=finetune"],
    ["paths.output_dir=${oc.env:WORD}", "precision=${oc.env:KIND}", "seed=1,2"],
    ["+study=mine", "seed=1,2", "stage.parent=null,warmup,nowhere"],
    ["eval.players=[],[script]", "++eval.games=3,4", "++eval.first_seed=7"],
    ["paths={study:a}", "paths.study=b,c", "policy.router_hidden=[1,2],[3,4]", "policy.router_hidden.0=7,8"],
]


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize("lines", SWEEPS)
def test_jobs_are_as_hydra_makes_each_alone(lines: list[str], sources: Sources) -> None:
    assert assert_as_alone(lines, sources)


@pytest.mark.more
@pytest.mark.parametrize("wrong", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_jobs_of_drawn_sweeps_are_as_hydra_makes_each_alone(wrong: bool, sources: Sources) -> None:
    """TEDG_FUZZ=10 draws ten times as many."""
    rng, number = random.Random(20 + wrong), 6 * int(os.environ.get("TEDG_FUZZ", "1"))
    right = sum(assert_as_alone(drawn(rng, wrong), sources) for _ in range(number))
    assert right >= number / 3


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What Hydra is asked to compose, with the values of sweeps or without."""
    asked: list[Sequence[str]] = []
    compose = Loader.compose

    def counted(self: Loader, overrides: Sequence[str], *others: Any, **named: Any) -> Any:
        asked.append(overrides)
        return compose(self, overrides, *others, **named)

    monkeypatch.setattr(Loader, "compose", counted)
    return asked


def test_hydra_composes_once_per_choice_and_jobs_share_what_is_the_same(
    compositions: list[Sequence[str]],
) -> None:
    jobs = compose_all(["fusion=concat,cross_attn", "seed=range(150)", "ppo.gamma=0.9"], multirun=True)
    assert len(compositions) == 3  # the sweep as a whole, and two fusions
    found = [(job.config.fusion["_target_"].rpartition(".")[2], job.config.seed) for job in jobs[149:151]]
    assert found == [("ConcatFusion", 149), ("CrossAttentionFusion", 0)]
    assert (
        len({id(job.config.stage) for job in jobs}) == len({id(job.resolved["stage"]) for job in jobs}) == 2
    )


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ([f"seed={','.join(map(str, range(300)))},x3", "fusion=concat,cross_attn"], ["seed=x3: must be a"]),
        (
            ["seed=range(50)", "fusion=concat,cross_attn,cros_attn", "ppo.gamma=0.5,2", "ppo.gama=0.1,0.2"],
            ["fusion=cros_attn: must be one of", "ppo.gama=0.1: no such key; did you mean", "ppo.gamma=2.0"],
        ),
        (["seed=range(50)", "vision=glyph,state", "ppo.gamma=1,2", "eval.games=1,-3"], ["=2.0", "games=-3"]),
    ],
)  # fmt: skip
def test_a_fault_of_any_value_shows_before_combinations(
    axes: list[str], said: list[str], compositions: list[Sequence[str]]
) -> None:
    with pytest.raises(ConfigError) as error:
        compose_all(axes, multirun=True)
    assert all(text in str(error.value) for text in said)
    assert len(compositions) < 40


def test_a_fault_of_a_combination_alone_is_found() -> None:
    with pytest.raises(
        ConfigError, match=r"routing\._target_=tedg\.models\.routing\.Symbolic: .* logic=none"
    ):
        compose_all(["logic=hypergraph_gat,none", "routing=uniform,symbolic", "seed=1,2"], multirun=True)


def test_progress_counts_every_job() -> None:
    told: list[tuple[int, int]] = []
    compose_all(["seed=4,5,6"], True, progress=lambda *count: told.append(count))
    assert told == [(1, 3), (2, 3), (3, 3)]


class Terminal(StringIO):
    """One that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), StringIO()])
def test_progress_is_shown_after_a_while(stream: StringIO) -> None:
    now = [0.0]
    composing = Composing(stream, lambda: now[0])
    for second in range(8):
        now[0] = second + 0.5
        composing(second, 1000)
    composing.close()
    live = "".join(f"\r\x1b[Kcomposed {second} of 1,000 jobs" for second in range(1, 8)) + "\r\x1b[K"
    assert stream.getvalue() == (live if stream.isatty() else "composed 5 of 1,000 jobs\n")
