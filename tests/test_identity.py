"""Equal configurations are one run, different ones are not."""

from __future__ import annotations

import json
import random
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tedg.config.compose import compose, compose_all
from tedg.config.run_config import RunConfig
from tedg.config.typed import Faults, read
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
        (
            ["preset=small"],
            [
                "env.num_envs=32",
                "env.exploration_bonus=0",
                "ppo.minibatch_size=256",
                "ppo.num_steps=64",
                "ppo.gae_lambda=0.97",
            ],
        ),
        ([], ["eval.games=99", "eval.first_seed=7", "eval.players=[]", "checkpoint.keep=1", "check=default"]),
        (["+experiment=v3_vs_v4"], ["+experiment=v3_vs_v4", "plan.delta=3"]),
        (["+experiment=v3_vs_v4"], ["+experiment=v3_vs_v4", "plan.alpha=0.1"]),
        ([], ["diagnostics.max_grad_norm=2", "checkpoint.every_updates=7"]),
        ([], ["eval.milestones=[1000,2000]"]),
        (
            ["preset=described"],
            [
                "env.num_envs=32",
                "ppo.minibatch_size=256",
                "stage.learning_rate=1e-4",
                "stage.entropy_coef=0.05",
                "ppo.num_steps=128",
                "ppo.clip_range=0.15",
                "ppo.gae_lambda=0.97",
                "env.exploration_bonus=0",
            ],
        ),
    ],
)
def test_equal(first: list[str], second: list[str]) -> None:
    assert identity(*first) == identity(*second)


def test_the_numbers_of_published_studies_never_move() -> None:
    assert compose(["preset=v2"]).config.preset == {
        "num_envs": 256,
        "minibatch_size": 2048,
        "num_steps": 32,
        "clip_range": 0.2,
        "gae_lambda": 0.9,
        "exploration_bonus": 0.3,
        "warmup": {"learning_rate": 7e-4, "entropy_coef": 0.01},
        "transition": {"learning_rate": 5e-4, "entropy_coef": 0.005},
        "finetune": {"learning_rate": 2e-4, "entropy_coef": 0.003},
    }


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


# What says nothing about what is learnt.
NEVER_COUNTS = {
    "name",
    "paths",
    "run_dir",
    "device",
    "threads",
    "compile",
    "cuda_graphs",
    "logger",
    "check",
    "init_from",
    "preset",
    "plan",
}
MEASURES = {"eval", "checkpoint", "diagnostics"}
WORDS = {
    "precision": ["float32", "bfloat16"],
    "action_mask": ["legal", "none"],
    "expert_input": ["context", "vision"],
    "alpha_entropy": ["maximise", "minimise"],
}
BASES = [
    [],
    ["stage=curriculum", "budget.env_steps=5"],
    ["routing=entmax", "fusion=concat"],
    ["stage=finetune", "routing=sparsemax"],
    ["fusion=concat_matched", "logic=none", "env=probe"],
]


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for name, item in node.items():
        if isinstance(item, dict):
            yield from leaves(item, (*path, name))
        else:
            yield (*path, name), item


def with_value(node: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    return {**node, path[0]: with_value(node[path[0]], path[1:], value) if path[1:] else value}


def another(value: Any, name: str, rng: random.Random) -> Any:
    """A value of the same kind, from so few that draws meet again."""
    if name in WORDS:
        return rng.choice(WORDS[name])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice([1, 2, 3, 4])
    if isinstance(value, float):
        return value * rng.choice([0.5, 0.75, 1 + 2**-40, 2])
    if isinstance(value, list) and value and not isinstance(value[0], str):
        return [another(value[0], name, rng), *value[1:]]
    return value


def respelt(node: Any, rng: random.Random) -> Any:
    """The same in another order of keys and other kinds of numbers."""
    if isinstance(node, dict):
        names = list(node)
        if "warmup" not in names:  # the order of a curriculum's stages means something
            rng.shuffle(names)
        return {name: respelt(node[name], rng) for name in names}
    if isinstance(node, list):
        return [respelt(item, rng) for item in node]
    if isinstance(node, int | float) and not isinstance(node, bool) and node == int(node):
        return rng.choice([int, float])(node)
    return node


def meaning(node: Any) -> Any:
    """What counts of a configuration, in one form: an oracle that knows nothing of tedg's."""
    if isinstance(node, dict):
        found = {name: meaning(item) for name, item in node.items()}
        if "policy" in node:
            found = {name: item for name, item in found.items() if name not in NEVER_COUNTS | MEASURES}
            found["env"] = {name: item for name, item in found["env"].items() if name != "num_workers"}
            routing = found.pop("routing")
            if routing["_target_"] is not None:
                stages = found["stage"].get("phases", {"": found["stage"]})
                for stage in stages.values():
                    stage["routing"] = routing
            found["order"] = list(node["stage"].get("phases", {}))
        return found
    if isinstance(node, list):
        return [meaning(item) for item in node]
    return float(node) if isinstance(node, int | float) and not isinstance(node, bool) else node


@pytest.mark.parametrize("draws", [300, pytest.param(2500, marks=pytest.mark.more)])
def test_runs_are_the_same_exactly_if_they_mean_the_same(draws: int) -> None:
    rng = random.Random(draws)
    known: dict[str, str] = {}  # ids by meaning
    spelt: dict[str, set[str]] = {}  # spellings by meaning
    bases = [compose(base).resolved for base in BASES]
    for _ in range(draws):
        node = rng.choice(bases)
        for path, value in rng.sample(list(leaves(node)), rng.choice([0, 1, 1, 2, 2])):
            node = with_value(node, path, another(value, str(path[-1]), rng))
        if "phases" in node["stage"] and rng.random() < 0.3:
            phases = node["stage"]["phases"]
            turned = dict(rng.sample(list(phases.items()), len(phases)))
            node = with_value(node, ("stage", "phases"), turned)
        node = respelt(node, rng)
        config = read(RunConfig, node, "", Faults())
        if config is None:
            continue
        meant = json.dumps(meaning(node), sort_keys=True)
        spelt.setdefault(meant, set()).add(json.dumps(node))
        assert known.setdefault(meant, run_id(config, None)) == run_id(config, None)
    assert len(set(known.values())) == len(known) > draws / 8
    assert sum(map(len, spelt.values())) > draws / 2


@pytest.mark.parametrize("turned", [False, True])
def test_spellings_on_the_command_line(turned: bool) -> None:
    axes = {
        "ppo.gamma": ["0.9", "0.90", "9e-1", "0.91", "1", "1.0"],
        "budget.env_steps": ["1000", "1e3", "1000.0", "1001"],
        "seed": ["0", "1", "1e0"],
        "++stage.temperature": ["[1,0.5]", "[1.0,0.50]", "[1,0.6]"],
    }
    lines = [f"{key}={','.join(values)}" for key, values in axes.items()]
    jobs = compose_all(lines[::-1] if turned else lines, multirun=True)
    ids: dict[str, str] = {}
    for job in jobs:
        values = dict(line.split("=") for line in job.overrides)
        meant = str([json.loads(values[key], parse_int=float) for key in axes])
        assert ids.setdefault(meant, run_id(job.config, None)) == run_id(job.config, None)
    assert (len(jobs), len(ids), len(set(ids.values()))) == (216, 24, 24)
    alone = identity("stage.temperature=[1,0.6]", "ppo.gamma=0.9", "seed=1", "budget.env_steps=1000")
    assert ids["[0.9, 1000.0, 1.0, [1.0, 0.6]]"] == alone
