"""What is checked is what runs, whatever it is made of, and the printed command does it again."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tedg import train
from tedg.config.compose import Composed, compose, compose_all
from tedg.config.help_text import help_text
from tedg.config.sources import Sources
from tedg.errors import ConfigError
from tedg.files import conf_dir
from tedg.run import app
from tedg.run.identity import command, parent_command, run_id
from tedg.sweep import drive

Command = Callable[..., tuple[int, list[Composed]]]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Calls the command in `tmp_path`: its exit code, and what it would have trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # which the command sets too

    def call(*arguments: str) -> tuple[int, list[Composed]]:
        runs: list[Composed] = []
        monkeypatch.setattr(app, "run", lambda composed, **_: runs.append(composed))
        monkeypatch.setattr(drive, "sweep", lambda asked: runs.extend(asked.jobs) or 0)
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        return train.run(), runs

    return call


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(*overrides: str, sweep: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        compose_all(overrides, sweep)
    return str(caught.value).partition("\n  ")[2]


def test_an_option_on_the_search_path_is_no_fault_beside_another(tmp_path: Path) -> None:
    write(tmp_path / "ppo/mine.yaml", "defaults: [default]\nmax_kl: 7.0\n")
    place = f"hydra.searchpath=[{tmp_path}]"
    assert refusal(place, "ppo=mine", "ppo.gama=1") == "ppo.gama=1: no such key; did you mean ppo.gamma?"
    assert refusal(place, "ppo=mien").endswith("did you mean mine?")
    assert "     mine\n" in help_text([place])


@pytest.mark.more_than_first(2)
@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("ppo", b"defaults: [default]\ngamma: [0.9\n", "line 3, column 1: expected ',' or ']'"),
        ("study", b"seed: 4\n", "its keys were put under 'study'; its first line must be '# @package _gl"),
        ("study", b"\xef\xbb\xbf# @package _global_\nseed: 4\n", "a byte order mark (BOM) hides it"),
        ("ppo", "# für\n".encode("latin-1"), "is no UTF-8 text (byte 3)"),
        ("ppo", b"gamma: 0.9\ngamma: 1\n", "line 2, column 1: found duplicate key gamma"),
        ("ppo", b"defaults: {a: 1}\n", "defaults must be a list"),
    ],
)
def test_a_faulty_file_is_named_with_its_cause(file: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"{file}/mine.yaml", "")
    path.write_bytes(content)
    sign = "" if file == "ppo" else "+"
    (line,) = refusal(f"hydra.searchpath=[{tmp_path}]", f"{sign}{file}=mine").splitlines()
    assert str(path) in line
    assert said in line


def test_hydras_flags_mean_for_the_run_what_they_mean_for_the_check(typed: Command, tmp_path: Path) -> None:
    shutil.copytree(conf_dir(), tmp_path / "own")
    write(tmp_path / "own/small.yaml", "defaults: [config, _self_]\nseed: 8\n")
    write(tmp_path / "more/study/mine.yaml", "# @package _global_\nppo: {gamma: 0.5}\n")
    flags = ("--config-path", "own", "-cn", "small", "-cd", "more")
    code, (ran,) = typed("eval.games=3", *flags, "+study=mine")
    assert code == 0
    (config,) = (one.config for one in compose_all(ran.overrides, False, ran.sources))
    assert (config, config.seed, config.ppo.gamma, config.eval.games) == (ran.config, 8, 0.5, 3)


@pytest.mark.more
def test_flags_in_any_order_and_flags_that_do_not_fit(
    typed: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    code, runs = typed("seed=1", "-m", "fusion=concat,cross_attn", "--config-name", "config")
    assert (code, [run.config.name for run in runs]) == (0, ["concat-warmup-s1", "cross_attn-warmup-s1"])
    for arguments, said in (
        (("--info", "all", "-m"), "--multirun and --info exclude each other"),
        (("--package", "ppo"), "write --cfg job --package"),
        (("--cfg", "job", "-p", "nowhere"), "--package nowhere: no such key"),
        (("--cfg", "job", "sed=1"), "sed=1: no such key; did you mean seed?"),
        (("--config-path", "nowhere"), "there is no folder"),
        (("--config-name", "confg"), "did you mean config?"),
        (("hydra.searchpath=[pkg://nowhere]",), "there is no"),
    ):
        assert typed(*arguments) == (2, [])
        assert said in capsys.readouterr().err


def test_what_hydra_sets_for_a_job_is_there_when_it_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS", "1")
    read = 'ppo.num_steps="${oc.decode:${oc.env:STEPS}}"'
    assert compose(['+hydra.job.env_set.STEPS="70"', read]).config.ppo.num_steps == 70
    assert compose([read, "ppo.minibatch_size=8"]).config.ppo.num_steps == 1


@pytest.mark.more
def test_the_printed_commands_do_the_same_again(
    typed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's own and that of its parent stage; pasted where no other variable is set."""
    own = tmp_path / "my conf"
    shutil.copytree(conf_dir(), own)
    write(own / "ppo/default.yaml", (own / "ppo/default.yaml").read_text().replace("gamma:", "gamma: 0.5 #"))
    write(tmp_path / "more/study/mine.yaml", "# @package _global_\npolicy: {dropout: 0.25}\n")
    write(tmp_path / "labels/label/other.yaml", "# @package _global_\nppo: {gae_lambda: 0.5}\n")
    monkeypatch.setenv("TEDG_CONF_DIR", str(own))
    monkeypatch.setenv("ARRAY", "5")
    (ran,) = typed(
        *('seed="${oc.decode:${oc.env:ARRAY}}"', "+study=mine", "stage=transition", "name=mine"),
        *("hydra.searchpath=[more]", "--config-dir", "labels", "+label=other"),
    )[1]
    here = ("hydra.searchpath=[more]",)
    printed = command(ran), parent_command(ran)
    monkeypatch.delenv("ARRAY")
    monkeypatch.delenv("TEDG_CONF_DIR")
    for line, expected in (
        (printed[0], ran.config),
        (printed[1], compose((*here, "+label=other", "+study=mine", "seed=5"), ran.sources).config),
    ):
        variable, interpreter, *arguments = shlex.split(line)
        assert line.startswith(f"TEDG_CONF_DIR='{own}' ")
        assert (variable, interpreter) == (f"TEDG_CONF_DIR={own}", sys.executable)
        with monkeypatch.context() as patch:
            patch.setenv(*variable.split("="))
            (again,) = typed(*arguments[2:])[1]
        assert run_id(again.config, None) == run_id(expected, None)


