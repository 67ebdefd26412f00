"""The experiments of conf/experiment compose in every cell, and an arm is what its overrides are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tedg.config.compose import compose, compose_all, search_space
from tedg.config.sources import Sources
from tedg.files import conf_dir
from tedg.run.identity import run_id
from tedg.run.saved import read_run_config

# The number of arms of each experiment.
EXPERIMENTS = {"controls": 8, "v3_vs_v4": 4, "gate_sweep": 9, "losses": 7, "stages": 8}
# The studies of `make demo`: pairs, and the most env steps of a cell.
DEMOS = {"demo_needle": (8, 20_000), "demo_nethack": (6, 10_000)}

PHASES = ("warmup", "transition", "finetune")
ARMS: dict[str, list[str]] = {
    "concat_tokens": ["fusion=concat_tokens"],
    "without_overlap": ["stage=curriculum", *(f"stage.phases.{phase}.overlap_coef=0" for phase in PHASES)],
    "only_finetune": ["stage=finetune", "init_from=none"],
    "none": [],
    "v4": [],
    "v3": ["fusion=concat"],
    "dense": ["fusion/gate=none"],
    "concat_matched": ["fusion=concat_matched"],
    "headgate": ["fusion=cross_attn_headgate"],
    "no_logic": ["logic=none"],
    "uniform": ["routing=uniform"],
    "symbolic": ["routing=symbolic"],
    "one_wide_expert": ["policy=one_wide_expert"],
    "gate_entmax": ["fusion/gate=entmax"],
    "gate_none": ["fusion/gate=none"],
    "gate_random": ["fusion/gate=random_topk"],
    **{f"gate_{keep}": [f"fusion.gate.keep={keep}"] for keep in ("0.1", "0.2", "0.3", "0.5", "0.7", "1.0")},
    "all_losses": ["stage=curriculum"],
    **{
        f"without_{loss}": ["stage=curriculum", *(f"stage.phases.{phase}.{loss}_coef=0" for phase in PHASES)]
        for loss in ("load_balance", "diversity", "semantic", "temporal", "alignment")
    },
    "curriculum": ["stage=curriculum"],
    "only_warmup": ["stage=warmup", "init_from=none"],
    "only_transition": ["stage=transition", "init_from=none"],
    **{
        f"curriculum_{routing}": ["stage=curriculum", f"routing={routing}"]
        for routing in ("softmax", "entmax", "sparsemax", "topk_softmax")
    },
}


@pytest.mark.more
@pytest.mark.parametrize("trial", [[], ["+budget=tiny"]], ids=["whole", "tiny"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_cell_is_a_run_of_its_own(experiment: str, trial: list[str]) -> None:
    jobs = compose_all([f"+experiment={experiment}", *trial, "seed=range(2)"], multirun=True)
    assert len({run_id(job.config, None) for job in jobs}) == len(jobs) == 2 * EXPERIMENTS[experiment]
    assert len({job.config.name for job in jobs}) == len(jobs)
    assert {job.root for job in jobs} == {Path("multirun") / ("tiny" if trial else experiment)}
    assert {job.config.budget.env_steps for job in jobs} == {10240 if trial else 1_000_000}
    assert all(job.config.eval.players == () for job in jobs) == bool(trial)
    plan = jobs[0].config.plan
    if trial:
        assert plan is None
    else:
        assert plan is not None
        swept = {
            line.partition("=")[2] for job in jobs for line in job.overrides if line.startswith(f"{plan.by}=")
        }
        assert {arm for contrast in (*plan.primary, *plan.secondary) for arm in contrast} <= swept


@pytest.mark.more_than_first(3)
@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_is_the_run_of_its_overrides(arm: str) -> None:
    composed, direct = compose([f"arm={arm}"]).config, compose(ARMS[arm]).config
    assert run_id(composed, None) == run_id(direct, None)
    assert composed.init_from == direct.init_from


def test_every_arm_is_looked_at() -> None:
    assert {file.stem for file in (conf_dir() / "arm").glob("*.yaml")} == set(ARMS)
    swept = {file.stem for file in (conf_dir() / "experiment").glob("*.yaml") if "params" in file.read_text()}
    assert swept - {"search"} == {*EXPERIMENTS, *DEMOS}


@pytest.mark.parametrize("study", DEMOS)
def test_a_demo_is_small_and_its_plan_has_all_its_seeds(study: str) -> None:
    """A plan whose seeds could not decide its contrast would be refused."""
    pairs, most = DEMOS[study]
    jobs = compose_all([f"+experiment={study}", f"seed=range({pairs})"], multirun=True)
    assert len({run_id(job.config, None) for job in jobs}) == len(jobs) == 2 * pairs
    assert {job.root for job in jobs} == {Path("multirun") / study}
    for config in (job.config for job in jobs):
        assert config.budget.env_steps is not None
        assert config.budget.env_steps <= most
        assert config.eval.players == ()
        assert config.plan is not None
        assert config.plan.primary == (("cross_attn", "concat"),)
        assert config.plan.seeds == tuple(range(pairs))


def test_make_demo_calls_the_commands_that_the_readme_shows() -> None:
    root = Path(__file__).parent.parent
    printed = subprocess.run(
        ["make", "-n", "demo"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    called = [line for line in printed if line.startswith(".venv/bin/python -m tedg.")]
    assert len(called) == 5
    shown = [line.strip() for line in (root / "README.md").read_text().splitlines()]
    first = shown.index(called[0])
    assert shown[first : first + len(called)] == called
    tiny = subprocess.run(["make", "-n", "demo", "DEMO=tiny"], cwd=root, capture_output=True, text=True)
    assert tiny.stdout.count("_tiny") == 5


def test_the_readme_shows_scores_as_the_records_have_them() -> None:
    root = Path(__file__).parent.parent
    table = [sys.executable, str(root / "experiments" / "learning" / "table.py")]
    printed = subprocess.run(table, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    shown = [line for line in (root / "README.md").read_text().splitlines() if line.startswith("| V")]
    assert len(shown) == 6
    assert set(shown) <= set(printed)


def test_the_study_of_learning_shows_what_its_records_say() -> None:
    folder = Path(__file__).parent.parent / "experiments" / "learning"
    table = [sys.executable, str(folder / "table.py")]
    printed = subprocess.run(table, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(printed) > 20
    assert set(printed) <= set((folder / "README.md").read_text().splitlines())


def test_the_search_draws_good_values() -> None:
    space = search_space(["+experiment=search", "+budget=tiny"], Sources.own())
    assert space is not None
    assert [one.key for one in space.dimensions] == [
        *("stage.learning_rate", "stage.alpha_entropy_coef", "fusion.gate.keep")
    ]
    assert all(job.composed is not None for job in space.tried())
    fixed = ["stage.learning_rate=0.001", "stage.alpha_entropy_coef=[0,0]", "fusion.gate.keep=0.3"]
    (one,) = compose_all(["+experiment=search", "+budget=tiny", *fixed], multirun=True)
    assert one.config == space.compose(fixed).config  # the command of a trial
    assert one.config.budget.env_steps == 10240


def test_an_experiment_of_ones_own_sweeps_arms_of_its_own(tmp_path: Path) -> None:
    """Outside the package, beside tedg's files: by --config-dir, and by hydra.searchpath."""
    for folder, text in {
        "arm/long_view": "ppo: {gamma: 0.999}\n",
        "experiment/horizon": "hydra: {sweeper: {params: {arm: 'v3, long_view', ppo.gae_lambda: '0.9,1'}}}\n",
    }.items():
        (tmp_path / folder).parent.mkdir()
        (tmp_path / folder).with_suffix(".yaml").write_text(f"# @package _global_\n{text}")
    flag = Sources(Sources.own().main, extra=str(tmp_path))
    for overrides, sources in ([], flag), ([f"hydra.searchpath=[{tmp_path}]"], None):
        jobs = compose_all([*overrides, "+experiment=horizon", "seed=3"], True, sources)
        found = [
            (job.config.fusion["_target_"][12:], job.config.ppo.gamma, job.config.ppo.gae_lambda)
            for job in jobs
        ]
        assert found == [
            ("fusion.ConcatFusion", 0.995, 0.9),
            ("fusion.ConcatFusion", 0.995, 1.0),
            ("fusion.CrossAttentionFusion", 0.999, 0.9),
            ("fusion.CrossAttentionFusion", 0.999, 1.0),
        ]


@pytest.mark.parametrize("study", ["aa", "presets", "recomputed"])
def test_configurations_of_earlier_versions_are_read(study: str) -> None:
    """A key that is new needs the value that earlier versions acted by, in run/saved.py."""
    runs = sorted((Path(__file__).parent.parent / "experiments" / study / "runs").iterdir())
    configs = [read_run_config(runs[0]), read_run_config(runs[-1])]
    assert all(config.cuda_graphs for config in configs)
