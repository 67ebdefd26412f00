"""The doctor: every line that can be red is, with what to do; damaged runs are named file by file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from tedg.doctor import arithmetic, contents, game, installation, machine
from tedg.doctor.__main__ import run
from tedg.doctor.line import Line, found
from tedg.doctor.place import place
from tedg.errors import ConfigError
from tedg.run import locked
from tedg.store import checkpoint

ROOT = Path(__file__).parents[1]
GIB = 2**30


def told(lines: Iterator[Line]) -> dict[str, Line]:
    """Lines by their names; the worst of those that share one."""
    worst: dict[str, Line] = {}
    order = ("ok", "warn", "bad")
    for line in lines:
        if line.verdict != "ok":
            assert line.remedy or line.name == "checkpoints", line
        if line.name not in worst or order.index(line.verdict) > order.index(worst[line.name].verdict):
            worst[line.name] = line
    return worst


# The installation


@pytest.fixture
def pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[str], str]], dict[str, Line]]:
    """What is said where requirements.lock is changed."""

    def look(change: Callable[[str], str]) -> dict[str, Line]:
        place = tmp_path / "requirements.lock"
        place.write_text(change((ROOT / "requirements.lock").read_text()))
        monkeypatch.setattr(locked, "PLACES", (place,))
        return told(installation.lines())

    return look


def test_a_line_that_the_lock_lacks(pinned: Callable[..., dict[str, Line]]) -> None:
    whole = pinned(lambda text: text)
    assert "lock" not in whole
    without = "".join(
        line + "\n"
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if not line.startswith("safetensors==")
    )
    line = pinned(lambda _: without)["lock"]
    assert (line.verdict, line.said) == ("bad", "requirements.lock has no line for safetensors")


def test_other_and_missing_versions(
    pinned: Callable[..., dict[str, Line]], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = pinned(lambda text: text.replace("\nrich==", "\nrich==0.0.1 # "))["versions"]
    assert line.verdict == "warn"
    assert "rich " in line.said
    assert "(locked 0.0.1)" in line.said
    installed = locked._installed
    monkeypatch.setattr(locked, "_installed", lambda name: None if name == "nle" else installed(name))
    line = pinned(lambda text: text)["versions"]
    assert line.verdict == "bad"
    assert line.said.startswith("not installed: nle")
    monkeypatch.setattr(locked, "PLACES", ())
    assert told(installation.lines())["versions"].verdict == "warn"


def test_a_python_that_does_not_fit() -> None:
    wanted = metadata("tedg")["Requires-Python"]
    assert installation._python(wanted, "3.10.4").verdict == "bad"
    assert installation._python(wanted, "3.12.0").verdict == "ok"


# The machine


class Usage:
    """Of a disk."""

    def __init__(self, free: int) -> None:
        self.free = free


@pytest.mark.parametrize(
    ("memory", "room", "verdict"),
    [(GIB // 2, GIB // 2, "bad"), (2 * GIB, 5 * GIB, "warn"), (64 * GIB, 64 * GIB, "ok")],
)
def test_memory_and_room(
    memory: int, room: int, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.memory(memory).verdict == verdict
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(room))
    for path in (tmp_path, tmp_path / "not" / "there"):
        assert machine.folder("outputs/", path).verdict == verdict
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file in the way")
    for name, path in (("outputs/", tmp_path / "outputs"), ("temporary", Path("/proc/nowhere"))):
        line = machine.folder(name, path)
        assert line.verdict == "bad"
        assert str(path.parent if name == "temporary" else path) in line.said
    assert machine.shared_memory(Path("/proc/shm")).verdict == "warn"
    assert list(tmp_path.iterdir()) == [tmp_path / "outputs"]


def test_busy_cores() -> None:
    assert machine.cores(2, 1.5).verdict == "ok"
    assert machine.cores(2, 5.0).verdict == "warn"


def commands(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Puts scripts where commands are found, and nothing else."""
    folder.mkdir()
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(tmp_path / "none", monkeypatch)
    assert machine.slurm().verdict == "ok"
    commands(tmp_path / "some", monkeypatch, squeue="", sbatch="", srun="")
    assert machine.slurm().said == "there is no scontrol"
    rest = dict.fromkeys(("sbatch", "srun", "scontrol"), "")
    commands(tmp_path / "all", monkeypatch, squeue="", **rest)
    assert machine.slurm().verdict == "ok"
    commands(tmp_path / "fails", monkeypatch, squeue="echo no controller >&2; exit 1", **rest)
    assert machine.slurm() == Line("warn", "SLURM", "squeue fails: no controller", machine.slurm().remedy)
    monkeypatch.setattr(machine, "SLURM_SECONDS", 0.1)
    commands(tmp_path / "hangs", monkeypatch, squeue="exec /bin/sleep 20", **rest)
    assert "gave no answer" in machine.slurm().said


# PyTorch and NetHack


