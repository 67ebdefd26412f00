"""A wrong configuration is refused as a whole, in words, before anything happens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from tedg.config.compose import compose, compose_all
from tedg.config.module_schemas import NetHackEnv
from tedg.config.validation import cuda_missing
from tedg.errors import ConfigError

REFUSE_IMPORT = "import sys; sys.modules['torch'] = None; from tedg.train import main; main()"


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.more_than_first(8)
@pytest.mark.parametrize(
    ("override", "key", "right"),
    [
        ("ppo.clip_rnge=0.1", "ppo.clip_rnge=0.1", "did you mean ppo.clip_range?"),
        ("fusin=concat", "fusin=concat", "did you mean fusion?"),
        ("fusion=cros_attn", "fusion=cros_attn", "did you mean cross_attn?"),
        ("stage=warmupp", "stage=warmupp", "did you mean warmup?"),
        ("fusion/gate=topkk", "fusion/gate=topkk", "did you mean topk?"),
        ("num_envs=4", "num_envs=4", "did you mean env.num_envs?"),
        ("+ppo.extra=1", "ppo.extra=1", "no such key"),
        ("+fusion.num_head=2", "fusion.num_head=2", "did you mean fusion.num_heads?"),
        ("+anything=1", "anything=1", "no such key"),
        ("preset.num_step=1", "preset.num_step=1", "did you mean preset.num_steps?"),
        ("+preset.num_step=1", "preset.num_step=1", "did you mean preset.num_steps?"),
        ("+stage.phases={}", "stage.phases", "at least one stage"),
        ("+preset.cooldown=1", "preset.cooldown=1", "group of keys: learning_rate, entropy_coef"),
        ("+preset.cooldown.learning_rate=1", "preset.cooldown.entropy_coef", "is missing"),
        ("preset.warmup.learning_rate=0", "preset.warmup.learning_rate=0", "above 0"),
        ("experiment=learns", "experiment=learns", "write +experiment=learns"),
        ("+fusion=concat", "+fusion=concat", "Multiple values for fusion"),
        ("seed", "seed", "key=value"),
        ("seed=1,2", "seed=1,2", "need -m"),
        ("~ppo.gamma", "ppo.gamma", "is missing"),
        ("~ppo", "ppo", "is missing"),
        ("ppo.gamma=???", "ppo.gamma", "set it"),
        ("ppo.gamma=${nowhere}", "ppo.gamma", "cannot be resolved"),
        ("seed=abc", "seed=abc", "whole number"),
        ("seed=1.5", "seed=1.5", "whole number"),
        ("seed=true", "seed=true", "whole number"),
        ("seed=-1", "seed=-1", "at least 0"),
        ("ppo=3", "ppo=3", "must be one of default"),
        ("eval=3", "eval=3", "group of keys"),
        ("ppo.normalise_rewards=1", "ppo.normalise_rewards=1", "true or false"),
        ("stage.learning_rate=-1e-4", "stage.learning_rate=-0.0001", "above 0"),
        ("stage.learning_rate=nan", "stage.learning_rate=nan", "finite"),
        ("stage.temperature=[1.0,0.0]", "stage.temperature", "above 0"),
        ("stage.temperature=1.0", "stage.temperature=1.0", "2 values"),
        ("stage.alpha_entropy=maximize", "stage.alpha_entropy=maximize", "did you mean maximise?"),
        ("stage.parent=warmpu", "stage.parent=warmpu", "did you mean warmup?"),
        ("ppo.gamma=0", "ppo.gamma=0.0", "above 0 and at most 1"),
        ("ppo.gae_lambda=1.1", "ppo.gae_lambda=1.1", "at most 1"),
        ("ppo.minibatch_size=0", "ppo.minibatch_size=0", "at least 1"),
        ("ppo.minibatch_size=8193", "ppo.minibatch_size=8193", "8192; ppo.minibatch_size=1024"),
        ("fusion.gate.keep=0", "fusion.gate.keep=0.0", "above 0 and at most 1"),
        ("fusion.gate.keep=1.01", "fusion.gate.keep=1.01", "above 0 and at most 1"),
        ("logic.num_heads=5", "logic.embedding_dim=64", "multiple of num_heads=5"),
        ("policy.num_experts=3", "policy.num_experts=3", "stage.alignment_coef=0"),
        ("policy.expert_input=logic", "policy.expert_input=logic", "context, vision"),
        ("env.num_workers=-1", "env.num_workers=-1", "at least 0"),
        ("env.action_mask=illegal", "env.action_mask=illegal", "did you mean legal?"),
        ("env.task=NetHackChallenge", "env.task=NetHackChallenge", "NetHackScore"),
        ("eval.players=[scrpt]", "eval.players[0]=scrpt", "did you mean script?"),
        ("eval.players=[script,script]", "eval.players", "twice"),
        ("eval.first_seed=1073741800", "eval.first_seed=1073741800", "below 2**30"),
        ("paths.study=../up", "paths.study=../up", "letters, digits"),
        ("name=../up", "name=../up", "letters, digits"),
        ("name=/tmp/x", "name=/tmp/x", "letters, digits"),
        (f"name={'x' * 81}", "name=xxx", "1 to 80"),
        ("env.hypergraph=nethak", "env.hypergraph=nethak", "nethack"),
        ("env.hypergraph=/no/such.yaml", "env.hypergraph=/no/such.yaml", "no such hypergraph"),
        ("run_dir=/etc/hostname/run", "run_dir=/etc/hostname/run", "is a file"),
        ("paths.output_dir=/etc/hostname", "paths.output_dir=/etc/hostname", "is a file"),
        ("init_from=/no/such/run", "init_from=/no/such/run", "run directory"),
        ("init_from=null", "init_from=null", "must be text"),
    ],
)
def test_a_fault_names_its_key_its_value_and_what_is_right(override: str, key: str, right: str) -> None:
    message = refusal(override)
    line = next(line for line in message.splitlines() if line.strip().startswith(key))
    assert right in line


def test_all_faults_are_reported_together() -> None:
    message = refusal(
        "fusin=concat",
        "ppo.clip_rnge=1",
        "stage=warmupp",
        "ppo.gamma=2",
        "fusion.gate.keep=2",
        "ppo.minibatch_size=99999",
        "budget.episodes=3",
        "budget.env_steps=1000",
        "seed=1,2",
    )
    assert message.startswith("8 faults")
    for key in (
        "fusin",
        "ppo.clip_rnge",
        "stage=warmupp",
        "ppo.gamma",
        "fusion.gate.keep",
        "ppo.minibatch_size",
        "seed=1,2",
        "budget.episodes=3: set only one of budget.episodes and budget.env_steps (here 1000)",
    ):
        assert f"\n  {key}" in message


@pytest.mark.more
def test_every_job_of_a_sweep_is_checked() -> None:
    with pytest.raises(ConfigError) as caught:
        compose_all(
            ["fusion=concat,cros_attn", "ppo.gamma=0.9,2,3", "stage=warmup,transition"], multirun=True
        )
    lines = str(caught.value).splitlines()
    assert len(lines) == 4  # each fault once, however many jobs have it
    keys = sorted(line.split(":")[0].strip() for line in lines[1:])
    assert keys == ["fusion=cros_attn", "ppo.gamma=2.0", "ppo.gamma=3.0"]


@pytest.mark.more
def test_a_sweep_has_every_combination_and_no_shared_directory() -> None:
    jobs = compose_all(["fusion=concat,cross_attn", "stage=warmup,transition"], multirun=True)
    assert [job.config.name for job in jobs] == [
        f"{fusion}-{stage}-s0" for fusion in ("concat", "cross_attn") for stage in ("warmup", "transition")
    ]
    assert all(job.sweep and job.root == Path("multirun/default") for job in jobs)
    with pytest.raises(ConfigError, match=r"run_dir=x: jobs of a sweep cannot share it"):
        compose_all(["seed=1,2", "run_dir=x"], multirun=True)


def test_a_malformed_hypergraph_is_reported_by_its_places(tmp_path: Path) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text("atoms: 3\n")
    message = refusal(f"env.hypergraph={file}")
    assert f"env.hypergraph={file}: graph.yaml: atoms" in message


def test_cuda_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "device=cuda: CUDA_VISIBLE_DEVICES='' hides every GPU; take device=cpu" in refusal("device=cuda")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert cuda_missing() == "this machine has no GPU driver"


@pytest.mark.more_than_first(6)
@pytest.mark.parametrize(
    "override",
    [
        "fusion._target_=os.system",
        "fusion.gate._target_=os.system",
        "env._target_=subprocess.Popen",
        "fusion._target_=tedg.config.targets.os.system",
        "stage.routing._target_=builtins.exec",
        "routing._target_=pathlib.Path.write_text",
        "+ppo._target_=os.system",
        "+policy.router_hidden._target_=os.system",
        "+eval.players=[{_target_:os.system}]",
        "hydra.launcher._target_=os.system",
        "+hydra.callbacks.x._target_=os.system",
        "+hydra.job_logging.formatters.x={'()':os.system}",
    ],
)
def test_a_hostile_target_is_refused(override: str) -> None:
    key = override.partition("=")[0].lstrip("+")
    assert key.removesuffix(".x") in refusal(override)


def test_a_known_module_in_the_wrong_place() -> None:
    message = refusal("fusion._target_=tedg.models.vision.StateEncoder")
    assert "does not fit here; one of tedg.models.fusion.ConcatFusion" in message


def test_a_misspelt_class_is_found_without_importing_it() -> None:
    assert "did you mean tedg.models.fusion.ConcatFusion?" in refusal(
        "fusion._target_=tedg.models.fusion.ConcatFusio"
    )


def test_somebodys_own_module_needs_their_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faulty_lab").mkdir()
    (tmp_path / "faulty_lab" / "fusion.py").write_text("raise RuntimeError('imported')\nclass Sum: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    overrides = ["fusion=concat", "fusion._target_=faulty_lab.fusion.Sum", "+fusion.width=3"]
    assert "name your own package in TEDG_ALLOW" in refusal(*overrides)
    monkeypatch.setenv("TEDG_ALLOW", "other, faulty_lab")
    assert "faulty_lab.fusion.Sum: cannot be imported: RuntimeError: imported" in refusal(*overrides)
    (tmp_path / "faulty_lab" / "fusion.py").write_text("class Sum:\n    def __init__(self, width): ...\n")
    assert compose(overrides).config.fusion == {"_target_": "faulty_lab.fusion.Sum", "width": 3}


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize(
    "arguments",
    [
        ["fusin=concat"],
        ["ppo.minibatch_size=0", "env.hypergraph=nethak"],
        ["-m", "fusion=concat,cros_attn"],
        ["--experimental-rerun", "x.pickle"],
    ],
)
def test_the_command_refuses_without_torch_and_creates_nothing(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSE_IMPORT, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.more
def test_help_and_cfg_work_anywhere_without_torch(tmp_path: Path) -> None:
    def output(*arguments: str) -> str:
        command = [sys.executable, "-c", REFUSE_IMPORT, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    text = output("--help")
    for promised in ("* cross_attn ", "exit codes", "budget.env_steps=null", "init_from=auto"):
        assert promised in text
    assert "clip_range: 0.5" in output("--cfg", "job", "ppo.clip_range=0.5")
    assert "name: concat-finetune-s0" in output(
        "--cfg", "job", "--resolve", "fusion=concat", "stage=finetune"
    )
    assert list(tmp_path.iterdir()) == []


def test_environment_variables_never_reach_saved_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    composed = compose(["paths.output_dir=${oc.env:SECRET}", "paths.multirun_dir=${paths.output_dir}/m"])
    assert composed.config.paths.multirun_dir == "s3cret/m"
    assert composed.saved["paths"]["output_dir"] == "${oc.env:SECRET}"
    assert composed.saved["paths"]["multirun_dir"] == "${paths.output_dir}/m"
    assert composed.saved["name"] == "cross_attn-warmup-s0"
    assert "s3cret" not in str(composed.saved)
    assert composed.overrides[0] == "paths.output_dir=${oc.env:SECRET}"
    (job,) = compose_all(["paths.multirun_dir=${oc.env:SECRET}", "seed=3"], multirun=True)
    assert job.config.paths.multirun_dir == "s3cret"
    assert job.saved["paths"]["multirun_dir"] == "${oc.env:SECRET}"
    assert "s3cret" not in str(job.overrides)


def test_tasks_and_goals_are_those_of_the_environment() -> None:
    from tedg.envs.features import GOALS
    from tedg.envs.rewards import TASKS

    hints = get_type_hints(NetHackEnv)
    assert set(get_args(hints["task"])) == set(TASKS)
    assert set(get_args(hints["goal"])) == {goal for goal in GOALS if not goal.startswith("reserved")}


@pytest.mark.slow
def test_every_option_of_every_group_is_valid() -> None:
    from tedg.config.compose import group_options

    groups = group_options()[1]
    groups["plan"].remove("default")  # the others complete it
    for group, options in groups.items():
        for option in options:
            game = "probe" if option not in ("needle", "sparse_needle", "fake") else option
            outer = [f"env={game}"] if group == "env/game" else []
            sign = "+" if group in ("experiment", "budget", "plan") else ""
            compose([*outer, f"{sign}{group}={option}"])


@pytest.mark.more
@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (("fusion=concat", "fusion/gate=topk"), "fusion/gate=topk: fusion=concat has no gate to choose"),
        (
            ("fusion=concat_matched", "fusion/gate=none"),
            "fusion/gate=none: fusion=concat_matched has no gate to choose; "
            "did you mean fusion/gate@fusion.size_of.gate?",
        ),
        (("env/game=action",), "env/game=action: env=nethack_score has no game to choose"),
        (("experiment=learns",), "experiment=learns: this group has no default; write +experiment=learns"),
        (("~experiment",), "~experiment: Could not delete 'experiment'. No match in the defaults list"),
        (
            ("fusion=concat", "~fusion/gate"),
            "~fusion/gate: Could not delete 'fusion/gate'. No match in the defaults list",
        ),
    ],
)
def test_a_choice_for_a_part_that_is_not_there_is_refused(overrides: tuple[str, ...], fault: str) -> None:
    assert refusal(*overrides).splitlines()[1].strip() == fault
    # Another fault beside it, and nothing else.
    assert len(refusal(*overrides, "sed=1").splitlines()) == 3
    assert len(refusal("env=probe", "env/game=action", "fusion/gate=none", "sed=1").splitlines()) == 2


def test_the_same_fault_in_several_jobs_of_a_sweep_is_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        compose_all(["fusion=concat,cross_atn", "seed=b"], multirun=True)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split("=")[0].strip() for line in lines] == ["seed", "fusion"]


@pytest.mark.parametrize(
    ("overrides", "key", "right"),
    [
        (("routing=symbolic", "logic=none"), "routing._target_=", "logic=none has none"),
        (
            ("routing=symbolic", "policy.num_experts=1"),
            "policy.num_experts=1",
            "take 4",
        ),
        (("routing=topk_softmax", "policy.num_experts=1"), "routing.k=2", "policy.num_experts=1"),
        (("routing=topk_softmax", "routing.k=0"), "routing.k=0", "at least 1"),
        (("routing=entmax", "~routing.exponent.warmup"), "routing.exponent.warmup", "is missing"),
        (("routing=entmax", "routing.exponent.finetune=[2.0,2.5]"), "routing.exponent.finetune", "at most 2"),
        (("routing=entmax", "routing.exponent.warmup=1"), "routing.exponent.warmup=1", "2 values"),
    ],
)
def test_a_routing_that_cannot_work_is_refused(overrides: tuple[str, ...], key: str, right: str) -> None:
    message = refusal(*overrides)
    line = next(line for line in message.splitlines() if line.strip().startswith(key))
    assert right in line


def test_one_expert_needs_no_change_of_the_losses() -> None:
    assert compose(["policy.num_experts=1"]).config.policy.num_experts == 1


@pytest.mark.parametrize(
    ("override", "right"),
    [
        ("stage.alignment_temperature=1e-60", "above 0 in float32 too"),
        ("ppo.adam_eps=1e-50", "above 0 in float32 too"),
        ("stage.entropy_coef=1e39", "1.18e-38 to 3.4e+38"),
        ("ppo.gamma=1e-45", "above 0 and at most 1 in float32 too"),
        ("policy.dropout=0.999999999", "below 1 in float32 too"),
        ("fusion.gate.keep=1e-40", "above 0 and at most 1 in float32 too"),
    ],
)
def test_what_float32_cannot_hold_is_refused(override: str, right: str) -> None:
    assert right in refusal(override)


def test_limits_of_figures_may_be_any_number() -> None:
    assert compose(["ppo.max_value_loss=1e300", "diagnostics.max_grad_norm=1e300", "stage.entropy_coef=0"])


def test_a_numbered_gpu_is_chosen_outside() -> None:
    assert "CUDA_VISIBLE_DEVICES=3 and device=cuda" in refusal("device=cuda:3")
    assert "did you mean cuda?" in refusal("device=cudda")


def test_more_processes_than_the_machine_has_use_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert "threads=13: must be at most 12: this machine has 3 cores" in refusal("threads=13")
    assert "env.num_workers=500: must be at most 12" in refusal("env.num_workers=500")
    assert compose(["threads=12", "env.num_workers=12"])


def test_tf32_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "precision=tf32: needs a GPU (device=cpu); take precision=float32" in refusal(
        "precision=tf32", "device=cpu"
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "needs a GPU (CUDA_VISIBLE_DEVICES='' hides every GPU)" in refusal("precision=tf32", "device=auto")


def test_compiling_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CXX", "my-c++")
    assert "there is no my-c++ on PATH; take compile=false" in refusal("compile=true", "device=cpu")


def test_a_linked_study_is_named_by_its_real_place(tmp_path: Path) -> None:
    """The advice works, and loses nothing."""
    (tmp_path / "disk" / "archive").mkdir(parents=True)
    (tmp_path / "multirun").mkdir()
    (tmp_path / "multirun" / "mine").symlink_to(tmp_path / "disk" / "archive")
    sweep = [f"paths.multirun_dir={tmp_path}/multirun", "paths.study=mine", "seed=1,2"]
    with pytest.raises(ConfigError) as error:
        compose_all(sweep, multirun=True)
    advice = str(error.value).partition("to go on there: ")[2].split()
    assert compose_all([*advice, "seed=1,2"], multirun=True)
