"""Advice for this machine: what is tried, what follows from planted figures, and what is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from support.settings import FASTEST, TINY

from tedg.bench import advise as advising
from tedg.bench.__main__ import run
from tedg.bench.advice import Tried, cells_that_fit, choose, study_hours
from tedg.bench.advise import Findings
from tedg.bench.candidates import for_a_sweep, for_one_run, same_work
from tedg.bench.printing_advice import advice_lines
from tedg.config.compose import compose

GIB = 2**30
ONE_CORE = ("threads=1", "env.num_workers=0")


def tried(settings, *rounds, gib=1, cells=1):
    return Tried(settings, rounds, gib * GIB, cells)


@pytest.mark.parametrize(
    ("rounds", "best"),
    [
        ([(100, 110), (120, 125)], ONE_CORE),
        ([(100, 110), (100, 150)], ()),  # 19 % on average, but one of the rounds was no faster
        ([(100, 101), (102, 103)], ()),  # faster in each round, but by 2 %
        ([(50, 110), (112, 118)], ()),  # one round of the default was disturbed; the other was near
        ([(100, 110), (100, 110)], ()),
        ([(120, 125), (100, 110)], ()),
    ],
)
def test_the_default_gives_way_only_to_what_is_clearly_faster(rounds, best):
    options = [tried((), *rounds[0]), tried(ONE_CORE, *rounds[1])]
    assert choose(options, 100 * GIB).best.settings == best


def test_what_comes_first_wins_a_tie_with_the_fastest_and_noise_is_the_worst_of_all():
    middle, fastest = tried(("threads=1",), 200, 220), tried(ONE_CORE, 205, 225)
    advice = choose([tried((), 100, 150), middle, fastest], 100 * GIB)
    assert (advice.best, advice.close, advice.noise) == (middle, (fastest,), 0.5)


def test_cells_that_do_not_fit_into_memory_together_are_not_advised():
    all_cores, half, single = (tried((str(n),), 100 * n, 101 * n, gib=2, cells=n) for n in (8, 4, 1))
    advice = choose([all_cores, half, single], 10 * GIB)
    assert (advice.best, advice.too_large) == (half, (all_cores,))
    assert choose([all_cores, half], GIB).best is half  # nothing fits: the fewest
    assert [cells_that_fit(free * GIB, 2 * GIB) for free in (0, 2, 10)] == [1, 1, 4]


def test_the_hours_of_a_study_are_those_of_its_waves():
    assert study_hours(tried((), 1000, 1000, cells=2)) == pytest.approx(20e6 / 1000 / 3600)
    assert study_hours(tried((), 1000, 1000, cells=8)) == pytest.approx(24e6 / 1000 / 3600)


@pytest.fixture(scope="module")
def composed():
    return compose(["fusion=concat", "vision=state"])


@pytest.mark.parametrize(
    ("cores", "one_run", "sweep"),
    [
        (1, ["defaults", "env.num_workers=0"], {"defaults": [1]}),
        (
            2,
            ["defaults", "threads=1", "threads=1 env.num_workers=0"],
            {"defaults": [1, 1], "hydra.launcher.n_jobs=1": [2]},
        ),
        (
            5,
            ["defaults", "threads=2", "threads=1", "threads=1 env.num_workers=0"],
            {"defaults": [1] * 5, "hydra.launcher.n_jobs=2": [2, 3], "hydra.launcher.n_jobs=1": [5]},
        ),
    ],
)
def test_few_settings_are_tried_and_the_launcher_gives_cells_their_cores(composed, cores, one_run, sweep):
    singles = for_one_run(composed.config, range(cores), [])
    assert [str(one) for one in singles] == one_run
    cells = for_a_sweep(composed, range(cores), [], 99)
    assert {str(one): sorted(len(slot.cores) for slot in one.slots) for one in cells} == sweep
    known = {str(one): [str(own) for own in singles if same_work(one, own)] for one in cells}
    assert known[str(cells[-1])] == [one_run[1] if cores == 1 else "defaults"]


def test_what_is_set_stays_and_memory_bounds_what_is_tried(composed):
    config = compose(["fusion=concat", "vision=state", "threads=2", "env.num_workers=1"]).config
    assert [str(one) for one in for_one_run(config, range(4), [])] == ["defaults"]
    names = [str(one) for one in for_a_sweep(composed, range(8), [], 5)]
    assert names == [f"hydra.launcher.n_jobs={count}" for count in (5, 4, 1)]


def test_on_gpus_cells_share_them(composed):
    assert [str(one) for one in for_one_run(composed.config, range(8), ["a", "b"])] == [
        "defaults",
        "env.num_workers=0",
    ]
    first, second, _ = for_a_sweep(composed, range(8), ["a", "b"], 99)
    assert (str(first), [slot.gpu for slot in first.slots]) == ("defaults", ["a", "b"])
    assert (str(second), len(second.slots)) == ("hydra.launcher.jobs_per_gpu=2", 4)


def test_the_advice_is_printed_with_what_it_depends_on(monkeypatch, tmp_path, capsys):
    found = Findings(
        2,
        [],
        10 * GIB,
        3.0,
        [tried((), 100, 110, gib=2), tried(ONE_CORE, 150, 160)],
        [tried((), 300, 310, cells=2), tried(("hydra.launcher.n_jobs=1",), 100, 110, gib=2)],
    )
    monkeypatch.setattr("tedg.bench.__main__.advise", lambda options: found)
    file = tmp_path / "advice.json"
    assert run(["--advise", "--json", str(file)]) == 0
    text = capsys.readouterr().out
    for shown in (
        "take: threads=1 env.num_workers=0   (155 steps/s, 1.0 GiB)",
        "+48 %",
        "the defaults are best here (305 steps/s, 1.0 GiB each)",
        "10.0 GiB were free, enough for 9 cells of 1.0 GiB",
        "trains for 18.2 hours at this rate, 2 at once",
        "two rounds of the same differed by up to 10 %",
        "if nothing else runs. Something did (load 3.0 at the start)",
    ):
        assert shown in text
    content = json.loads(file.read_text())
    assert content["advice"]["one_run"]["best"]["settings"] == list(ONE_CORE)
    assert not list(advice_lines(found))[-1].startswith("take")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "env"], "--advise with --only: --only is for the parts"),
        (["--num-envs", "16"], "--advise with --num-envs"),
        (["fusion=concat,cross_attn"], "fusion=concat,cross_attn: several values need -m"),
    ],
)
def test_what_does_not_go_with_it_is_refused(arguments, message, capsys):
    assert run(["--advise", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_settings_that_fail_are_left_out_and_all_failing_is_an_error(monkeypatch, capsys):
    def failing(candidate):
        raise advising.MeasurementError("ended by SIGKILL")

    monkeypatch.setattr(advising, "warm", failing)
    assert run(["--advise", "env=fake", "device=cpu"]) == 1
    printed, said = capsys.readouterr()
    assert said == "error: no settings could be tried: ended by SIGKILL\n"
    assert "one run: defaults  failed: ended by SIGKILL" in printed


@pytest.mark.more
def test_a_toy_is_tried_in_processes_that_are_gone_afterwards(tmp_path):
    toy = [line for line in (*TINY, *FASTEST) if not line.startswith("threads")]
    file = tmp_path / "advice.json"
    command = [sys.executable, "-m", "tedg.bench", "--advise", *toy, "--seconds", "0.1", "--json", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0
    content = json.loads(file.read_text())
    assert content["failures"] == []
    cores = len(os.sched_getaffinity(0))
    assert content["sweep"][0]["cells"] == cores
    for one in (*content["one_run"], *content["sweep"]):
        assert len(one["rounds"]) == 2
        assert min(one["rounds"]) > 0
        assert 2**26 < one["memory_bytes"] < 2**32
    assert "a sweep" in printed
    deadline = time.monotonic() + 10
    while _group_lives(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