def test_gpus_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(arithmetic, "_LISTED", str(tmp_path / "nvidia[0-9]"))
    assert [line.verdict for line in arithmetic.gpu()] == ["ok"]
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(torch.version, "cuda", None)
    assert [line.verdict for line in arithmetic.gpu()] == ["warn"]
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert [line.verdict for line in arithmetic.gpu()] == ["bad"]


@pytest.mark.parametrize(("replayed", "verdict"), [(256.0, "ok"), (64.0, "bad"), (None, "warn")])
def test_graphs(replayed: float | None, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no GPU, tensors lie on the CPU and a capture is a double."""
    results: list[torch.Tensor] = []
    zeros = torch.zeros_like

    def kept(value: torch.Tensor) -> torch.Tensor:
        results.append(zeros(value))
        return results[-1]

    def capture(function: Callable[[], None], undo: Callable[[], None]) -> Callable[[], Any]:
        if replayed is None:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        return lambda: results[-1].fill_(replayed)

    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *size, device: ones(*size))
    monkeypatch.setattr(torch, "zeros_like", kept)
    monkeypatch.setattr(arithmetic, "cuda_graph", capture)
    line = arithmetic.graph()
    assert line.verdict == verdict
    if replayed is None:
        assert line.said == "not captured: operation not permitted when stream is capturing"


def test_the_matrix_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "SECONDS", 0.05)
    threads = torch.get_num_threads()
    line = arithmetic.rate(torch.device("cpu"), 1)
    assert line.said.endswith(" GFLOP/s in float32 on 1 core")
    assert float(line.said.partition(" ")[0].replace(",", "")) > 0.1
    assert torch.get_num_threads() == threads
    assert arithmetic.judged(4e9, "cpu", 2).verdict == "warn"
    assert arithmetic.judged(40e9, "cpu", 2).verdict == "ok"


def process(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_game_that_fails_crashes_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = game.lines(process("raise ImportError('no module nle')"))
    assert line.said == "a game ended with code 1: ImportError: no module nle"
    (line,) = game.lines(process("import os; os.kill(os.getpid(), 11)"))
    assert line.said.startswith("a game ended with code -11")
    monkeypatch.setattr(game, "SECONDS", 0.2)
    (line,) = game.lines(process("import time; time.sleep(30)"))
    assert (line.verdict, line.said) == ("bad", "no game within 0.2 s")


def test_a_check_that_fails_itself_is_a_line() -> None:
    def check() -> Iterator[Line]:
        yield Line("ok", "first", "fine")
        raise OSError("gone\nfor good")

    lines = list(found("second", check))
    assert [(line.verdict, line.name) for line in lines] == [("ok", "first"), ("bad", "second")]
    assert lines[1].said == "OSError: gone for good"


@pytest.mark.more
def test_the_command_looks_at_everything_in_seconds(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tedg.doctor"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - begun < 60
    names = [
        line[6:25].strip() for line in done.stdout.splitlines() if line.startswith(("ok", "warn", "bad"))
    ]
    expected = "tedg Python versions cores memory outputs/ multirun/ temporary /dev/shm SLURM NLE PyTorch GPU"
    assert names[:13] == expected.split()
    assert "matrix rate" in names
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[-1].endswith(" 0 bad")
    assert list(tmp_path.iterdir()) == []


# A run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run that has not ended, with two checkpoints, as its files are."""
    path = tmp_path / "v4-0123456789"
    path.mkdir()
    (path / "config.yaml").write_text("name: v4\nseed: 3\nstage: {name: warmup}\neval: {games: 2}\n")
    session = {"started": "2026-01-01T00:00:00+00:00", "device": "cpu", "environment": {"differs": {}}}
    (path / "provenance.json").write_text(json.dumps({"run_id": "0123456789", "sessions": [session]}))
    rows = "".join(json.dumps({"update": n, "env_steps": 64 * n}) + "\n" for n in (1, 2, 3))
    (path / "metrics.jsonl").write_text(rows)
    (path / "timing.jsonl").write_text(rows)
    header = "update,env_steps,env,seed,length,episode_return,score,depth,turns,end\n"
    (path / "episodes.csv").write_text(header + "1,64,3,17,500,12.25,13.0,2,480,truncated\n")
    for update in (2, 3):
        weights = {"model": {"w": torch.full((4,), float(update))}}
        state = {"run": {"update": update, "env_steps": 64 * update}}
        checkpoint.save(
            path / "checkpoints", update, weights, state, {"commit": "ab" * 20}, quality=1.0 / update
        )
    return path


def test_a_whole_run(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(contents.lines(run_dir))
    assert {name for name, line in lines.items() if line.verdict != "ok"} == {"result.json"}
    assert lines["config.yaml"].said == "v4, seed 3, stage warmup"
    assert lines["metrics.jsonl"].said == "3 rows, up to update 3"
    assert lines["ckpt-000000000002"].said.endswith("MB, best")
    assert lines["ckpt-000000000003"].said.endswith("MB, newest")
    assert run(["--run", str(run_dir)]) == 0
    assert "-> the command in provenance.json goes on with it" in capsys.readouterr().out


DAMAGES: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "a flipped bit": (
        lambda path: flip(path / "checkpoints" / "ckpt-000000000003" / "model.safetensors"),
        "ckpt-000000000003",
        "damaged: model.safetensors was altered",
    ),
    "a missing file": (
        lambda path: (path / "checkpoints" / "ckpt-000000000003" / "state.json").unlink(),
        "ckpt-000000000003",
        "damaged: state.json: No such file",
    ),
    "a cut file": (
        lambda path: os.truncate(path / "checkpoints" / "ckpt-000000000002" / "model.safetensors", 9),
        "ckpt-000000000002",
        "damaged: model.safetensors has 9 bytes instead of",
    ),
    "no rows": (lambda path: (path / "metrics.jsonl").unlink(), "metrics.jsonl", "is missing"),
    "few rows": (
        lambda path: (path / "metrics.jsonl").write_text('{"update": 1}\n'),
        "metrics.jsonl",
        "ends before the newest checkpoint, that of update 3",
    ),
    "a gap": (
        lambda path: (path / "timing.jsonl").write_text('{"update": 1}\n{"update": 3}\n'),
        "timing.jsonl",
        "updates are missing or out of order",
    ),
    "a wrong row": (
        lambda path: (path / "episodes.csv").open("a").write("x,y\n"),
        "episodes.csv",
        "has a damaged row",
    ),
    "no provenance": (lambda path: (path / "provenance.json").unlink(), "provenance.json", "is missing"),
    "a wrong result": (
        lambda path: (path / "result.json").write_text('{"status": "done"}'),
        "result.json",
        "its status is 'done'",
    ),
    "an empty configuration": (
        lambda path: (path / "config.yaml").write_text(""),
        "config.yaml",
        "is damaged",
    ),
    "a wrong record": (lambda path: (path / "record.json").write_text("{}"), "record.json", "record.json"),
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run(damage: str, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    do, name, said = DAMAGES[damage]
    do(run_dir)
    line = told(contents.lines(run_dir))[name]
    assert line.verdict == "bad"
    assert said in line.said
    assert run(["--run", str(run_dir)]) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("1 bad")


def test_what_a_crash_left_is_no_damage(run_dir: Path) -> None:
    with (run_dir / "metrics.jsonl").open("a") as torn:
        torn.write('{"update": 4, "tr')
    (run_dir / "checkpoints" / "ckpt-000000000004.tmp-99").mkdir()
    lines = told(contents.lines(run_dir))
    assert lines["metrics.jsonl"] == Line(
        "warn",
        "metrics.jsonl",
        "3 rows, up to update 3, and a torn line",
        "nothing: the next start removes it",
    )
    assert lines["unfinished"].said == "checkpoints/ckpt-000000000004.tmp-99"
    assert not [line for line in lines.values() if line.verdict == "bad"]


def test_games_that_a_result_counts_and_no_table_has(run_dir: Path) -> None:
    row = {"games": 2, "mean_score": 5.0, "standard_error": 1.0}
    (run_dir / "result.json").write_text(json.dumps({"status": "finished", "evaluation": {"policy": row}}))
    lines = told(contents.lines(run_dir))
    assert lines["games.csv"].said == "is missing, and result.json counts games"
    assert lines["result.json"].said == "finished, None updates, held-out score 5.0"


def test_no_checkpoint_can_be_read(run_dir: Path) -> None:
    for path in (run_dir / "checkpoints").iterdir():
        flip(path / "model.safetensors")
    assert told(contents.lines(run_dir))["checkpoints"].said == "none of 2 can be read"


def test_a_checkpoint_alone(run_dir: Path) -> None:
    path = run_dir / "checkpoints" / "ckpt-000000000002"
    lines = told(contents.lines(place(str(path))))
    assert lines["model"].said == "1 tensors, 4 numbers"
    assert lines["run"].said == "after update 2, 128 env steps"
    assert lines["made by"].said == f"commit {'ab' * 6}"
    flip(path / "model.safetensors")
    assert told(contents.lines(path))[path.name].verdict == "bad"
    other = checkpoint.save(run_dir / "other", 1, {"rng": {"x": torch.tensor([float("nan")])}}, {"run": None})
    assert told(contents.lines(other))["rng"].verdict == "bad"


def test_mistyped_directories(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=rf"there is no run .*678, here or in .*; did you mean {run_dir}\?"):
        place(str(run_dir)[:-1])
    with pytest.raises(ConfigError, match="is a folder of runs, name one of them: v4-0123456789"):
        place(str(tmp_path))
    (tmp_path / "multirun" / "study").mkdir(parents=True)
    run_dir.rename(tmp_path / "multirun" / "study" / run_dir.name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"did you mean multirun/study/v4-0123456789\?"):
        place("v4-0123456788")
    assert run(["--run", "v4-0123456788"]) == 2
