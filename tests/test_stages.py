"""The schedule: where stages begin and end, what is annealed within them, and which routing they use."""

from __future__ import annotations

import pytest

from tedg.config.compose import compose
from tedg.learn.stages import make_schedule
from tedg.models.routing import Entmax, Softmax, Sparsemax

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
    assert [w.load_balance for w in weights] == [0.02, 0.01, 0.005]
    assert [w.diversity for w in weights] == [0.01, 0.01, 0.005]
    assert [w.alignment for w in weights] == [0.1] * 3
    assert [w.alignment_temperature for w in weights] == [1.0] * 3
    assert [w.semantic for w in weights] == [0.05] * 3
    assert [w.temporal for w in weights] == [0.0, 0.01, 0.02]
    assert [w.overlap for w in weights] == [0.0, 0.03, 0.05]


def test_a_preset_reaches_every_stage_alone_and_in_the_curriculum():
    for preset in ("described", "default"):
        config = compose(["stage=curriculum", f"preset={preset}"]).config
        for name in NAMES:
            numbers = getattr(config.preset, name)
            alone = compose([f"stage={name}", f"preset={preset}"]).config.stage
            for stage in (alone, config.stage["phases"][name]):
                assert stage["learning_rate"] == numbers.learning_rate
                assert stage["entropy_coef"] == numbers.entropy_coef
        assert (config.ppo.num_steps, config.ppo.clip_range) == (
            config.preset.num_steps,
            config.preset.clip_range,
        )


def test_the_routers_entropy_is_maximised_first_and_minimised_last():
    stages, _ = schedule("stage=curriculum", "budget.env_steps=1000")
    assert [stage.settings(stage.start).weights.alpha_entropy for stage in stages] == [0.1, 0.1, -0.05]
    (turned,), _ = schedule("stage=warmup", "stage.alpha_entropy=minimise")
    assert turned.settings(0).weights.alpha_entropy == -0.1


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
