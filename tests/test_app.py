"""A run's life around its training: begun, resumed, finished, owned by one process, with its parent."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from support.stand_ins import FakeTraining, Lines

from tedg.config.compose import Composed
from tedg.errors import ConfigError, DivergedError, InUse, Stopped, StorageError
from tedg.files import write_json
from tedg.learn.setup import make_device
from tedg.run import app
from tedg.run.identity import earlier_id
from tedg.run.next_steps import after_a_run
from tedg.signals import stop_on_signals
from tedg.store import rundir

Compose = Callable[..., Composed]


def test_a_run_leaves_everything_that_names_it(compose_tiny: Compose, tmp_path: Path) -> None:
    said, training = Lines(), FakeTraining()
    composed = compose_tiny("fusion=concat")
    result = app.run(composed, training, said)
    assert result.trained
    assert result.run_dir == tmp_path / "outputs" / f"concat-warmup-s0-{result.run_id}"
    assert training.calls == [(result.run_dir, None)]
    stored = json.loads((result.run_dir / "result.json").read_text())
    assert stored["status"] == "finished"
    assert stored["run_id"] == result.run_id
    assert stored["loss"] is None  # JSON has no NaN
    written = OmegaConf.load(result.run_dir / "config.yaml")
    assert OmegaConf.to_container(written) == composed.saved
    provenance = json.loads((result.run_dir / "provenance.json").read_text())
    assert provenance["run_id"] == result.run_id
    assert provenance["parent"] is None
    (session,) = provenance["sessions"]
    assert session["versions"]["torch"]
    assert session["threads"] == 1
    assert len(session["code"]) == 64
    assert said.has(f"results in {result.run_dir}")
    for command in ("evaluate", "replay"):
        assert said.has(f"{sys.executable} -m tedg.{command} {result.run_dir}")
    assert not said.has(f"{sys.executable} -m tedg.compare {result.run_dir.parent}")  # with what, so far?
    assert said.has("python -m tedg.train env=fake")
    assert not list(result.run_dir.glob("*.tmp-*"))


def test_a_finished_run_does_nothing_and_tells_when_the_code_has_changed(
    compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = app.run(compose_tiny(), FakeTraining(), Lines())
    before = {path: path.stat().st_mtime_ns for path in first.run_dir.rglob("*")}
    said, training = Lines(), FakeTraining()
    again = app.run(compose_tiny("name=another-name"), training, said)
    assert not again.trained
    assert again.run_dir == first.run_dir
    assert again.values == json.loads((first.run_dir / "result.json").read_text())
    assert training.calls == []
    assert {path: path.stat().st_mtime_ns for path in first.run_dir.rglob("*")} == before
    assert said.has("nothing to do")
    assert not said.has("code has changed")
    monkeypatch.setattr(app, "code_digest", lambda: "another")
    app.run(compose_tiny(), training, said)
    assert said.has("the code has changed since")


def test_a_run_is_found_by_the_id_that_it_once_had(compose_tiny: Compose) -> None:
    """Its directory is of a time when eval, checkpoint and diagnostics keys counted."""
    composed = compose_tiny()
    first = app.run(composed, FakeTraining(), Lines())
    once = earlier_id(composed.config, None)
    assert once != first.run_id
    provenance = json.loads((first.run_dir / "provenance.json").read_text())
    (first.run_dir / "provenance.json").write_text(json.dumps({**provenance, "run_id": once}))
    old = first.run_dir.rename(first.run_dir.with_name(f"named-{once}"))
    training = FakeTraining()
    for overrides in ((), (f"run_dir={old}",)):
        found = app.run(compose_tiny(*overrides), training, Lines())
        assert (found.run_id, found.run_dir, found.trained) == (once, old, False)
    child = app.run(compose_tiny("stage=transition"), training, Lines())
    assert json.loads((child.run_dir / "provenance.json").read_text())["parent"] == once
    assert len(training.calls) == 1


def test_a_half_done_run_is_resumed(compose_tiny: Compose) -> None:
    said = Lines()
    with pytest.raises(Stopped) as stopped:
        app.run(compose_tiny(), FakeTraining(Stopped(143)), said)
    assert stopped.value.exit_code == 143
    assert said.has(f"go on with: {sys.executable} -m tedg.train env=fake")
    training = FakeTraining()
    result = app.run(compose_tiny(), training, said)
    assert said.has("goes on from its newest checkpoint")
    assert training.calls == [(result.run_dir, None)]
    assert len(json.loads((result.run_dir / "provenance.json").read_text())["sessions"]) == 2


def test_divergence_is_a_terminal_state(compose_tiny: Compose) -> None:
    failing = FakeTraining(DivergedError("three updates were not finite", {"updates": 2}))
    with pytest.raises(DivergedError):
        app.run(compose_tiny(), failing, Lines())
    with pytest.raises(DivergedError) as again:
        app.run(compose_tiny(), failing, Lines())
    assert again.value.exit_code == 3
    assert len(failing.calls) == 1
    assert again.value.result["updates"] == 2


def test_a_crash_leaves_the_run_unfinished(compose_tiny: Compose) -> None:
    with pytest.raises(RuntimeError):
        app.run(compose_tiny(), FakeTraining(RuntimeError("bug")), Lines())
    assert app.run(compose_tiny(), FakeTraining(), Lines()).trained


def test_auto_takes_the_finished_parent_and_gives_the_run_its_name(compose_tiny: Compose) -> None:
    said, training = Lines(), FakeTraining()
    fresh = app.run(compose_tiny("stage=transition"), training, said)
    assert said.has("stage transition starts with fresh weights: no finished run of stage warmup")
    assert said.has("stage=warmup")
    parent = app.run(compose_tiny("stage=warmup"), training, said)
    child = app.run(compose_tiny("stage=transition"), training, said)
    assert child.run_id != fresh.run_id
    assert training.calls[-1] == (child.run_dir, parent.run_dir)
    assert json.loads((child.run_dir / "provenance.json").read_text())["parent"] == parent.run_id
    named = app.run(compose_tiny("stage=transition", f"init_from={parent.run_dir}"), training, said)
    assert named.run_id == child.run_id
    assert app.run(compose_tiny("stage=transition", "init_from=none"), training, said).run_id == fresh.run_id
    grandchild = app.run(compose_tiny("stage=finetune"), training, said)
    assert training.calls[-1] == (grandchild.run_dir, child.run_dir)


def test_an_unfinished_parent_does_not_count(compose_tiny: Compose) -> None:
    with pytest.raises(Stopped):
        app.run(compose_tiny("stage=warmup"), FakeTraining(Stopped(130)), Lines())
    training = FakeTraining()
    app.run(compose_tiny("stage=transition"), training, Lines())
    assert training.calls[0][1] is None


@pytest.mark.more
def test_a_half_done_run_keeps_the_start_it_began_with(compose_tiny: Compose) -> None:
    with pytest.raises(Stopped):
        app.run(compose_tiny("stage=transition"), FakeTraining(Stopped(130)), Lines())
    app.run(compose_tiny("stage=warmup"), FakeTraining(), Lines())
    training = FakeTraining()
    resumed = app.run(compose_tiny("stage=transition"), training, Lines())
    assert training.calls == [(resumed.run_dir, None)]
    assert resumed.values["parent"] is None


def test_weights_of_an_unfinished_run_count_by_their_digest(compose_tiny: Compose, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        app.run(compose_tiny(f"run_dir={tmp_path}/half"), FakeTraining(Stopped(130)), Lines())
    result = app.run(compose_tiny("stage=transition", f"init_from={tmp_path}/half"), FakeTraining(), Lines())
    assert result.values["parent"].startswith("sha256:")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.yaml").touch()
    with pytest.raises(ConfigError, match="has no checkpoint yet"):
        app.run(compose_tiny(f"init_from={tmp_path}/empty"), FakeTraining(), Lines())


def test_an_explicit_directory_holds_one_run(compose_tiny: Compose, tmp_path: Path) -> None:
    place = f"run_dir={tmp_path}/mine"
    assert app.run(compose_tiny(place), FakeTraining(), Lines()).run_dir == tmp_path / "mine"
    with pytest.raises(ConfigError, match="holds another run"):
        app.run(compose_tiny(place, "seed=1"), FakeTraining(), Lines())
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="has files but is no run directory"):
        app.run(compose_tiny(f"run_dir={tmp_path}/foreign"), FakeTraining(), Lines())


def test_a_link_does_not_lead_out_of_the_root(compose_tiny: Compose, tmp_path: Path) -> None:
    run_dir = app.run(compose_tiny(), FakeTraining(), Lines()).run_dir
    target = tmp_path / "target"
    target.mkdir()
    for path in sorted(run_dir.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    run_dir.rmdir()
    run_dir.symlink_to(target)
    with pytest.raises(ConfigError, match="outside"):
        app.run(compose_tiny(), FakeTraining(), Lines())
    assert list(target.iterdir()) == []


def _own(path: str, ready: Any, release: Any) -> None:
    with rundir.owned(Path(path)):
        ready.set()
        release.wait(30)


@pytest.mark.more
def test_one_process_owns_a_run(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, release = spawn.Event(), spawn.Event()
    owner = spawn.Process(target=_own, args=(str(tmp_path), ready, release))
    owner.start()
    try:
        assert ready.wait(30)
        with (
            pytest.raises(ConfigError, match=rf"in use by host .* pid {owner.pid};") as lost,
            rundir.owned(tmp_path),
        ):
            pass
        assert lost.value.exit_code == 2
    finally:
        owner.kill()
        owner.join()
    with rundir.owned(tmp_path):  # a dead owner owns nothing
        pass


def test_two_names_that_meet_are_one_run(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = compose_tiny("name=one"), compose_tiny("name=other")
    (start, directory), _ = app.place(one), app.run(other, FakeTraining())
    # The other process began it after this one had looked.
    monkeypatch.setattr(app, "place", lambda composed: (start, directory))
    with pytest.raises(InUse, match=r"has just been begun in .*other-"):
        app.run(one, FakeTraining())
    assert not (directory / rundir.CONFIG).exists()


def test_results_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"updates": 1})

    def full(descriptor: int) -> None:
        assert json.loads(path.read_text()) == {"updates": 1}  # what is half written is not yet there
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left") as error:
        write_json(path, {"updates": 2})
    assert error.value.exit_code == 4
    assert json.loads(path.read_text()) == {"updates": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_missing_gpu_is_found_before_anything_is_made(compose_tiny: Compose, tmp_path: Path) -> None:
    import dataclasses

    composed = compose_tiny()
    cuda = dataclasses.replace(composed, config=dataclasses.replace(composed.config, device="cuda"))
    try:
        make_device(cuda.config)
    except ConfigError:
        with pytest.raises(ConfigError, match="device=cuda"):
            app.run(cuda, FakeTraining(), Lines())
        assert not (tmp_path / "outputs").exists()
    else:
        pytest.skip("there is a GPU")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75), (signal.SIGUSR2, 75)],
)
def test_the_first_signal_only_raises_the_flag(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        assert stop.exit_code == code
    assert signal.getsignal(number) is before


def test_the_second_signal_ends_the_process_at_once() -> None:
    program = (
        "import os, signal, time\nfrom tedg.signals import stop_on_signals\n"
        "with stop_on_signals():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(1)\n    print('survived')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (143, "")


def test_runs_beside_each_other_can_be_compared(compose_tiny: Compose, tmp_path: Path) -> None:
    for name in ("one", "another"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{}")
    told = "\n".join(after_a_run(compose_tiny(), tmp_path / "one"))
    assert f"{sys.executable} -m tedg.compare {tmp_path}" in told
    assert f"{sys.executable} -m tedg.report {tmp_path}" in told
