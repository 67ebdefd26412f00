"""docs/metrics.md names what runs log, and nothing else; earlier runs are read by today's names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from support.records import record
from support.runs import run
from support.settings import TINY

from tedg.config.compose import compose
from tedg.envs.observation import EpisodeEnd
from tedg.files import write_json
from tedg.learn import modality
from tedg.learn.evaluation import Summary
from tedg.learn.objective import figure_of
from tedg.run.course import training
from tedg.store.metrics import (
    ENTROPIES,
    GROUPS,
    HELD_OUT,
    LIVENESS,
    MODALITY,
    RENAMED,
    TIMES,
    UPDATES,
    Group,
    page,
)
from tedg.store.record import read_record, write_record
from tedg.store.tables import read_metrics

ROOT = Path(__file__).parents[1]


def test_the_page_is_made_of_the_table() -> None:
    found = (ROOT / "docs" / "metrics.md").read_text()
    assert found == page(), "write tedg.store.metrics.page() to docs/metrics.md"


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.title)
def test_every_line_says_something_of_its_own(group: Group) -> None:
    assert len({one.name for one in group.metrics}) == len(group.metrics)
    for one in group.metrics:
        assert all(text and text == text.strip() for text in asdict(one).values()), one


def test_names_in_brackets_stand_for_many() -> None:
    assert UPDATES.strange({"router/usage_11": 0, "gradient/W_Q": 0, "loss/alignment": 0}) == []
    strange = ["router/usage_", "router/usage", "gradient/a/b", "loss/", "policy/entropy2", "xrouter/usage_1"]
    assert UPDATES.strange(dict.fromkeys(strange)) == strange


def unlogged(group: Group, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Figures of a group that no row has."""
    names = {name for row in rows for name in row}
    return [one.name for one in group.metrics if not any(map(one.matches, names))]


@pytest.mark.more
def test_a_run_logs_what_the_page_lists_and_nothing_else(tmp_path: Path) -> None:
    """Attention with a gate, three stages, and weights from another run: all kinds of figures."""
    more = (
        "stage=curriculum",
        "env.num_envs=8",
        "budget.env_steps=512",
        "init_from=none",
        "fusion=cross_attn",
    )
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    before = {"env_steps": 1000, "episodes": 5, "budget": None}
    write_json(run_dir / "provenance.json", {"run_id": "0123456789", "sessions": [{}], "before": before})
    result, _ = run(compose([*TINY, *more]).config, run_dir)
    rows, times = (
        [json.loads(line) for line in (run_dir / name).read_text().splitlines()]
        for name in ("metrics.jsonl", "timing.jsonl")
    )
    found = {
        UPDATES: rows,
        TIMES: times,
        HELD_OUT: result["evaluation"].values(),
        LIVENESS: [result["liveness"]],
        MODALITY: [result["modality"]],
    }
    for group, logged in found.items():
        assert [name for row in logged for name in group.strange(row)] == [], group.title
        missing = unlogged(group, logged)
        assert [name for name in missing if name != "missing"] == [], group.title


def test_what_ends_a_run_is_listed() -> None:
    game = EpisodeEnd(env=0, seed=1, length=5, episode_return=1.0, score=1.0, depth=1, turns=5, end="death")
    assert HELD_OUT.strange(asdict(Summary.of([game, game]))) == []
    assert MODALITY.strange(dict.fromkeys(modality.NAMES)) == []
    assert unlogged(MODALITY, [dict.fromkeys(modality.NAMES)]) == []


def test_entropies_are_no_losses() -> None:
    assert figure_of("value") == "loss/value"
    assert (figure_of("entropy"), figure_of("alpha_entropy")) == ENTROPIES
    assert not [name for name in ENTROPIES if name.startswith("loss/") or UPDATES.strange({name: 0})]


def test_rows_and_records_of_earlier_versions_are_read_by_todays_names(tmp_path: Path) -> None:
    old = {"update": 1, "env_steps": 64, "loss/entropy": 2.5, "loss/alpha_entropy": 1.25, "loss/value": 0.5}
    path = tmp_path / "metrics.jsonl"
    # A run that was begun by an earlier version and goes on with this one has rows of both.
    new = {
        "update": 2,
        "env_steps": 128,
        "policy/entropy": 2.0,
        "router/soft_entropy": 1.0,
        "loss/value": 0.25,
    }
    path.write_text("".join(json.dumps(row) + "\n" for row in (old, new)))
    rows = read_metrics(path)
    assert [row["policy/entropy"] for row in rows] == [2.5, 2.0]
    assert [row["router/soft_entropy"] for row in rows] == [1.25, 1.0]
    assert not [name for row in rows for name in row if name in RENAMED]
    figures = training(rows, 128).figures
    assert figures["policy/entropy"] == (2.5, 2.0)

    write_record(tmp_path, record("concat", 0, 50.0))
    written = json.loads((tmp_path / "record.json").read_text())
    written["training"] = {"env_steps": [64], "figures": {"loss/entropy": [2.5]}, "stages": []}
    write_json(tmp_path / "record.json", written)
    read = read_record(tmp_path)
    assert read is not None
    assert read.training.figures == {"policy/entropy": (2.5,)}
