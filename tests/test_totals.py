"""What a run spent with all before it, back to a fresh start: in its result, its rows and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.runs import assert_equal, contents, run
from support.settings import FASTEST
from support.stand_ins import FakeTraining, Lines

from tedg.config.compose import Composed
from tedg.config.run_config import LoggerConfig
from tedg.errors import StorageError
from tedg.files import write_json
from tedg.run import app
from tedg.run.totals import spent_before, totals
from tedg.store.runlog import RunLog
from tedg.store.tables import read_metrics
from tedg.watch.progress import Progress, steps

Compose = Callable[..., Composed]


class Training(FakeTraining):
    """Says that it took 128 steps and 7 episodes."""

    def __call__(self, *arguments: Any) -> dict[str, Any]:
        return super().__call__(*arguments) | {"env_steps": 128, "episodes": 7}


def own(values: dict[str, Any]) -> tuple[Any, ...]:
    return values["total_env_steps"], values["total_episodes"], values["total_budget"]


@pytest.mark.more
def test_a_chain_counts_from_its_first_stage(compose_tiny: Compose) -> None:
    said, found = Lines(), {}
    for stage in ("warmup", "transition", "finetune"):
        run_dir = app.run(compose_tiny(f"stage={stage}"), Training(), said).run_dir
        result, provenance = (
            json.loads((run_dir / f"{name}.json").read_text()) for name in ("result", "provenance")
        )
        assert result["env_steps"] == 128
        found[stage] = own(result), provenance["before"]["env_steps"]
    assert found == {
        "warmup": ((128, 7, {"env_steps": 128}), 0),
        "transition": ((256, 14, {"env_steps": 256}), 128),
        "finetune": ((384, 21, {"env_steps": 384}), 256),
    }
    assert [line for line in said if line.startswith("total env steps")] == [
        "total env steps: 256",
        "total env steps: 384",
    ]
    # Weights alone: nobody knows what they took, nor what a run of them took in all.
    checkpoint = next((run_dir / "checkpoints").iterdir())
    unknown = app.run(compose_tiny("seed=1", f"init_from={checkpoint}"), Training(), said)
    assert own(unknown.values) == (None, None, None)
    assert said.has(f"{checkpoint} does not say all that was spent on its weights: totals will be null")
    assert spent_before(unknown.run_dir) == {"env_steps": None, "episodes": None, "budget": None}


def test_results_without_totals_are_known_where_they_began_fresh(tmp_path: Path) -> None:
    values = {"status": "finished", "parent": None, "env_steps": 5, "episodes": 2}
    write_json(tmp_path / "result.json", values)
    assert spent_before(tmp_path) == {"env_steps": 5, "episodes": 2, "budget": None}
    for change in ({"parent": "0123456789"}, {"status": "diverged", "total_env_steps": 5}):
        write_json(tmp_path / "result.json", {**values, **change})
        assert set(spent_before(tmp_path).values()) == {None}
    for change in ({"total_env_steps": "5"}, {"total_episodes": -1}, {"total_budget": {"env_steps": None}}):
        write_json(tmp_path / "result.json", {**values, **change})
        with pytest.raises(StorageError, match="is damaged: total_"):
            spent_before(tmp_path)


def test_budgets_of_two_units_are_not_added_up(compose_tiny: Compose) -> None:
    config = compose_tiny().config
    before = {"env_steps": 10, "episodes": 3, "budget": {"episodes": 3}}
    assert totals(config, {"env_steps": 128, "episodes": 7}, before) == {
        "total_env_steps": 138,
        "total_episodes": 10,
        "total_budget": {"episodes": 3, "env_steps": 128},
    }
    assert own(totals(config, {}, before))[:2] == (None, None)  # ended before it could count


def test_tensorboard_draws_a_stage_where_its_parent_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int | None] = []

    class Drawn:
        def __init__(self, directory: Path, resume_step: int | None) -> None:
            drawn.append(resume_step)

        def write(self, step: int, wall_time: float, figures: Any) -> None:
            drawn.append(step)

        def close(self) -> None:
            pass

    def record(run_dir: Path, update: int, total: dict[str, int]) -> None:
        log = RunLog(run_dir, update, 10 * update, LoggerConfig(tensorboard=True), print)
        log.append(update + 1, 10 * (update + 1), total, {}, [])
        log.note_held_out({"policy": {"mean_score": 1.0}})
        log.close()

    monkeypatch.setattr("tedg.store.runlog.TensorBoard", Drawn)
    record(tmp_path, 0, {"total_env_steps": 40})
    record(tmp_path, 1, {"total_env_steps": 50})
    record(tmp_path / "alone", 0, {})
    assert drawn == [None, 40, 40, 41, 50, 50, None, 10, 10]
    progress = Progress(1, "finetune", 10, 1, 0.5, {"total_env_steps": 1040}, {})
    assert steps(progress) == "10 steps (1,040 in all)"
    assert steps(replace(progress, metrics={})) == "10 steps"


@pytest.mark.more
def test_rows_of_a_chained_run_say_its_total_and_a_resumed_one_ends_equal(
    compose_tiny: Compose, tmp_path: Path
) -> None:
    config = compose_tiny(*FASTEST, "eval.games=0", "budget.env_steps=192").config
    provenance = {"run_id": "0123456789", "sessions": [{}]}
    before = {"env_steps": 1000, "episodes": 5, "budget": None}
    for name, own in (("alone", {}), ("whole", {"before": before}), ("parts", {"before": before})):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "provenance.json", provenance | own)
    run(config, tmp_path / "alone")
    run(config, tmp_path / "whole")
    while run(config, tmp_path / "parts", 1)[0] is None:
        pass
    assert_equal(contents(tmp_path / "parts"), contents(tmp_path / "whole"))
    alone, chained = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("alone", "whole"))
    assert [row["total_env_steps"] for row in chained] == [1064, 1128, 1192]
    assert alone == [{key: row[key] for key in row if key != "total_env_steps"} for row in chained]
