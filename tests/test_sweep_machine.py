"""What each cell gets of the machine, what it tells its driver, and what a sweep shows of that."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console as Terminal
from support.screens import Screen
from support.sweeps import jobs

from tedg.sweep import machine
from tedg.sweep.cell import Cell, State
from tedg.sweep.machine import Slot, fitted, gpus_for, share
from tedg.sweep.plan import plan
from tedg.sweep.report import Reading, Reporter
from tedg.sweep.terminal import LiveDisplay, PlainDisplay, TimeLeft, counts


@pytest.mark.parametrize(
    ("cells", "cores", "gpus", "n_jobs", "per_gpu", "expected"),
    [
        (9, 2, "", None, 1, [((0,), None), ((1,), None)]),
        (2, 5, "", None, 1, [((0, 1), None), ((2, 3, 4), None)]),
        (9, 4, "", 1, 1, [((0, 1, 2, 3), None)]),
        (3, 2, "", 5, 1, [((0,), None), ((1,), None), ((0,), None)]),
        (9, 4, "ab", None, 1, [((0, 1), "a"), ((2, 3), "b")]),
        (9, 2, "ab", None, 2, [((0,), "a"), ((1,), "b"), ((0,), "a"), ((1,), "b")]),
        (0, 2, "", None, 1, [((0, 1), None)]),
    ],
)
def test_cores_and_gpus_are_shared_out(cells, cores, gpus, n_jobs, per_gpu, expected):
    found = share(cells, range(cores), list(gpus), n_jobs, per_gpu)
    assert [(slot.cores, slot.gpu) for slot in found] == expected


def test_one_core_is_not_shared_among_processes_unless_the_user_says_so(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path)
    free = replace(job, config=replace(job.config, threads=None, env={**job.config.env, "num_workers": None}))
    config = fitted(free, Slot((3,))).config
    assert (config.threads, config.env["num_workers"]) == (1, 0)
    config = fitted(free, Slot((3, 4))).config
    assert (config.threads, config.env["num_workers"]) == (2, 2)
    asked = replace(free, config=replace(free.config, threads=2, env={**free.config.env, "num_workers": 3}))
    assert fitted(asked, Slot((3,))).config == asked.config


def test_gpus_are_those_that_may_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = jobs(tmp_path)
    on_gpu = replace(job, config=replace(job.config, device="auto"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 4")
    assert gpus_for([job, job]) == []
    assert gpus_for([job, on_gpu]) == ["2", "4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpus_for([on_gpu]) == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus_for([on_gpu]) == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho GPU-a\necho GPU-b\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert machine.gpus_for([on_gpu]) == ["GPU-a", "GPU-b"]


def test_a_report_comes_whole_or_not_at_all_and_never_blocks() -> None:
    ours, theirs = os.pipe()
    reporter, reading = Reporter(theirs), Reading(ours)
    reporter.progress(0.5, 10, None)
    reporter.progress(0.6, 12, 1.0)  # too soon after the other
    reporter.ended("ValueError", "x" * 5000)
    first, last = reading.lines()
    assert first == {"fraction": 0.5, "env_steps": 10, "score": None}
    assert (last["kind"], len(last["message"])) == ("ValueError", 1000)
    assert list(reading.lines()) == []
    for _ in range(200):  # more than a pipe holds
        reporter.ended("ValueError", "y" * 1000)
    assert {line["message"][0] for line in reading.lines()} == {"y"}
    reading.close()
    reporter.ended("ValueError", "nobody reads")
    os.close(theirs)


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    found = plan(jobs(tmp_path, seeds=30))
    found[0].state, found[1].state, found[2].state = State.RUNNING, State.DONE, State.FAILED
    found[1].fraction, found[2].reason = 1.0, "[red]odd\x1b[2J"
    return found


def test_time_left_counts_what_was_trained_today(cells: list[Cell]) -> None:
    now = [0.0]
    cells[0].earlier_attempts = 1
    left = TimeLeft(cells[:4], lambda: now[0])
    assert left.text() == "unknown"
    cells[0].fraction = 0.5  # it went on from there: nothing was gained yet
    assert left.text() == "unknown"
    now[0], cells[0].fraction = 10.0, 0.6
    assert left.text() == "2m20s"  # 0.4 of this one and another whole one, a tenth in 10 s


def test_the_first_line_of_a_new_cell_counts_as_todays_pace(cells: list[Cell]) -> None:
    now = [0.0]
    left = TimeLeft(cells[:2], lambda: now[0])
    now[0], cells[0].fraction = 10.0, 0.8  # short cells tell little before they end
    assert left.text() == "2s"


def test_a_live_table_shows_the_most_interesting_rows_and_all_at_the_end(cells: list[Cell]) -> None:
    file = io.StringIO()
    terminal = Terminal(file=file, force_terminal=True, width=150, height=14)
    display = LiveDisplay(cells, terminal)
    display.show()
    drawn = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", file.getvalue())
    assert all(f"seed={n} " in drawn for n in (0, 2, 3))
    assert "seed=1 " not in drawn  # done, and there is no room for all
    assert "1 of 30 done, 1 running, 1 failed, 27 queued, time left unknown" in drawn
    display.notice(cells[2], cells[2].reason)
    assert "[seed=2] [red]odd\\x1b[2J" in file.getvalue()
    display.close()
    assert "seed=29" in file.getvalue()
    file.close()
    display.say("the terminal is gone")


def test_names_of_logs_are_left_out_where_they_would_be_broken(cells: list[Cell]) -> None:
    screen = Screen(80, 24)
    display = LiveDisplay(cells[:6], screen.terminal)
    display.close()
    lines = screen.lines()
    assert [line.split()[0] for line in lines[:7]] == ["cell", *(f"seed={n}" for n in range(6))]
    assert "log" not in lines[0]
    assert str(cells[0].log.parent) in "".join(lines[7:])


def test_a_log_has_a_line_about_the_sweep_now_and_then(
    cells: list[Cell], capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    display = PlainDisplay(cells, lambda: now[0])
    for now[0] in (1.0, 11.0, 12.0, 22.0):
        display.show()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"sweep: {counts(cells)}, time left unknown; seed=0 0%"] * 2
