"""Tables on disk: valid JSON, torn lines and resumes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tedg.config.run_config import LoggerConfig
from tedg.envs.observation import EpisodeEnd
from tedg.errors import StorageError
from tedg.store.runlog import RunLog
from tedg.store.tables import EPISODE_COLUMNS, EpisodesLog, MetricsLog, read_episodes, read_metrics

EPISODE = EpisodeEnd(
    env=3, seed=17, length=500, episode_return=12.25, score=13.0, depth=2, turns=480, end="truncated"
)


def fill(path, updates):
    log = MetricsLog(path)
    for update in updates:
        log.add({"update": update, "train/kl": 0.1 * update})
        log.flush()


def test_rows_are_valid_json_and_readable_at_once(tmp_path):
    log = MetricsLog(tmp_path / "run" / "metrics.jsonl")
    log.add({"update": 1, "a": float("nan"), "b": np.float32(0.5), "c": torch.tensor(2.0), "d": "x"})
    log.flush()
    log.add({"update": 2, "a": -np.inf, "b": np.int64(3), "c": torch.tensor(float("inf")), "d": None})
    log.flush()
    expected = [
        {"update": 1, "a": None, "b": 0.5, "c": 2.0, "d": "x"},
        {"update": 2, "a": None, "b": 3, "c": None, "d": None},
    ]
    path = tmp_path / "run" / "metrics.jsonl"
    assert read_metrics(path) == expected
    assert "NaN" not in path.read_text()
    log.sync()
    assert [json.loads(line) for line in path.read_text().splitlines()] == expected


def test_a_row_needs_its_update(tmp_path):
    with pytest.raises(ValueError, match="update"):
        MetricsLog(tmp_path / "m").add({"loss": 1.0})


def test_floats_survive_exactly(tmp_path):
    path = tmp_path / "m"
    values = np.random.default_rng(0).normal(size=50).tolist()
    log = MetricsLog(path)
    for update, value in enumerate(values):
        log.add({"update": update, "x": value})
        log.flush()
    assert [row["x"] for row in read_metrics(path)] == values


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_skipped_and_then_removed(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    fill(path, range(4))
    path.write_bytes(path.read_bytes()[:-cut])
    assert [row["update"] for row in read_metrics(path)] == [0, 1, 2]
    fill(path, [3])
    assert [row["update"] for row in read_metrics(path)] == [0, 1, 2, 3]


def test_resume_drops_later_rows_and_keeps_the_bytes_of_earlier_ones(tmp_path):
    through, resumed = tmp_path / "through", tmp_path / "resumed"
    fill(through, range(6))
    fill(resumed, range(5))
    log = MetricsLog(resumed)
    log.truncate_after(2)
    for update in (3, 4, 5):
        log.add({"update": update, "train/kl": 0.1 * update})
        log.flush()
    assert resumed.read_bytes() == through.read_bytes()
    log.truncate_after(-1)
    assert read_metrics(resumed) == []
    assert {path.name for path in tmp_path.iterdir()} == {"through", "resumed"}


def test_damage_in_the_middle_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1}\n{"upd\n{"update": 3}\n')
    with pytest.raises(StorageError, match=r"metrics\.jsonl has a damaged line"):
        read_metrics(path)
    with pytest.raises(StorageError, match="cannot read"):
        read_metrics(tmp_path / "missing")


def test_a_full_disk_is_a_storage_error(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    log.add({"update": 1})
    with pytest.raises(StorageError, match=r"metrics\.jsonl: No space left") as caught:
        log.flush()
    assert caught.value.exit_code == 4


def test_episodes_round_trip(tmp_path):
    path = tmp_path / "episodes.csv"
    log = EpisodesLog(path)
    dead = replace(EPISODE, end="death", episode_return=float(np.float32(-0.1)), score=0.0)
    log.add(1, 4096, [EPISODE, dead])
    log.flush()
    log.add(2, 8192, [])
    log.flush()
    log.add(3, 12288, [EPISODE])
    log.flush()
    assert path.read_text().splitlines()[:2] == [
        "update,env_steps,env,seed,length,episode_return,score,depth,turns,end",
        "1,4096,3,17,500,12.25,13.0,2,480,truncated",
    ]
    rows = read_episodes(path)
    assert tuple(rows[0]) == EPISODE_COLUMNS
    assert [row["update"] for row in rows] == [1, 1, 3]
    assert rows[1]["end"] == "death"
    assert rows[1]["episode_return"] == pytest.approx(-0.1)
    assert rows[2] == {
        "update": 3,
        "env_steps": 12288,
        **{c: getattr(EPISODE, c) for c in EPISODE_COLUMNS[2:]},
    }
    # 13.0 == 13, so types are compared by themselves.
    assert all(type(rows[2][c]) is type(getattr(EPISODE, c)) for c in EPISODE_COLUMNS[2:])


def test_episodes_resume_after_a_torn_row(tmp_path):
    path = tmp_path / "episodes.csv"
    log = EpisodesLog(path)
    for update in (1, 2, 3):
        log.add(update, update * 10, [EPISODE, EPISODE])
        log.flush()
    path.write_bytes(path.read_bytes()[:-12])
    assert len(read_episodes(path)) == 5
    log = EpisodesLog(path)
    log.truncate_after(2)
    log.add(3, 30, [EPISODE])
    log.flush()
    assert [row["update"] for row in read_episodes(path)] == [1, 1, 2, 2, 3]
    log.truncate_after(0)
    assert path.read_text() == ",".join(EPISODE_COLUMNS) + "\n"


def test_a_foreign_episodes_file_is_refused(tmp_path):
    path = tmp_path / "episodes.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(StorageError, match="first line"):
        EpisodesLog(path)
    assert path.read_text() == "a,b\n1,2\n"


def test_a_resumed_run_log_equals_an_unbroken_one(tmp_path):
    def record(log, updates):
        for update in updates:
            row = {"train/kl": 1 / update, "stage": "warmup"}
            log.append(update, 10 * update, row, {"time/env": 0.5}, [replace(EPISODE, seed=update)])
        log.sync()
        log.close()

    warnings = []
    record(RunLog(tmp_path / "a", 0, 0, LoggerConfig(tensorboard=False), warnings.append), range(1, 8))
    # Killed after update 5, its checkpoint was after update 3; killed again before any other.
    record(RunLog(tmp_path / "b", 0, 0, LoggerConfig(tensorboard=True), warnings.append), range(1, 6))
    with (tmp_path / "b" / "metrics.jsonl").open("a") as torn:
        torn.write('{"update": 6, "tr')
    record(RunLog(tmp_path / "b", 3, 30, LoggerConfig(tensorboard=True), warnings.append), range(4, 6))
    record(RunLog(tmp_path / "b", 3, 30, LoggerConfig(tensorboard=True), warnings.append), range(4, 8))
    for name in ("metrics.jsonl", "episodes.csv", "timing.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert read_metrics(tmp_path / "a" / "metrics.jsonl")[0] == {
        "update": 1,
        "env_steps": 10,
        "train/kl": 1.0,
        "stage": "warmup",
    }
    assert (tmp_path / "b" / "tensorboard").is_dir()
    assert not (tmp_path / "a" / "tensorboard").exists()
    assert warnings == []