@pytest.mark.more
def test_the_command_of_a_sweeps_job_is_that_jobs() -> None:
    job = compose_all(["hydra.mode=MULTIRUN", "hydra.job.name=x", "seed=1,2"], False)[1]
    assert shlex.split(command(job))[3:] == ["-m", "hydra.job.name=x", "seed=2"]


def test_values_of_the_environment_are_recorded_unless_they_may_be_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "study/mine.yaml", "# @package _global_\nppo: {gamma: '${oc.decode:${oc.env:GAMMA}}'}\n")
    for name, value in {"GAMMA": "0.75", "KIND": "bfloat16", "TOKEN": "12345", "SIZES": "[4, 5]"}.items():
        monkeypatch.setenv(name, value)
    composed = compose(
        [
            *(f"hydra.searchpath=[{tmp_path}]", "+study=mine", "precision=${oc.env:KIND}"),
            *('policy.router_hidden="${oc.decode:${oc.env:SIZES}}"', "name=g-${ppo.gamma}"),
            *("paths.output_dir=${oc.env:TOKEN}", "init_except=['${oc.env:TOKEN}']"),
        ]
    )
    saved = composed.saved
    assert (saved["ppo"]["gamma"], saved["precision"], saved["name"]) == (0.75, "bfloat16", "g-0.75")
    assert saved["policy"]["router_hidden"] == [4, 5]
    assert "12345" not in str(saved) + command(composed)


