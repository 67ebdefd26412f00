"""Trackers that hang, fail or have no room: training goes on at full speed, with exactly one warning."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.runs import assert_equal, contents, run
from support.settings import FASTEST, TINY

from tedg.config.compose import Composed, compose
from tedg.config.run_config import WandbConfig
from tedg.errors import ConfigError
from tedg.run.identity import run_id
from tedg.store import runlog, trackers, wandb
from tedg.store.tensorboard import TensorBoard
from tedg.store.trackers import Trackers

HANGS = 60.0  # seconds; no test waits for it
ROOT = Path(__file__).parents[1]


class Double:
    """A tracker that keeps what it is given; `trouble` is what its calls do first."""

    def __init__(self, trouble: Callable[[], Any] = lambda: None) -> None:
        self.trouble = trouble
        self.rows: list[tuple[int, Mapping[str, float]]] = []
        self.calls = 0
        self.ended = False

    def write(self, step: int, wall_time: float, figures: Mapping[str, float]) -> None:
        self.calls += 1
        self.trouble()
        self.rows.append((step, figures))

    def close(self) -> None:
        self.ended = True

    def abandon(self) -> None:
        self.ended = True


@pytest.fixture
def hanging() -> Iterator[Callable[[], Any]]:
    """A call that does not return before the test has ended."""
    over = threading.Event()
    yield lambda: over.wait(HANGS)
    over.set()


def full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def broken() -> None:
    raise ValueError("the client has a bug")


def gone() -> None:
    raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def test_finite_numbers_arrive_in_order_and_before_the_end() -> None:
    double, warnings = Double(), []
    mirror = Trackers({"double": lambda: double}, warnings.append)
    for step in range(50):
        mirror.write(step, {"x": step, "bad": float("nan"), "none": None, "text": "x"})
    mirror.close()
    assert double.rows == [(step, {"x": float(step)}) for step in range(50)]
    assert double.ended
    mirror.write(51, {"x": 1.0})
    mirror.close()
    assert (warnings, len(double.rows)) == ([], 50)


@pytest.mark.parametrize("trouble", [full, broken, gone, sys.exit])
def test_a_tracker_that_fails_is_off_after_one_warning(trouble: Callable[[], None]) -> None:
    double, other, warnings = Double(trouble), Double(), []
    mirror = Trackers({"It": lambda: double, "another": lambda: other}, warnings.append)
    for step in range(50):
        mirror.write(step, {"x": 1.0})
        time.sleep(0.001)
    mirror.close()
    (warning,) = warnings
    assert warning.startswith("It is off: ")
    assert warning.endswith("training goes on, and metrics.jsonl has every row")
    assert (double.calls, double.ended) == (1, True)
    assert len(other.rows) == 50


@pytest.mark.parametrize("where", ["made", "written to", "closed"])
def test_a_tracker_that_hangs_is_waited_for_at_the_end_and_for_so_long(
    where: str, hanging: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(trackers, "MOST_WAITING", 10)
    double = Double(hanging if where == "written to" else lambda: None)
    if where == "closed":
        monkeypatch.setattr(double, "close", hanging)

    def make() -> Double:
        if where == "made":
            hanging()
        return double

    warnings: list[str] = []
    mirror = Trackers({"It": make}, warnings.append)
    begun = time.monotonic()
    for step in range(8 if where == "closed" else 200):
        mirror.write(step, {"x": 1.0})
    written = time.monotonic()
    mirror.close()
    assert written - begun < 0.1
    assert 0.19 < time.monotonic() - written < 2
    (warning,) = warnings
    said = "did not take its last rows" if where == "closed" else "cannot keep up, so rows are missing"
    assert said in warning
    assert double.ended is (where != "made")


def test_a_call_that_takes_long_is_told_before_rows_are_missing(
    hanging: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.05)
    warnings: list[str] = []
    mirror = Trackers({"It": lambda: Double(hanging)}, warnings.append)
    mirror.write(1, {"x": 1.0})
    time.sleep(0.1)
    mirror.write(2, {"x": 1.0})
    mirror.close()
    (warning,) = warnings
    assert warning.startswith("It has not answered for 0.05 s; ")


def events(folder: Path) -> list[Any]:
    """All events of the one file in a folder."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    found, content = [], path.read_bytes()
    while content:
        size = int.from_bytes(content[:8], "little")
        found.append(Event.FromString(content[12 : 12 + size]))
        content = content[16 + size :]
    return found


