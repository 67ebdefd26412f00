"""Equal configurations are one run, different ones are not."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tedg.config.compose import compose
from tedg.run import identity as identity_module
from tedg.run.identity import earlier_id, parent_command, parent_of, run_id


def identity(*overrides: str, parent: str | None = None) -> str:
    return run_id(compose(overrides).config, parent)


@pytest.mark.more_than_first(4)
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
        (["preset=small"], ["env.num_envs=32", "ppo.minibatch_size=256"]),
        ([], ["eval.games=99", "eval.first_seed=7", "eval.players=[]", "checkpoint.keep=1", "check=default"]),
        ([], ["diagnostics.max_grad_norm=2", "checkpoint.every_updates=7"]),
        (
            ["preset=described"],
            [
                "env.num_envs=32",
                "ppo.minibatch_size=256",
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
        "stage.overlap_coef=1e-9",
        "vision=state",
        "preset=described",
        "preset=small",
        "routing=entmax",
        "env=nethack_gold",
    ],
)
def test_different(override: str) -> None:
    assert identity(override) != identity()


def test_keys_that_came_later_leave_the_ids_of_earlier_runs_alone() -> None:
    for override in ("init_except=[fusion.]", "ppo.max_kl=5", "ppo.max_value_loss=10"):
        assert identity(override) != identity()


@pytest.mark.parametrize("stage", ["warmup", "curriculum"])
def test_a_later_key_of_a_stage_is_forgotten_in_every_phase(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if overlap_coef had come today, acting as 0 before: it counts only where it is something else."""
    place = "stage.phases.transition" if stage == "curriculum" else "stage"
    with_it = identity(f"stage={stage}", f"{place}.overlap_coef=0.5")
    without = identity(f"stage={stage}", f"{place}.overlap_coef=0")
    monkeypatch.setitem(identity_module.LATER, ("stage", "overlap_coef"), 0.5)
    assert identity(f"stage={stage}", f"{place}.overlap_coef=0") == without
    assert identity(f"stage={stage}", f"{place}.overlap_coef=0.5") != with_it


# Written down once, from the code that first gave ids; layout of files and later keys may not change them.
# What is preset=small now was the default then.
PINNED = {
    "6c32fe76f7": ["preset=small"],
    "eaf0b39669": ["preset=small", "fusion=concat"],
    "8e75fded32": ["preset=small", "stage=curriculum", "seed=3"],
    "56ba8c9da2": ["preset=small", "fusion=cross_attn", "fusion/gate=entmax"],
    "aa46b9a228": ["fusion=concat_matched", "preset=described"],
    "665f8e2669": ["env=needle", "fusion=cross_attn"],
    "c4a0fcb975": ["env=probe", "env/game=constant"],
    "b092de4f81": ["preset=small", "routing=entmax", "stage=curriculum"],
    "972e18413f": ["preset=small", "policy=one_wide_expert"],
    "74be08944b": ["preset=small", "vision=state", "logic=none"],
    "ebe9f68b23": ["preset=small", "budget.env_steps=1000000", "stage=curriculum"],
    "4f445a2b1c": ["preset=small", "env=nethack_scout", "env.num_envs=64"],
    "56b24ed914": ["preset=small", "ppo.max_kl=5", "ppo.gamma=0.9"],
    "b72d03ed95": ["preset=small", "fusion=cross_attn_headgate", "vision=state", "routing=topk_softmax"],
    "06921f2c77": ["preset=small", "env.max_episode_steps=5000", "env.action_mask=none"],
}


@pytest.mark.more_than_first(8)
@pytest.mark.parametrize(("known", "overrides"), PINNED.items(), ids=PINNED)
def test_ids_stay(known: str, overrides: list[str]) -> None:
    assert identity(*overrides) == known


def test_what_once_counted_gives_the_id_of_then() -> None:
    once = {"59217ba9f8": ["+experiment=learns", "seed=1"], "1e0b1ec723": ["checkpoint.keep=1"]}
    for known, overrides in once.items():
        config = compose(["preset=small", *overrides]).config
        assert earlier_id(config, None) == known != run_id(config, None)
    assert earlier_id(compose().config, "x") == run_id(compose().config, "x")


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
    line = shlex.split(parent_command(child))
    assert line == [sys.executable, "-m", "tedg.train", "fusion=concat", "seed=3", "stage=warmup"]
    parent = parent_of(child)
    assert parent is not None
    assert run_id(parent.config, None) == identity(*line[3:])