@pytest.mark.more_than_first(2)
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("eval.first_seed=2e9", "must be at least 0 and below 2**30 = 1073741824"),
        ("vision=null", "vision=null: must be one of glyph, state"),
        ("eval.games='\"12\"'", "eval.games=12: must be a whole number; this is text"),
        ("ppo.minibatch_size=1e8", "env.num_envs * ppo.num_steps = 8192"),
        ("ppo.normalise_rewards='\"true\"'", "must be true or false; this is text"),
        ("fusion/gate=[topk,tpok]", "fusion/gate=tpok: must be one of"),
    ],
)
def test_messages_say_what_is_meant(override: str, said: str) -> None:
    assert said in refusal(*shlex.split(override))


@pytest.mark.more
def test_text_from_the_environment_names_the_way_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "6")
    advice = re.search(r"write '(.*)'", refusal("env.num_envs=${oc.env:NAME}"))
    assert advice is not None
    assert compose([advice[1], "ppo.minibatch_size=8"]).config.env["num_envs"] == 6


def test_a_value_with_signs_of_hydras_names_the_quotes_that_work() -> None:
    line = refusal("init_from=runs(1)/lr=2").rpartition(": ")[2]
    (advised,) = shlex.split(line)
    assert advised == 'init_from="runs(1)/lr=2"'
    assert "init_from=runs(1)/lr=2: must be auto, none" in refusal(advised)


def test_a_number_is_written_in_one_form_wherever_it_stands() -> None:
    config = compose(["env.num_envs=4e1", "name=n-${env.num_envs}", "ppo.minibatch_size=8"]).config
    assert (config.name, config.env["num_envs"]) == ("n-40", 40)


@pytest.mark.more
def test_a_key_of_some_jobs_of_a_sweep() -> None:
    (line,) = refusal("routing=softmax,topk_softmax", "routing.k=3", sweep=True).splitlines()
    assert line.startswith("routing.k=3: the jobs with routing=softmax have no such key; give them a sweep")
    (line,) = refusal("fusion=concat,cross_attn", "fusion.head_dim=8", sweep=True).splitlines()
    assert line.startswith(
        "fusion.head_dim=8: the jobs with fusion=concat have no such key; give them a sweep"
    )


@pytest.mark.more
def test_a_key_that_all_jobs_of_a_sweep_have_and_the_default_has_not(tmp_path: Path) -> None:
    for name in ("two", "three"):
        write(tmp_path / f"routing/{name}.yaml", "defaults: [topk_softmax]\n")
    sweep = (f"hydra.searchpath=[{tmp_path}]", "routing=two,three")
    advised = refusal(*sweep, "routing.k=3", sweep=True).rpartition(" ")[2]
    assert advised == "++routing.k=3"
    assert [one.config.routing["k"] for one in compose_all([*sweep, advised], True)] == [3, 3]


@pytest.mark.parametrize("size", [10, 2_500_000])
def test_the_earlier_projects_graph_names_its_converter(size: int, tmp_path: Path) -> None:
    path = write(tmp_path / "my graph.json", '{"edges": [], "nodes": [' + " " * size + '{"x": 1.5}]}')
    line = refusal(f'env.hypergraph="{path}"')
    assert f"convert it: {sys.executable} -m tedg.hypergraph.convert '{path}' 'my graph.yaml'" in line


def test_the_folder_of_a_flag_has_to_be_there(tmp_path: Path) -> None:
    flags = train.flags_parser().parse_args(["-cd", str(tmp_path / "none")])
    with pytest.raises(ConfigError, match=r"--config-dir .*none: there is no folder"):
        Sources.asked_for(flags)
