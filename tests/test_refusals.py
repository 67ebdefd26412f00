"""What the command refuses before torch is imported or anything lies on the disk."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.forgery import Payload, reseal

from tedg.config.compose import compose, compose_all
from tedg.errors import ConfigError, StorageError
from tedg.files import unwritable
from tedg.run.starts import possible_starts
from tedg.store import checkpoint

REFUSE_IMPORT = "import sys; sys.modules['torch'] = None; from tedg.train import main; main()"


def refused(directory: Path, *arguments: str, before: tuple[str, ...] = ()) -> str:
    """What the command says; it ends with code 2, without torch, and leaves `directory` as it was."""
    content = sorted(directory.rglob("*"))
    done = subprocess.run(
        [*before, sys.executable, "-c", REFUSE_IMPORT, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(directory.rglob("*")) == content
    return done.stderr


@pytest.mark.more_than_first(3)
@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("paths.output_dir={0}",), "paths.output_dir={0}"),
        (("run_dir={0}/mine",), "run_dir={0}/mine"),
        (("-m", "seed=1,2", "paths.multirun_dir={0}"), "paths.multirun_dir={0}"),
        (("hydra.run.dir={0}",), "hydra.run.dir={0}"),
        (("-m", "seed=1,2", "hydra.sweep.dir={0}"), "hydra.sweep.dir={0}"),
    ],
)
@pytest.mark.parametrize("place", ["/proc/x", "/sys/x", "file/x", "file", "link", "link/x", "n" * 256])
def test_a_place_that_cannot_be_written(
    arguments: tuple[str, ...], key: str, place: str, tmp_path: Path
) -> None:
    """None of these lets root write either."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    filled = [argument.format(place) for argument in arguments]
    overrides = [argument for argument in filled if argument != "-m"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(ConfigError) as error:
            compose_all(overrides, multirun="-m" in filled)
    assert f"\n  {key.format(place)}: " in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize(
    "arguments", [("paths.output_dir=/proc/x",), ("-m", "seed=1,2", "paths.multirun_dir=file/x")]
)
def test_the_command_refuses_such_a_place_at_once(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    started = time.process_time(), os.times().children_user
    message = refused(tmp_path, *arguments)
    assert arguments[-1] in message
    # Processor time, since other tests run beside this one; an idle machine takes less than a second.
    assert os.times().children_user - started[1] < 3


@pytest.mark.more
def test_mode_bits(tmp_path: Path) -> None:
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere, and there is no setpriv to give that up")
        before = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all")
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    for arguments in (
        (f"paths.output_dir={closed}",),
        (f"run_dir={closed}/a/b",),
        ("-m", "seed=1,2", f"paths.multirun_dir={closed}/x"),
    ):
        message = refused(tmp_path, *arguments, before=before)
        assert f"{arguments[-1]}: {closed} is not writable (Permission denied)" in message


def test_trying_a_place_leaves_nothing_and_is_no_refusal(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert unwritable(tmp_path / "there") is None
    assert unwritable(tmp_path / "there" / "a" / "b") is None
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    assert "no path" in str(unwritable(Path("~nobody-of-this-name/x")))
    assert "NUL" in str(unwritable(Path("a\0b")))
    assert "no path" in str(unwritable(Path("\ud800")))


def test_only_what_this_run_writes_has_to_be_writable(tmp_path: Path) -> None:
    own = f"paths.output_dir={tmp_path}"
    assert compose([own, "paths.multirun_dir=/proc/x"])
    assert compose([f"run_dir={tmp_path}/x", "paths.output_dir=/proc/x"])


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_no_hypergraph(protocol: int, tmp_path: Path) -> None:
    for name in ("graph.yaml", "graph.json", "graph.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(Payload(tmp_path / "marker"), protocol))
        with pytest.raises(ConfigError, match=name):
            compose([f"env.hypergraph={tmp_path / name}"])
    assert not (tmp_path / "marker").exists()
    pickle.loads((tmp_path / "graph.pkl").read_bytes())  # it would have been run
    assert (tmp_path / "marker").exists()


def test_a_pickle_gives_no_first_weights(tmp_path: Path, compose_tiny: Any) -> None:
    """Not even with a manifest that fits it."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").touch()
    weights = checkpoint.save(run / "checkpoints", 1, {"model": {}}, {}) / "model.safetensors"
    weights.write_bytes(pickle.dumps(Payload(tmp_path / "marker")))
    reseal(weights.parent)
    composed = compose_tiny(f"init_from={run}")
    with pytest.raises(StorageError, match="none of the 1 checkpoints"):
        possible_starts(composed, [])
    with pytest.raises(ConfigError, match="init_from"):
        compose_tiny(f"init_from={weights}")
    assert not (tmp_path / "marker").exists()


def test_a_checkpoint_without_weights_is_no_start(tmp_path: Path, compose_tiny: Any) -> None:
    (tmp_path / "config.yaml").touch()
    checkpoint.save(tmp_path / "checkpoints", 1, {"rng": {}}, {})
    with pytest.raises(ConfigError, match="holds no weights"):
        possible_starts(compose_tiny(f"init_from={tmp_path}"), [])
    (tmp_path / "result.json").write_text('{"status": "finished"}')
    (tmp_path / "provenance.json").write_text("{}")
    with pytest.raises(StorageError, match="needs a run_id"):
        possible_starts(compose_tiny(f"init_from={tmp_path}"), [])
    (tmp_path / "provenance.json").write_text("[" * 100_000)
    with pytest.raises(StorageError, match="cannot be read"):
        possible_starts(compose_tiny(f"init_from={tmp_path}"), [])


@pytest.mark.more_than_first(4)
@pytest.mark.parametrize(
    ("group", "content", "override"),
    [
        ("fusion", "_target_: evil.Evil\nwidth: 1\n", "fusion=mine"),
        ("fusion", "defaults: [concat_matched]\nsize_of: {_target_: evil.Evil}\n", "fusion=mine"),
        ("ppo", "defaults: [default]\nextra: [{a: {_target_: evil.Evil}}]\n", "ppo=mine"),
        ("experiment", "# @package _global_\nstage: {routing: {_target_: evil.Evil}}\n", "+experiment=mine"),
        (
            "experiment",
            "# @package _global_\nhydra: {callbacks: {x: {_target_: evil.Evil}}}\n",
            "+experiment=mine",
        ),
    ],
)
@pytest.mark.parametrize("sweep", [False, True])
def test_a_hostile_target_in_a_file_of_somebody(
    group: str, content: str, override: str, sweep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / group).mkdir(parents=True)
    (tmp_path / "conf" / group / "mine.yaml").write_text(content)
    (tmp_path / "evil.py").write_text(
        f"import os\nos.mkdir({str(tmp_path / 'marker')!r})\nclass Evil:\n    def __init__(self, **_): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    overrides = [f"hydra.searchpath=[file://{tmp_path}/conf]", override]
    with pytest.raises(ConfigError, match=r"_target_=evil\.Evil: refused"):
        compose_all([*overrides, "seed=1,2"] if sweep else overrides, multirun=sweep)
    assert "evil" not in sys.modules
    assert not (tmp_path / "marker").exists()


def test_the_command_refuses_a_hostile_target_in_any_job(tmp_path: Path) -> None:
    message = refused(tmp_path, "-m", "fusion._target_=tedg.models.fusion.ConcatFusion,os.system")
    assert "fusion._target_=os.system: refused" in message


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", "the file is empty"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 100_000, "nested more than 20 levels deep"),
        (b'{"version": "1", "version": "2"}', "the key 'version' is given twice"),
        (b'{"num_actions": NaN}', "num_actions: must be an integer"),
        (b'{"num_actions": 1e999}', "num_actions: must be an integer"),
        (b'{"num_actions": ' + b"9" * 10_000 + b"}", "num_actions: 999"),
        (b'{"operators": [{"expert": "Nobody"}]}', "operators[0].expert: unknown expert"),
        (b'{"atoms": [{"name": ["x"]}]}', "atoms[0].name: must be text"),
        (b"#" * 2_000_001, "larger than"),
        (None, "no such hypergraph file; give one of the names"),
        (None, "python -m tedg.hypergraph.convert"),
    ],
)
def test_a_hypergraph_that_is_none(content: bytes | None, place: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        compose([f"env.hypergraph={path}"])
    assert any(
        line.startswith(f"  env.hypergraph={path}: ") and place in line
        for line in str(error.value).split("\n")
    )
    assert len(str(error.value)) < 3000


UNSAFE = [
    "..",
    "../x",
    "/x",
    "'a/b'",
    "'x\n'",
    "'\nx'",
    "'a\0b'",
    "x" * 81,
    "x" * 300,
    "' x'",
    "-x",
    ".x",
    "'é'",
    "''",
]


@pytest.mark.more_than_first(5)
@pytest.mark.parametrize(
    ("key", "name"),
    [
        *(("name", name) for name in UNSAFE),
        *((key, name) for key in ("paths.study", "stage.name", "stage.parent") for name in UNSAFE[1:6]),
    ],
)
def test_names_are_no_paths(key: str, name: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose([f"{key}={name}"])
    assert f"\n  {key}=" in str(error.value)
    assert "must be 1 to 80 letters, digits, '.', '_' or '-'" in str(error.value)


def test_a_study_does_not_lead_out_of_its_root(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "multirun").mkdir()
    (tmp_path / "multirun" / "mine").symlink_to(tmp_path / "elsewhere")
    sweep = ["seed=1,2", f"paths.multirun_dir={tmp_path}/multirun", "paths.study=mine"]
    with pytest.raises(ConfigError, match=r"paths\.study=mine: .* is a link to a place outside"):
        compose_all(sweep, multirun=True)
    (tmp_path / "linked").symlink_to(tmp_path / "multirun")  # the root itself may lie anywhere
    assert compose_all([*sweep[:1], f"paths.multirun_dir={tmp_path}/linked"], multirun=True)


@pytest.mark.more_than_first(7)
@pytest.mark.parametrize(
    "override",
    [
        "fusion._target_=[a]",
        "fusion._target_={a:1}",
        "+policy.extra={1:2}",
        f"env.num_envs={'9' * 400}",
        f"ppo.num_steps={'9' * 30}",
        f"ppo.gamma={'9' * 400}",
        f"init_from={'x' * 5000}",
        "env.hypergraph='~nobody-of-this-name/x.yaml'",
        "run_dir='~nobody-of-this-name/x'",
        "seed=${seed}",
        "seed=${hydra:nowhere}",
        "hydra.run.dir=${nowhere}",
        "hydra.sweeper.params={a:1}",
        "stage.parent=../../../etc/x",
        f"stage.parent={'x' * 300}",
    ],
)
def test_odd_values_are_faults_like_any_other(override: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose([override])
    assert override.partition("=")[0].lstrip("+").split("[")[0] in str(error.value)
    assert all(len(line) < 1100 for line in str(error.value).split("\n"))


@pytest.mark.parametrize("part", ["sweeper", "launcher"])
def test_a_sweep_needs_hydras_parts(part: str) -> None:
    with pytest.raises(ConfigError, match=f"hydra.{part}: has no _target_"):
        compose_all([f"hydra.{part}=null", "seed=1,2"], multirun=True)
