"""The benchmark as users call it: flags, variants, turns, failures, and the file that it writes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.settings import FASTEST, TINY

from tedg.bench import jobs
from tedg.bench.__main__ import run
from tedg.bench.flags import PARTS, read_flags
from tedg.bench.plan import in_turns, plan
from tedg.bench.variants import find_variants, num_workers, sized
from tedg.config.compose import compose
from tedg.files import conf_dir

ONE = (*TINY, *FASTEST)


@pytest.mark.more_than_first(5)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds: '0' is not a whole number of at least 1"),
        (["--seconds", "nan"], "--seconds: 'nan' is not a positive number of seconds"),
        (["--num-envs", "16,x"], "--num-envs: 'x' is not a whole number"),
        (["--num-workers=-1"], "--num-workers: '-1' is not a whole number of at least 0"),
        (["--only", "gpu"], "choose from"),
        (["--fast"], "unrecognized arguments: --fast"),
        (["--json", "/nowhere/at/all.json"], "there is no directory /nowhere/at"),
        (["--json", "/proc"], "is a directory"),
        (["ppo.epochs=3"], "ppo.epochs=3: no such key"),
        (["fusion=concta"], "did you mean concat"),
        (["ppo.minibatch_size=0", "--quick"], "ppo.minibatch_size=0"),
    ],
)
def test_wrong_usage_ends_with_one_message_and_code_2(arguments, message, capsys):
    assert run(arguments) == 2
    printed, said = capsys.readouterr()
    assert said.startswith("error: ")
    assert said.count(message) == 1
    assert printed == ""


@pytest.mark.more
def test_wrong_usage_is_refused_before_torch_is_imported():
    code = (
        "import sys; from tedg.bench.__main__ import run;"
        "wrong = ['--rounds', '0'], ['ppo.no=1'], ['--advise', 'ppo.no=1'];"
        "assert [run(arguments) for arguments in wrong] == [2, 2, 2]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def test_help_names_every_part_and_leaves_with_0(capsys):
    with pytest.raises(SystemExit) as left:
        run(["--help"])
    assert not left.value.code
    text = capsys.readouterr().out
    assert all(f"  {part} " in text for part in PARTS)


def test_flags_and_overrides_mix_and_quick_gives_way_to_what_is_said():
    options = read_flags(["fusion=concat", "--quick", "--only", "limit", "seed=1", "--rounds", "2"])
    assert options.overrides == ("fusion=concat", "seed=1")
    assert (options.parts, options.rounds, options.seconds) == (("limit",), 2, 0.2)
    assert read_flags(["--device", "cpu"]).overrides == ("device=cpu",)


@pytest.mark.more
def test_variants_are_all_fusions_with_all_visions_the_configured_pair_first():
    variants = find_variants(["env=fake"])
    folders = [[path.stem for path in (conf_dir() / group).glob("*.yaml")] for group in ("fusion", "vision")]
    assert sorted(one.name for one in variants) == sorted(f"{f} {v}" for f in folders[0] for v in folders[1])
    assert variants[0].config.fusion == compose().config.fusion
    assert variants[0].config.vision == compose().config.vision


def test_overrides_choose_variants_and_lists_make_them():
    variants = find_variants(["fusion=concat", "vision=state", "ppo.minibatch_size=128,256"])
    names = [f"concat state ppo.minibatch_size={size}" for size in (128, 256)]
    assert [one.name for one in variants] == names
    assert [one.config.ppo.minibatch_size for one in variants] == [128, 256]


@pytest.mark.parametrize(("num_envs", "steps"), [(16, 256), (32, 128), (512, 8), (1024, 8)])
def test_other_sizes_keep_the_rollout_until_it_would_be_too_short(num_envs, steps):
    config = sized(compose(["preset=described"]).config, num_envs, 3)
    assert (config.env["num_envs"], config.ppo.num_steps, num_workers(config)) == (num_envs, steps, 3)


def test_variants_take_turns_and_what_is_counted_is_counted_once():
    options = read_flags(["--only", "policy", "--only", "limit", "--rounds", "2"])
    measurements = plan(options, find_variants(["env=fake", "vision=state", "fusion=concat,cross_attn"]))
    turns = [str(one) for one in in_turns(measurements, 2)]
    acting = ["policy: concat state", "policy: cross_attn state"]
    rates = ["limit: rate=NLE", "limit: rate=matrix"]
    counts = ["limit: concat state", "limit: cross_attn state"]
    assert turns == [*acting, *acting, *rates, *counts, *rates]


def canned(job):
    """Figures of the right names, for `run` to work with."""
    if job.function == "describe":
        parts = [{"vision": 5, "total": 7} for _ in job.arguments["configs"]]
        return {"device": "cpu", "gpu": None, "threads": 1, "instructions": "AVX2", "parameters": parts}
    if job.function == "flops":
        return {"acting_flops": 1e6, "learning_flops": 3e6, "learning_flops_of": {"aten.mm": 3e6}}
    if job.function == "matrix_rate":
        return {"flops_per_second": 4e9}
    if job.module == "training":
        split = {
            f"{name}_{clock}_us": 1.0 for name in ("env", "policy", "learning") for clock in ("wall", "cpu")
        }
        memory = {"memory_bytes": 2**30, "memory_source": "RSS", "gpu_bytes": None}
        return {"steps_per_second": 250.0, **split, **memory}
    return {"steps_per_second": 1000.0}


@pytest.mark.more
def test_every_measurement_is_a_function_that_exists():
    measurements = plan(read_flags([]), find_variants([]))
    assert {one.part for one in measurements} == set(PARTS)
    for job in (one.job for one in measurements):
        assert callable(getattr(importlib.import_module(f"tedg.bench.{job.module}"), job.function))


def test_everything_that_is_measured_is_in_the_file_and_the_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "run", canned)
    file = tmp_path / "all.json"
    assert run([*ONE, "--quick", "--rounds", "2", "--json", str(file)]) == 0
    content = json.loads(file.read_text())
    assert list(content) == ["schema", "machine", "settings", "variants", *PARTS, "failures"]
    assert {"cpu", "cores", "versions", "commit", "threads", "device"} <= set(content["machine"])
    assert content["variants"][0]["parameters"] == {"vision": 5, "total": 7}
    row = content["end-to-end"][0]
    assert row["variant"] == "concat state"
    assert row["steps_per_second"] == {"median": 250.0, "low": 250.0, "high": 250.0, "rounds": [250.0] * 2}
    assert content["limit"]["variants"][0]["share"] == pytest.approx(0.5)
    text = capsys.readouterr().out
    for shown in ("end-to-end: concat state  250 steps/s", "memory of all processes: RSS", "50.0 %", "1,024"):
        assert shown in text


def test_a_failed_measurement_is_reported_and_the_others_are_made(tmp_path, monkeypatch, capsys):
    def failing(job):
        if job.function == "acting":
            raise jobs.MeasurementError("ended by SIGKILL")
        return canned(job)

    monkeypatch.setattr(jobs, "run", failing)
    file = tmp_path / "some.json"
    assert run([*ONE, "--quick", "--only", "policy", "--only", "learner", "--json", str(file)]) == 1
    content = json.loads(file.read_text())
    assert content["policy"] == []
    assert content["failures"] == [
        {"part": "policy", "variant": "concat state", "message": "ended by SIGKILL"}
    ]
    assert len(content["learner"]) == 1
    assert "1 of 2 measurements failed" in capsys.readouterr().err


def test_an_interrupted_benchmark_leaves_what_it_has_measured(tmp_path, monkeypatch):
    def interrupted(job):
        if job.function == "learning":
            raise KeyboardInterrupt
        return canned(job)

    monkeypatch.setattr(jobs, "run", interrupted)
    file = tmp_path / "some.json"
    assert run([*ONE, "--quick", "--only", "policy", "--only", "learner", "--json", str(file)]) == 130
    assert len(json.loads(file.read_text())["policy"]) == 1


def test_what_a_process_says_before_it_fails_is_the_message():
    with pytest.raises(jobs.MeasurementError, match=r"exit code 1: .*no_such_module"):
        jobs.run(jobs.Job("no_such_module", "measure", {}))


@pytest.mark.slow
@pytest.mark.more
def test_the_learner_alone_is_measured_in_a_process_of_its_own(tmp_path):
    file = tmp_path / "learner.json"
    assert run([*ONE, "--quick", "--only", "learner", "--json", str(file)]) == 0
    content = json.loads(file.read_text())
    assert content["failures"] == []
    row = content["learner"][0]
    assert row["batch"]["median"] == 32
    assert row["steps_per_second"]["median"] > 0
    assert row["relative"]["median"] == 1
    assert content["variants"][0]["parameters"]["total"] > 1000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nethack_is_measured_with_and_without_workers(tmp_path: Path) -> None:
    file = tmp_path / "nethack.json"
    small = [line for line in ONE if line != "env=fake" and not line.startswith("env.max")]
    only = [flag for part in ("env", "end-to-end", "scaling", "limit") for flag in ("--only", part)]
    sizes = ["--num-envs", "4", "--num-workers", "0,1"]
    assert run([*small, *only, *sizes, "--quick", "--json", str(file)]) == 0
    content = json.loads(file.read_text())
    assert [row["num_workers"] for row in content["env"]] == [0, 1]
    assert [row["over"] for row in content["scaling"]] == ["num_envs", "num_workers", "num_workers"]
    for row in (*content["end-to-end"], *content["scaling"]):
        split = sum(row[f"{phase}_wall_us"]["median"] for phase in ("env", "policy", "learning"))
        assert split == pytest.approx(1e6 / row["steps_per_second"]["median"], rel=0.05)
        assert row["memory_bytes"]["median"] > 2**26
    assert 0 < content["limit"]["variants"][0]["share"] < 1