def test_tensorboard_holds_what_was_written(tmp_path: Path) -> None:
    warnings: list[str] = []
    mirror = Trackers({"TensorBoard": lambda: TensorBoard(tmp_path / "tb", 5)}, warnings.append)
    mirror.write(10, {"train/kl": 0.5, "bad": float("nan"), "update": 1})
    mirror.close()
    assert warnings == []
    found = events(tmp_path / "tb")
    assert [event.step for event in found] == [0, 5, 10]
    assert {v.tag: v.simple_value for v in found[2].summary.value} == {"train/kl": 0.5, "update": 1.0}


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event files lie on a disk that is full."""
    from tensorboardX import record_writer

    monkeypatch.setattr(record_writer, "open_file", lambda path: open("/dev/full", "wb"))  # noqa: SIM115


# What a full disk refused is still in the buffer of a file, which cannot be closed.
no_room = pytest.mark.filterwarnings("ignore::ResourceWarning")


@no_room
@pytest.mark.usefixtures("full_disk")
def test_tensorboard_without_a_place_or_room_is_off(tmp_path: Path) -> None:
    warnings: list[str] = []
    blocked = tmp_path / "file"
    blocked.write_text("")
    mirror = Trackers({"TensorBoard": lambda: TensorBoard(blocked)}, warnings.append)
    mirror.close()
    assert "TensorBoard is off: FileExistsError" in warnings[0]
    mirror = Trackers({"TensorBoard": lambda: TensorBoard(tmp_path / "tb")}, warnings.append)
    for step in range(20):
        mirror.write(step, {"x": 1.0})
        time.sleep(0.002)
    mirror.close()
    assert len(warnings) == 2
    assert "TensorBoard is off: OSError: [Errno 28] No space left on device" in warnings[1]


# Whole runs

LONGER = (*FASTEST, "budget.env_steps=256", "checkpoint.every_updates=2")


@pytest.fixture(scope="module")
def untroubled(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The result and the directory of a run whose TensorBoard works."""
    run_dir = tmp_path_factory.mktemp("untroubled") / "run"
    result, console = run(compose([*TINY, *LONGER, "logger=tensorboard"]).config, run_dir)
    assert not [text for text in console.warnings if "TensorBoard" in text]
    return result, run_dir


