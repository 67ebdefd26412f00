"""Which cells of a sweep are started, when, how often, and what their ends mean; without processes."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from support.sweeps import FakeLauncher, finish, jobs, sweep

from tedg.errors import ConfigError
from tedg.signals import StopFlag
from tedg.store import rundir
from tedg.sweep import scheduler
from tedg.sweep.cell import State
from tedg.sweep.names import label, varied, with_telling_name
from tedg.sweep.plan import plan
from tedg.sweep.scheduler import Scheduler, exit_code


def test_every_end_has_its_state_and_the_sweep_its_exit_code(tmp_path: Path) -> None:
    fates = {
        "seed=0": ["killed"],
        "seed=1": ["1 ValueError", "running"],
        "seed=2": ["diverged"],
        "seed=3": ["0"],  # ends without a result
        "seed=4": ["143"],  # somebody stopped this one
        "seed=5": ["2 ConfigError"],
        "seed=6": ["killed"] * 9,
    }
    launcher = FakeLauncher(3, fates)
    cells, noticed = sweep(jobs(tmp_path, seeds=8), launcher)
    assert {label: str(cell.state) for label, cell in cells.items()} == {
        **{f"seed={n}": "done" for n in (0, 1, 3, 4, 7)},
        "seed=2": "diverged",
        "seed=5": "failed",
        "seed=6": "lost",
    }
    times = {label: launcher.started.count(label) for label in cells}
    assert times == {
        **{f"seed={n}": 2 for n in (0, 1, 3, 4)},
        "seed=2": 1,
        "seed=5": 1,
        "seed=6": 3,
        "seed=7": 1,
    }
    assert cells["seed=6"].reason == "killed by SIGKILL"
    assert cells["seed=5"].reason == "ConfigError: told"
    assert cells["seed=2"].reason == "NaN everywhere"
    assert "seed=3: failed: ended with exit code 0, without a result; it will go on" in "\n".join(noticed)
    assert exit_code(list(cells.values())) == 1
    again = FakeLauncher(3)
    cells, _ = sweep(jobs(tmp_path, seeds=8), again)
    assert sorted(again.started) == ["seed=5", "seed=6"]
    assert exit_code(list(cells.values())) == 3  # nothing is left but what diverged
    assert sweep(jobs(tmp_path, seeds=8), FakeLauncher(0))[0]["seed=2"].state is State.DIVERGED


def test_a_failed_check_is_told_by_the_exit_code_of_a_sweep_that_is_done(tmp_path: Path) -> None:
    (job, other) = jobs(tmp_path, seeds=2)
    launcher = FakeLauncher(1)
    end = launcher._end
    launcher._end = lambda cell, fate: replace(end(cell, fate), code=5 if cell.label == "seed=1" else 0)
    cells, _ = sweep([job, other], launcher)
    assert [cell.state for cell in cells.values()] == [State.DONE, State.DONE]
    assert exit_code(list(cells.values())) == 5


def test_what_others_train_is_waited_for_and_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LOOK_SECONDS", 0)
    first, second, third = plan(jobs(tmp_path, seeds=3))
    busy = {first.directory: 3, third.directory: 2}  # looks until it is free
    raced = ["other"]

    def owner(directory: Path) -> str | None:
        if directory == second.directory and raced:  # begun between our look and our start
            return None
        busy[directory] = busy.get(directory, 0) - 1
        if busy[directory] == 0 and directory == first.directory:
            finish(first)
        return "host there pid 7" if busy[directory] > 0 else None

    monkeypatch.setattr(scheduler, "owner", owner)
    launcher = FakeLauncher(2, {"seed=1": ["2 InUse", "killed"]})
    cells, noticed = sweep(jobs(tmp_path, seeds=3), launcher, retries=1)
    assert [cell.state for cell in cells.values()] == [State.DONE] * 3
    assert launcher.started.count("seed=0") == 0
    assert launcher.started.count("seed=2") == 1  # its other driver gave it up
    assert launcher.started.count("seed=1") == 3  # losing a race is no failure
    assert "seed=0: is being trained by host there pid 7; waiting for it" in noticed


def test_stages_follow_each_other_from_weights_to_weights(tmp_path: Path) -> None:
    chain = jobs(tmp_path, "stage=finetune,warmup,transition", seeds=2)
    cells = {cell.label: cell for cell in plan(chain)}
    for seed in (0, 1):
        first, then, last = (cells[f"stage={s} seed={seed}"] for s in ("warmup", "transition", "finetune"))
        assert (first.parent, then.parent, last.parent) == (None, first, then)
    launcher = FakeLauncher(4, {"stage=warmup seed=1": ["killed"]})
    cells, _ = sweep(chain, launcher)
    assert [cell.state for cell in cells.values()] == [State.DONE] * 6
    order = launcher.started
    for seed in (0, 1):
        places = [order.index(f"stage={s} seed={seed}") for s in ("warmup", "transition", "finetune")]
        assert places == sorted(places)
    assert (
        order.index("stage=transition seed=0") < len(order) - 1 - order[::-1].index("stage=warmup seed=1") + 1
    )
    for cell in cells.values():
        provenance = rundir.read_provenance(cell.directory)
        assert provenance is not None
        assert provenance["parent"] == (cell.parent.run_id if cell.parent else None)


def test_a_child_that_is_done_needs_no_parent(tmp_path: Path) -> None:
    chain = jobs(tmp_path, "stage=finetune,warmup,transition")
    cells, _ = sweep(chain, FakeLauncher(4))
    shutil.rmtree(cells["stage=warmup"].directory)
    launcher = FakeLauncher(4, {"stage=warmup": ["1 ValueError"] * 3})
    cells, _ = sweep(chain, launcher)
    assert [str(cell.state) for cell in cells.values()] == ["done", "failed", "done"]


def test_children_of_a_parent_that_failed_wait_and_say_so(tmp_path: Path) -> None:
    chain = jobs(tmp_path, "stage=finetune,warmup,transition")
    failing = FakeLauncher(4, {"stage=warmup": ["1 ValueError"] * 3})
    cells, noticed = sweep(chain, failing)
    assert [str(cell.state) for cell in cells.values()] == ["blocked", "failed", "blocked"]
    assert cells["stage=finetune"].reason == "its parent stage=transition is blocked"
    assert "stage=transition: cannot begin: its parent stage=warmup is failed" in noticed
    assert failing.started == ["stage=warmup"] * 3
    assert exit_code(list(cells.values())) == 1
    diverging = FakeLauncher(4, {"stage=warmup": ["diverged"]})
    cells, _ = sweep(chain, diverging)
    assert exit_code(list(cells.values())) == 3  # what waits in vain adds nothing to its parent's end


def test_a_stage_whose_parent_is_no_cell_begins_as_a_single_run_would(tmp_path: Path) -> None:
    every = jobs(tmp_path, "stage=finetune,warmup,transition")
    assert [cell.parent for cell in plan(every[::2])][1] is None
    fresh = [replace(job, config=replace(job.config, init_from="none")) for job in every]
    assert [cell.parent for cell in plan(fresh)] == [None] * 3


def test_a_stop_starts_nothing_more_and_waits_for_what_runs(tmp_path: Path) -> None:
    cells = plan(jobs(tmp_path, seeds=3))
    launcher = FakeLauncher(1, {"seed=0": ["running", "running"]})
    turns, stop = Scheduler(cells, launcher, 2, lambda cell, text: None), StopFlag()
    assert turns.step(stop)
    stop.request(signal.SIGTERM)
    assert turns.step(stop)
    assert not turns.step(stop) or not turns.step(stop)
    assert launcher.stopped == 1
    assert [str(cell.state) for cell in cells] == ["stopped", "queued", "queued"]
    assert launcher.started == ["seed=0"]


def test_one_run_in_two_spellings_is_one_cell_and_in_two_settings_refused(tmp_path: Path) -> None:
    (one,) = jobs(tmp_path, seeds=1)
    assert len(plan([one, replace(one, overrides=(*one.overrides, "seed=+0"))])) == 1
    with pytest.raises(ConfigError, match=r"'eval.games=2' and 'eval.games=3' are one run .*: eval does not"):
        plan(
            [
                replace(
                    one, config=replace(one.config, eval=replace(one.config.eval, games=n)), overrides=(o,)
                )
                for n, o in ((2, "eval.games=2"), (3, "eval.games=3"))
            ]
        )


def test_labels_tell_what_differs() -> None:
    told = varied([["a=1", "+b=2", "c=3"], ["a=1", "c=4"], ["a=1", "+b=9", "c=4"]])
    assert [label(keys) for keys in told] == ["b=2 c=3", "c=4", "b=9 c=4"]
    assert varied([["a=1"]]) == [{}]


def test_directories_tell_what_differs_and_are_the_same_runs(tmp_path: Path) -> None:
    job = jobs(tmp_path, "fusion=cross_attn")[0]
    keys = {"fusion": "cross_attn", "seed": "3", "fusion.gate.keep": "0.3", "stage@x": "[a, b]"}
    named = with_telling_name(job, keys)
    assert named.config.name == f"{job.config.name}-keep0.3-xa_b"
    assert named.saved["name"] == named.resolved["name"] == named.config.name
    assert plan([named])[0].run_id == plan([job])[0].run_id
    assert with_telling_name(job, {"name": "long" * 30}) is job  # as if it were not said


def test_a_run_that_has_a_directory_keeps_it(tmp_path: Path) -> None:
    first = plan(jobs(tmp_path, "ppo.gamma=0.99"))[0]
    finish(first)
    known, new = plan(jobs(tmp_path, "ppo.gamma=0.99,0.9"))
    assert known.directory == first.directory
    assert new.directory.name == f"{first.composed.config.name}-gamma0.9-{new.run_id}"
