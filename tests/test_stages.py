"""The schedule: where stages begin and end, what is annealed within them, and which routing they use."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tedg.config.compose import compose
from tedg.errors import ConfigError
from tedg.files import conf_dir
from tedg.learn.stages import make_schedule
from tedg.models.routing import Entmax, Softmax, Sparsemax
from tedg.run.identity import run_id

NAMES = ["warmup", "transition", "finetune"]


def schedule(*overrides):
    return make_schedule(compose(["env=fake", *overrides]).config)


@pytest.mark.parametrize(
    ("override", "unit", "total", "borders"),
    [
        (None, "episodes", 5000, [0, 1000, 3000, 5000]),
        ("budget.episodes=500", "episodes", 500, [0, 100, 300, 500]),
        ("budget.env_steps=1000000", "env_steps", 1_000_000, [0, 200_000, 600_000, 1_000_000]),
    ],
)
def test_the_curriculums_borders_are_at_20_and_60_percent(override, unit, total, borders):
    stages, budget = schedule("stage=curriculum", *([override] if override else []))
    assert (budget.unit, budget.total) == (unit, total)
    assert [stage.name for stage in stages] == NAMES
    assert [stages[0].start, *(stage.end for stage in stages)] == pytest.approx(borders)
    assert [stage.start for stage in stages[1:]] == [stage.end for stage in stages[:-1]]


def test_the_budget_counts_in_its_own_unit():
    _, episodes = schedule("budget.episodes=500")
    _, steps = schedule("budget.env_steps=500")
    assert episodes.done(episodes=3, env_steps=4000) == 3
    assert steps.done(episodes=3, env_steps=4000) == 4000


@pytest.mark.parametrize(("stage", "episodes"), [("warmup", 1000), ("transition", 2000), ("finetune", 2000)])
def test_a_single_stage_has_its_own_budget(stage, episodes):
    (only,), budget = schedule(f"stage={stage}")
    assert (budget.unit, budget.total) == ("episodes", episodes)
    assert (only.name, only.start, only.end) == (stage, 0, episodes)


def test_the_transition_cools_and_lets_go_linearly():
    stages, _ = schedule("stage=curriculum", "budget.env_steps=1000")
    transition = stages[1]
    found = [transition.settings(done) for done in (200, 300, 400, 600)]
    assert [s.temperature for s in found] == pytest.approx([1.0, 0.875, 0.75, 0.5])
    assert [s.weights.alpha_entropy for s in found] == pytest.approx([0.1, 0.075, 0.05, 0.0])


@pytest.mark.parametrize("done", [-50, 0, 150, 10_000])
def test_nothing_is_extrapolated_beyond_a_stage(done):
    stages, _ = schedule("stage=curriculum", "budget.env_steps=1000")
    assert 0.5 <= stages[1].settings(done).temperature <= 1.0
    assert stages[0].settings(done).temperature == 1.0
    assert stages[2].settings(done).temperature == 0.5


def test_each_stage_has_its_learning_rate_and_losses():
    stages, _ = schedule("stage=curriculum", "preset=described", "budget.env_steps=1000")
    start = [stage.settings(stage.start) for stage in stages]
    assert [s.stage for s in start] == NAMES
    assert [s.learning_rate for s in start] == [1e-4, 5e-5, 1e-5]
    assert [stage.settings(stage.end).learning_rate for stage in stages] == [1e-4, 5e-5, 1e-5]
    weights = [s.weights for s in start]
    assert [w.entropy for w in weights] == [0.05, 0.02, 0.01]
    assert [w.auxiliary["load_balance"] for w in weights] == [0.02, 0.01, 0.005]
    assert [w.auxiliary["diversity"] for w in weights] == [0.01, 0.01, 0.005]
    assert [w.auxiliary["alignment"] for w in weights] == [0.1] * 3
    assert [w.alignment_temperature for w in weights] == [1.0] * 3
    assert [w.auxiliary["semantic"] for w in weights] == [0.05] * 3
    assert [w.auxiliary["temporal"] for w in weights] == [0.0, 0.01, 0.02]
    assert [w.auxiliary["overlap"] for w in weights] == [0.0, 0.03, 0.05]


@pytest.mark.more
def test_a_preset_reaches_every_stage_alone_and_in_the_curriculum():
    for preset in ("described", "small", "default"):
        config = compose(["stage=curriculum", f"preset={preset}"]).config
        for name in NAMES:
            numbers = config.preset[name]
            alone = compose([f"stage={name}", f"preset={preset}"]).config.stage
            for stage in (alone, config.stage["phases"][name]):
                assert stage["learning_rate"] == numbers["learning_rate"]
                assert stage["entropy_coef"] == numbers["entropy_coef"]
        assert (config.ppo.num_steps, config.ppo.clip_range) == (
            config.preset["num_steps"],
            config.preset["clip_range"],
        )
        assert (config.env["num_envs"], config.ppo.minibatch_size) == (
            config.preset["num_envs"],
            config.preset["minibatch_size"],
        )


def test_the_routers_entropy_is_maximised_first_and_minimised_last():
    stages, _ = schedule("stage=curriculum", "budget.env_steps=1000")
    assert [stage.settings(stage.start).weights.alpha_entropy for stage in stages] == [0.1, 0.1, -0.05]
    (turned,), _ = schedule("stage=warmup", "stage.alpha_entropy=minimise")
    assert turned.settings(0).weights.alpha_entropy == -0.1


@pytest.fixture
def another_conf(tmp_path, monkeypatch):
    """A copy of conf/ that may be written to, and is used."""
    shutil.copytree(conf_dir(), tmp_path / "conf")
    monkeypatch.setenv("TEDG_CONF_DIR", str(tmp_path / "conf"))
    return tmp_path / "conf"


def add_phase(conf: Path, name: str, after: str) -> None:
    """One line in the curriculum."""
    path = conf / "stage" / "curriculum.yaml"
    line = f"  - {after}@phases.{after}\n"
    path.write_text(path.read_text().replace(line, f"{line}  - {name}@phases.{name}\n"))


def test_a_further_stage_is_one_file_and_one_line(another_conf):
    finetune = (another_conf / "stage" / "finetune.yaml").read_text()
    cooldown = finetune.replace("name: finetune", "name: cooldown").replace(
        "parent: transition", "parent: finetune"
    )
    cooldown = cooldown.replace("${preset.finetune.learning_rate}", "1.0e-5")
    (another_conf / "stage" / "cooldown.yaml").write_text(cooldown)
    (alone,), _ = schedule("stage=cooldown")
    assert alone.settings(0).learning_rate == 1e-5
    before = compose(["stage=curriculum"]).config
    add_phase(another_conf, "cooldown", after="finetune")
    stages, budget = schedule("stage=curriculum", "stage.phases.cooldown.episodes=500")
    assert [stage.name for stage in stages] == [*NAMES, "cooldown"]
    assert (stages[-1].start, stages[-1].end, budget.total) == (5000, 5500, 5500)
    assert stages[-1].settings(5500).learning_rate == 1e-5
    after = compose(["stage=curriculum"]).config
    assert run_id(before, None) != run_id(after, None)


def test_the_order_of_the_phases_is_the_yamls_and_part_of_the_runs_identity(another_conf):
    path = another_conf / "stage" / "curriculum.yaml"
    lines = path.read_text().splitlines(keepends=True)
    first, second = (next(i for i, line in enumerate(lines) if f"{name}@" in line) for name in NAMES[:2])
    before = run_id(compose(["stage=curriculum"]).config, None)
    lines[first], lines[second] = lines[second], lines[first]
    path.write_text("".join(lines))
    stages, _ = schedule("stage=curriculum")
    assert [stage.name for stage in stages] == ["transition", "warmup", "finetune"]
    assert run_id(compose(["stage=curriculum"]).config, None) != before


def test_a_phase_is_called_as_its_stage_is_and_a_misspelt_one_is_named(another_conf):
    with pytest.raises(
        ConfigError, match=r"phases\.warmup\.name=first: must be warmup, as the phase is called"
    ):
        compose(["stage=curriculum", "stage.phases.warmup.name=first"])
    with pytest.raises(ConfigError, match=r"1 fault .*\n  stage\.phases\.warmpu=.*did you mean warmup\?"):
        compose(["stage=curriculum", "+stage.phases.warmpu.learning_rate=1"])
    with pytest.raises(ConfigError, match=r"stage\.phases\.warmup\.name: is missing"):
        compose(["stage=curriculum", "~stage.phases.warmup.name"])
    with pytest.raises(
        ConfigError, match=r"1 fault .*\n  stage\.phases\.warmup\.learning_rte=1: .*learning_rate\?"
    ):
        compose(["stage=curriculum", "+stage.phases.warmup.learning_rte=1"])
    add_phase(another_conf, "cooldown", after="finetune")
    with pytest.raises(ConfigError, match="cooldown"):
        compose(["stage=curriculum"])


def test_entmax_moves_from_softmax_to_sparsemax_over_the_curriculum():
    stages, _ = schedule("stage=curriculum", "routing=entmax", "budget.env_steps=1000")
    exponents = [
        stage.settings(at).routing.exponent for stage, at in zip(stages, (100, 300, 700), strict=True)
    ]
    assert exponents == pytest.approx([1.0, 1.25, 2.0])
    assert stages[1].settings(600).routing == Entmax(2.0)


def test_every_stage_routes_by_its_own_kind():
    stages, _ = schedule("stage=curriculum")
    assert [type(stage.routing) for stage in stages] == [Softmax, Softmax, Sparsemax]


@pytest.mark.parametrize(("choice", "kind"), [("softmax", Softmax), ("sparsemax", Sparsemax)])
def test_another_routing_replaces_the_kind_in_every_stage_and_keeps_the_temperatures(choice, kind):
    stages, _ = schedule("stage=curriculum", f"routing={choice}")
    assert [type(stage.routing) for stage in stages] == [kind] * 3
    assert [stage.settings(stage.end).temperature for stage in stages] == [1.0, 0.5, 0.5]