@pytest.mark.more
@no_room
@pytest.mark.parametrize("trouble", ["hangs", "fails", "no room"])
def test_training_goes_on_at_full_speed_with_one_warning(
    trouble: str,
    compose_tiny: Callable[..., Composed],
    untroubled: tuple[dict[str, Any], Path],
    hanging: Callable[[], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if trouble == "no room":
        request.getfixturevalue("full_disk")
    else:
        double = Double(hanging if trouble == "hangs" else broken)
        monkeypatch.setattr(runlog, "TensorBoard", lambda *_: double)
    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.2)
    _, console = run(compose_tiny(*LONGER, "logger=tensorboard").config, tmp_path / "run")
    (warning,) = [text for text in console.warnings if "TensorBoard" in text]
    assert "training goes on" in warning
    rows = [json.loads(line) for line in (tmp_path / "run" / "timing.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert max(row["time/storage"] for row in rows) < 1  # a call that was waited for takes a minute
    assert_equal(contents(tmp_path / "run"), contents(untroubled[1]))


@pytest.mark.more
def test_held_out_scores_are_shown_at_the_end(untroubled: tuple[dict[str, Any], Path]) -> None:
    result, run_dir = untroubled
    last = events(run_dir / "tensorboard")[-1]
    shown = {value.tag: value.simple_value for value in last.summary.value}
    assert last.step == 256
    for player in ("policy", "random"):
        own = result["evaluation"][player]
        assert shown[f"held_out/{player}/mean_score"] == pytest.approx(own["mean_score"])


def test_no_logger_counts_in_a_runs_id() -> None:
    options = ("logger=none", "logger=tensorboard", "logger=wandb logger.wandb.project=x")
    assert len({run_id(compose([*TINY, *one.split()]).config, None) for one in options}) == 1


# Weights & Biases

CLIENT = """
    import json, os, time
    BEGUN = {}
    class Settings:
        def __init__(self, **options): pass
    class Run:
        def log(self, figures, step):
            with open(os.path.join(BEGUN["dir"], "seen"), "a") as file:
                print(json.dumps([step, figures["train/kl"]]), file=file)
        def finish(self): %s
    def init(**options):
        %s
        BEGUN.update(options)
        with open(os.path.join(options["dir"], "begun"), "w") as file:
            json.dump({key: value for key, value in options.items() if key != "settings"}, file)
        return Run()
"""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a client in the place of the real one; it does something in `init`, and in `finish`."""

    def install(begins: str = "pass", ends: str = "pass") -> None:
        (tmp_path / "client").mkdir()
        (tmp_path / "client" / "wandb.py").write_text(textwrap.dedent(CLIENT % (ends, begins)))
        monkeypatch.syspath_prepend(str(tmp_path / "client"))

    return install


def mirrored(run_dir: Path, rows: int, warnings: list[str]) -> None:
    settings = WandbConfig("tedg", None, "offline")
    mirror = Trackers({"It": lambda: wandb.WeightsAndBiases(run_dir, settings)}, warnings.append)
    for step in range(rows):
        mirror.write(step, {"train/kl": step / 2})
    mirror.close()


def test_rows_reach_the_client_in_another_process(client: Callable[..., None], tmp_path: Path) -> None:
    client()
    run_dir = tmp_path / "run-0123456789"
    run_dir.mkdir()
    (run_dir / "config.yaml").write_text("seed: 3\neval: {games: 2}\nname: ${oc.env:TOKEN}\n")
    (run_dir / "provenance.json").write_text('{"run_id": "0123456789", "sessions": [{}]}')
    warnings: list[str] = []
    mirrored(run_dir, 3, warnings)
    assert warnings == []
    assert (run_dir / "seen").read_text().splitlines() == ["[0, 0.0]", "[1, 0.5]", "[2, 1.0]"]
    begun = (run_dir / "begun").read_text()
    assert '"id": "0123456789", "name": "run-0123456789"' in begun
    assert '"mode": "offline"' in begun
    assert '"name": "${oc.env:TOKEN}"' in begun


def test_what_the_client_says_is_the_warning(client: Callable[..., None], tmp_path: Path) -> None:
    client("raise RuntimeError('api_key not configured')")
    warnings: list[str] = []
    mirrored(tmp_path, 3, warnings)
    (warning,) = warnings
    assert warning.startswith("It is off: RuntimeError: api_key not configured (all of it is in ")


def test_a_client_that_never_ends_is_killed(
    client: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[Any]
) -> None:
    client(ends="time.sleep(60)")
    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.7)
    warnings: list[str] = []
    begun = time.monotonic()
    mirrored(tmp_path, 3, warnings)
    assert time.monotonic() - begun < 5
    (warning,) = warnings
    assert "did not take its last rows within 0.7 s" in warning
    assert started[0].wait(5) == -9


def test_a_missing_package_is_told_before_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wandb, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"logger=wandb needs .*python\S* -m pip install wandb"):
        wandb.require_package(compose([*TINY, "logger=wandb"]).config.logger)
    wandb.require_package(compose([*TINY, "logger=tensorboard"]).config.logger)


@pytest.mark.more
@pytest.mark.parametrize("more", [[], ["-m", "seed=0,1"]])
def test_the_command_without_the_package_ends_with_2_and_one_line(more: list[str], tmp_path: Path) -> None:
    code = "import sys; sys.modules['wandb'] = None; from tedg.train import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *TINY, "logger=wandb", *more],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: logger=wandb needs a package that is not installed: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
