"""The record of a run: what it says, that it is read as it was written, and that damage is named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.experiments import EXPERIMENTS
from support.settings import FASTEST, TINY
from support.stand_ins import Lines

import tedg
from tedg.config.compose import compose
from tedg.envs.observation import EpisodeEnd
from tedg.errors import ConfigError, StorageError
from tedg.evaluate import PLAYERS
from tedg.files import read_json, write_json
from tedg.run import app
from tedg.run import record as record_module
from tedg.run.course import first_episodes, training
from tedg.run.record import make_record
from tedg.store.conditions import Condition, write_condition
from tedg.store.record import (
    MOST_BYTES,
    Curve,
    Game,
    Training,
    read_record,
    read_records,
    record_text,
    write_record,
)
from tedg.store.tables import EpisodesLog, read_episodes
from tedg.study.__main__ import run as study_command


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study `mine` of two runs below multirun/."""
    root = tmp_path_factory.mktemp("recorded")
    paths = [f"paths.{name}_dir={root}/{name}" for name in ("output", "multirun", "experiments")]
    for seed in (0, 1):
        composed = compose([*TINY, *FASTEST, *paths, "paths.study=mine", f"seed={seed}"])
        app.run(replace(composed, sweep=True), say=Lines())
    return root


@pytest.fixture
def run_dir(root: Path) -> Path:
    return min((root / "multirun/mine").glob("*-s0-*"))


def test_it_says_what_the_run_was(run_dir: Path) -> None:
    record, result = read_record(run_dir), read_json(run_dir / "result.json")
    provenance = read_json(run_dir / "provenance.json")
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert record is not None
    assert result is not None
    assert provenance is not None
    session = provenance["sessions"][-1]
    assert (record.run_id, record.seed, record.status, record.parent) == (
        result["run_id"],
        0,
        "finished",
        None,
    )
    assert (record.code, record.training_code) == (session["code"], session["training_code"])
    assert (record.budget, record.env_steps, record.total_env_steps) == ({"env_steps": 128}, 128, 128)
    assert record.config == {
        key: value for key, value in config.items() if key not in ("paths", "run_dir", "init_from")
    }
    assert (record.options["fusion"], record.options["vision"], record.options["stage"]) == (
        *("concat", "state", "warmup"),
    )
    assert "fusion/gate" not in record.options
    assert (record.options["arm"], record.options["check"]) == ("none", "none")  # of which nothing is left
    assert record.liveness == result["liveness"]
    assert record.parameters["total"] == sum(record.parameters.values()) / 2
    assert (record.device, record.precision, record.learns) == ("cpu", "float32", None)
    assert record.max_log_ratio is not None
    assert record.max_log_ratio < 1e-5
    assert record.seconds is not None
    assert 0 < record.seconds < 600
    # Two products of [1, i] and [i, o] make 2 i o operations for each weight, at least.
    assert record.flops is not None
    assert record.flops > record.parameters["experts"]
    assert {(one.player, one.weights, one.mode, one.cap, one.stage) for one in record.evaluations} == {
        ("policy", "last", "sample", 10, "warmup"),
        ("random", "", "", 10, None),
    }
    assert [game.seed for game in record.evaluations[0].games] == [500000, 500001]


def test_options_of_runs_that_kept_none_follow_from_their_values(run_dir: Path) -> None:
    kept = read_record(run_dir)
    assert kept is not None
    derived = dict(record_module._options(kept.config))
    assert derived.items() <= kept.options.items()
    assert {"fusion", "vision", "stage", "logic", "env/game"} <= derived.keys()
    for fusion, gate in (("cross_attn", "topk"), ("cross_attn", "none"), ("concat", None)):
        choice = [f"fusion={fusion}", *([f"fusion/gate={gate}"] if gate else [])]
        saved = compose(choice).saved
        found = dict(record_module._options(saved))
        assert (found["fusion"], found.get("fusion/gate")) == (fusion, gate)


def test_a_curve_goes_by_env_steps_not_by_update(run_dir: Path, tmp_path: Path) -> None:
    log = EpisodesLog(tmp_path / "episodes.csv")
    # 4 environments, updates of 4 x 16 = 64 env steps. Environment 0 ends after 3 and 16 steps, 1 after 12.
    log.add(1, 64, [_end(0, 3, 1.0), _end(1, 12, 5.0), _end(0, 13, 3.0)])
    log.add(2, 128, [_end(1, 18, 8.0), _end(2, 32, 99.0, "lost")])
    log.flush()
    episodes = read_episodes(tmp_path / "episodes.csv")
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    curve = record_module._curve(episodes, config, 128, [])
    assert curve.env_steps == tuple(range(1, 129))
    told = {
        steps: score
        for steps, score in zip(curve.env_steps, curve.mean_score, strict=True)
        if score is not None
    }
    assert told == {12: 1.0, 48: 5.0, 64: 3.0, 120: 8.0}
    long = record_module._curve(episodes, config, 128_000, [])
    assert (len(long.env_steps), long.env_steps[0], long.env_steps[-1]) == (400, 320, 128_000)
    assert long.mean_return[0] == pytest.approx((1 + 5 + 3 + 8) / 4)


