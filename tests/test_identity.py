"""Equal configurations are one run, different ones are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tedg.compose import compose
from tedg.identity import _canonical, parent_command, parent_of, run_id


def identity(*overrides: str, parent: str | None = None) -> str:
    return run_id(compose(overrides).config, parent)


@pytest.mark.more_than_first(6)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["stage.learning_rate=0.1"], ["stage.learning_rate=1e-1"]),
        (["ppo.gamma=1"], ["ppo.gamma=1.0"]),
        (["budget.env_steps=1e6"], ["budget.env_steps=1000000"]),
        (["stage.temperature=[1,1]"], ["stage.temperature=[1.0,1.0]"]),
        (["seed=1", "ppo.gamma=0.9"], ["ppo.gamma=0.9", "seed=1"]),
        (["fusion=cross_attn_dense"], ["fusion=cross_attn", "fusion/gate=none"]),
        (["stage=warmup"], ["routing=softmax"]),
        (["env.hypergraph=nethack"], [f"env.hypergraph={Path('tedg/hypergraph/nethack.yaml').absolute()}"]),
        ([], ["name=other"]),
        ([], ["paths.output_dir=elsewhere", "paths.study=other"]),
        ([], ["run_dir=elsewhere"]),
        ([], ["device=cpu", "threads=3", "logger=none", "init_from=none"]),
        ([], ["env.num_workers=3"]),
        ([], ["preset=default"]),
        (
            ["preset=described"],
            [
                "stage.learning_rate=1e-4",
                "stage.entropy_coef=0.05",
                "ppo.num_steps=128",
                "ppo.clip_range=0.15",
            ],
        ),
    ],
)
def test_equal(first: list[str], second: list[str]) -> None:
    assert identity(*first) == identity(*second)


@pytest.mark.more_than_first(4)
@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "fusion=concat",
        "routing=sparsemax",
        "eval.games=99",
        "stage.overlap_coef=1e-9",
        "vision=state",
        "preset=described",
        "routing=entmax",
        "env=nethack_gold",
    ],
)
def test_different(override: str) -> None:
    assert identity(override) != identity()


def test_keys_that_came_later_leave_the_ids_of_earlier_runs_alone() -> None:
    canonical = _canonical(compose().config)
    assert "init_except" not in canonical
    assert not {"max_kl", "max_value_loss"} & canonical["ppo"].keys()
    for override in ("init_except=[fusion.]", "ppo.max_kl=5", "ppo.max_value_loss=10"):
        assert identity(override) != identity()


def test_the_start_counts() -> None:
    assert len({identity(), identity(parent="0123456789"), identity(parent="sha256:0")}) == 3


def test_form() -> None:
    assert len(identity()) == 10
    int(identity(), 16)


def test_a_hypergraphs_content_counts_not_its_place(tmp_path: Path) -> None:
    text = Path("tedg/hypergraph/nethack.yaml").read_text()
    (tmp_path / "same.yaml").write_text("# another comment\n" + text)
    assert identity(f"env.hypergraph={tmp_path}/same.yaml") == identity()


def test_the_parent_of_a_described_stage_is_the_described_one() -> None:
    parent = parent_of(compose(["stage=transition", "preset=described"]))
    assert parent is not None
    assert run_id(parent.config, None) == identity("stage=warmup", "preset=described")


def test_the_parent_is_the_same_configuration_in_the_previous_stage() -> None:
    child = compose(["stage=finetune", "fusion=concat", "budget.env_steps=1000", "stage.overlap_coef=0.5"])
    parent = parent_of(child)
    assert parent is not None
    assert run_id(parent.config, None) == identity(
        "stage=transition", "fusion=concat", "budget.env_steps=1000"
    )
    grandparent = parent_of(parent)
    assert grandparent is not None
    assert run_id(grandparent.config, None) == identity("fusion=concat", "budget.env_steps=1000")
    assert parent_of(grandparent) is None
    assert parent_of(compose(["stage=curriculum"])) is None


def test_the_parents_command_makes_the_parent() -> None:
    child = compose(
        ["stage=transition", "fusion=concat", "seed=3", "name=mine", "stage.overlap_coef=0.5", "run_dir=x"]
    )
    line = parent_command(child)
    assert line == ["python", "-m", "tedg.train", "fusion=concat", "seed=3", "stage=warmup"]
    parent = parent_of(child)
    assert parent is not None
    assert run_id(parent.config, None) == identity(*line[3:])
