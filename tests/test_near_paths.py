"""A mistyped path or run is answered with those that are there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tedg.errors import ConfigError
from tedg.files import expanded
from tedg.run.find import find_run
from tedg.spelling import did_you_mean_path

RUN = "cross_attn-warmup-s0-5471731c9b"
OTHER = "concat-warmup-s1-0123456789"


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in (
        f"outputs/{RUN}/checkpoints/ckpt-000000000005",
        f"multirun/first_look/{OTHER}",
        "mine/fusion",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "multirun" / "first_look" / OTHER / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "mine" / "own.yaml").write_text("x: 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        (f"outputs/{RUN[:-1]}c", f"outputs/{RUN}"),
        (f"output/{RUN}", f"outputs/{RUN}"),  # the first part is wrong, and what follows is there
        (f"output/{RUN[:-1]}c", f"outputs/{RUN}"),
        (f"outputs/{RUN}/checkpoints/ckpt-000000000006", f"outputs/{RUN}/checkpoints/ckpt-000000000005"),
        (RUN, f"outputs/{RUN}"),
        ("frist_look", "first_look"),
        ("multirun/frist_look", "multirun/first_look or first_look"),
    ],
)
def test_the_nearest_path(there: Path, wrong: str, near: str) -> None:
    found = did_you_mean_path(wrong, ["outputs"], ["first_look"])
    assert found == f"; did you mean {near}?"


def test_an_absolute_path_and_one_that_nothing_is_near(there: Path) -> None:
    assert did_you_mean_path(f"{there}/outputs/{RUN}x") == f"; did you mean {there}/outputs/{RUN}?"
    assert did_you_mean_path("quite/another/thing") == ""
    assert did_you_mean_path("a" * 5000 + "/x") == ""
    assert did_you_mean_path("nul\0") == ""


@pytest.mark.more
def test_a_home_of_nobody_is_a_path_like_any_other(there: Path) -> None:
    assert did_you_mean_path("~nobody-of-this-name/x", ["outputs"]) == ""
    assert expanded("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    with pytest.raises(ConfigError, match="there is no run ~nobody-of-this-name/x"):
        find_run("~nobody-of-this-name/x")


@pytest.mark.parametrize(
    ("line", "near"),
    [
        (f"tedg.evaluate outputs/{RUN}c", f"outputs/{RUN}"),
        ("tedg.evaluate frist_look", "first_look"),
        ("tedg.compare frist_look", "first_look"),
        ("tedg.report multirun/frist_look", "multirun/first_look"),
        ("tedg.study show frist_look", "first_look"),
        (f"tedg.study retry first_look {OTHER}x", OTHER),
        (f"tedg.train init_from=outputs/{RUN}c", f"outputs/{RUN}"),
        ("tedg.train --config-dir mein", "mine"),
        ("tedg.train env.hypergraph=mine/own.yml", "mine/own.yaml"),
        ("tedg.report first_look --reported mine/own.yml", "mine/own.yaml"),
        ("tedg.hypergraph.convert mine/own.yml x.yaml", "mine/own.yaml"),
    ],
)
def test_each_command_names_it_in_one_message_at_once(there: Path, line: str, near: str) -> None:
    begun = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", *line.split()], capture_output=True, text=True, env=environment
    )
    assert time.monotonic() - begun < 4  # under two on a machine that has nothing else to do
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert "did you mean " in done.stderr
    assert near in done.stderr.partition("did you mean ")[2]
    assert done.stdout == ""