def test_training_is_told_by_a_hundred_means(root: Path, run_dir: Path) -> None:
    rows = [
        {"env_steps": 8 * n, "stage": "warmup" if n <= 100 else "finetune", "router/usage_entropy": 1.0}
        | {"train/kl": float(n), "router/usage_10": 0.25, "router/usage_9": 0.5}
        | {"loss/alignment": 3.0 if n > 198 else None, "time/env": 1.0}
        for n in range(1, 201)
    ]
    told = training(rows, 1600)
    assert told.env_steps == tuple(range(16, 1601, 16))
    assert told.figures["train/kl"] == tuple(2 * n - 0.5 for n in range(1, 101))  # of updates 2n - 1 and 2n
    assert told.figures["loss/alignment"] == (*[None] * 99, 3.0)
    wanted = ["router/usage_9", "router/usage_10", "router/usage_entropy", "train/kl", "loss/alignment"]
    assert list(told.figures) == wanted
    assert told.stages == (("warmup", 0), ("finetune", 800))
    # Few updates: a point each, whatever the number of steps of an update.
    assert training(rows[:3], 24).env_steps == (8, 16, 24)
    assert training(rows[:3], 24).figures["train/kl"] == (1.0, 2.0, 3.0)
    assert training([], 0) == Training()
    own = make_record(run_dir).training
    assert (own.env_steps, own.stages) == ((64, 128), (("warmup", 0),))
    assert {"router/usage_3", "train/kl", "gradient/router", "policy/entropy"} <= own.figures.keys()


def test_first_episodes_are_those_of_the_result(run_dir: Path) -> None:
    scores = [float(n % 4) for n in range(250)]
    rows = [{"score": score, "episode_return": score / 2} for score in scores]
    told = first_episodes(rows)
    assert tuple(told["100"].values()) == (0.75, 1.5, 1.5, 3.0, 0.75, 100)
    assert [one["episodes"] for one in told.values()] == [100, 250, 250]
    assert told["300"] == told["all"]
    assert first_episodes([]) == {}
    result, record = read_json(run_dir / "result.json"), read_record(run_dir)
    assert result is not None
    assert record is not None
    known = result["training"]["all"]
    own = record.first_episodes["all"]
    assert own == pytest.approx(
        {name: known[name] for name in ("mean_return", "best_return", "mean_score", "best_score")}
        | {"nonzero_share": known["nonzero_score_share"], "episodes": result["episodes"]}
    )


def test_records_of_the_first_schema_are_read(run_dir: Path, tmp_path: Path) -> None:
    """As those that are kept in experiments/ are."""
    content = json.loads((run_dir / "record.json").read_text())
    for name in ("training", "first_episodes", "modality"):
        del content[name]
    (tmp_path / "record.json").write_text(json.dumps(content | {"schema": 1}))
    record = read_record(tmp_path)
    assert record == replace(make_record(run_dir), training=Training(), first_episodes={}, modality={})
    kept = [one for study in EXPERIMENTS.iterdir() for one in read_records(study / "runs")]
    assert len(kept) >= 38


def test_a_record_with_many_games_stays_small(run_dir: Path) -> None:
    record = make_record(run_dir)
    games = tuple(Game(500_000 + n, 1234.5678, 1234.5678, 4321, 12, "death", "starving") for n in range(200))
    names = ("last", "1000000", *PLAYERS)
    points = range(10_000, 1_000_001, 10_000)
    figures = {f"figure/{n}": (-1.2345e-05,) * 100 for n in range(40)}
    full = replace(
        record,
        evaluations=tuple(replace(record.evaluations[0], player=name, games=games) for name in names),
        curve=Curve(tuple(range(400)), (1234.5678901234567,) * 400, (1234.5678901234567,) * 400),
        training=Training(tuple(points), figures, (("warmup", 0),)),
    )
    assert len(record_text(full).encode()) < MOST_BYTES


def _end(env: int, length: int, score: float, end: str = "death") -> EpisodeEnd:
    return EpisodeEnd(env, env, length, score, score, 1, length, end)


def test_it_is_read_as_it_was_written(run_dir: Path, tmp_path: Path) -> None:
    record = make_record(run_dir)
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert read_record(tmp_path / "nothing") is None
    assert read_records(run_dir.parent)[0].run_id == min(run_dir.parent.glob("*-s*")).name[-10:]
    many = tuple(Game(seed, 1.5, 2.5, 100, 2, "death", "died") for seed in range(6000))
    large = replace(record, evaluations=(replace(record.evaluations[0], games=many),))
    with pytest.raises(StorageError, match=r"6,000 held-out games; keep fewer"):
        record_text(large)
    fitting = replace(record, evaluations=(replace(record.evaluations[0], games=many[:4000]),))
    assert len(record_text(fitting).encode()) < MOST_BYTES


DAMAGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "of another version": (lambda c: c.update(schema=3), "schema is 3, and this version reads 1 and 2"),
    "without a schema": (lambda c: c.pop("schema"), "schema is None"),
    "without a field": (lambda c: c.pop("training_code"), "training_code is missing"),
    "a seed of text": (lambda c: c.update(seed="0"), "seed cannot be 0"),
    "another status": (lambda c: c.update(status="running"), "status cannot be running"),
    "two budgets": (lambda c: c["budget"].update(episodes=4), "budget cannot be"),
    "a shorter curve": (lambda c: c["curve"]["mean_score"].pop(), "curve needs equally many"),
    "a shorter figure": (lambda c: c["training"]["figures"]["train/kl"].pop(), "training needs equally many"),
    "no training": (lambda c: c.pop("training"), "training. is no group of fields"),
    "a stage without its start": (lambda c: c["training"]["stages"][0].pop(), "training.stages cannot be"),
    "other first episodes": (lambda c: c["first_episodes"]["all"].popitem(), "first_episodes cannot be"),
    "no curve": (lambda c: c.pop("curve"), "curve. is no group of fields"),
    "no evaluations": (lambda c: c.pop("evaluations"), "evaluations is missing"),
    "another mode": (
        lambda c: c["evaluations"][0].update(mode="best"),
        r"evaluations\[0\].mode cannot be best",
    ),
    "other columns": (lambda c: c["evaluations"][0]["columns"].pop(), r"evaluations\[0\].columns must be"),
    "a short row": (
        lambda c: c["evaluations"][0]["games"][1].pop(),
        r"evaluations\[0\].games\[1\] has 6 columns",
    ),
    "another end": (lambda c: _set_end(c, "won"), r"evaluations\[0\].games\[1\].end cannot be won"),
}


def _set_end(content: Any, end: str) -> None:
    content["evaluations"][0]["games"][1][5] = end


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_with_file_and_field(damage: str, run_dir: Path, tmp_path: Path) -> None:
    change, told = DAMAGES[damage]
    content = json.loads((run_dir / "record.json").read_text())
    change(content)
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(StorageError, match=rf"{tmp_path}/record.json.*{told}"):
        read_record(tmp_path)


def test_a_study_as_frames(root: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    frames = tedg.runs("mine")
    assert list(frames.runs["seed"]) == [0, 1]
    assert set(frames.runs["option.fusion"]) == {"concat"}
    assert frames.games.groupby(["run_id", "player"])["score"].count().tolist() == [2] * 4
    assert len(frames.curves) == 2 * 128
    assert set(frames.episodes["run_id"]) == set(frames.runs["run_id"])
    with pytest.raises(ConfigError, match="there is no study other"):
        tedg.runs("other")
    # What was measured after the run's end is kept with it, and what is kept is read without its directory.
    games = {7: replace(_end(0, 4, 6.0), seed=7, cause="starving")}
    write_condition(run_dir, Condition("64", "greedy", 5), "warmup", games)
    assert study_command(["keep", "mine"]) == 0
    # What was measured after it had been kept is no other result.
    kept_result = root / "experiments/mine/runs" / run_dir.name / "result.json"
    content = read_json(kept_result) or {}
    measured = content.pop("modality")
    write_json(kept_result, content)
    assert study_command(["keep", "mine"]) == 0
    assert (read_json(kept_result) or {})["modality"] == measured
    (root / "multirun").rename(root / "elsewhere")
    try:
        kept = tedg.runs("mine")
        assert list(kept.runs["run_id"]) == list(frames.runs["run_id"])
        (row,) = kept.games[kept.games["weights"] == "64"].to_dict("records")
        assert (row["mode"], row["cap"], row["seed"], row["score"], row["cause"]) == (
            "greedy",
            5,
            7,
            6.0,
            "starving",
        )
        assert len(kept.episodes) == 0
    finally:
        (root / "elsewhere").rename(root / "multirun")
    # Kept games are never lost: a run that has them no more, or others, is not kept in their place.
    write_condition(run_dir, Condition("64", "greedy", 5), "warmup", {7: replace(games[7], score=9.0)})
    assert study_command(["keep", "mine"]) == 1
    write_condition(run_dir, Condition("64", "greedy", 5), "warmup", {**games, 8: replace(games[7], seed=8)})
    assert study_command(["keep", "mine"]) == 0


def test_tedg_is_imported_without_pandas() -> None:
    code = "import sys, tedg; tedg.runs; sys.exit('pandas' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
