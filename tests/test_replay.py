"""A recorded game as a page: bookmarks, what is packed and how, and the command."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from support.settings import FASTEST, ON_NETHACK, TINY
from support.stand_ins import Lines

from tedg.config.compose import compose
from tedg.envs.actions import ACTION_NAMES
from tedg.envs.observation import EpisodeEnd
from tedg.errors import ConfigError
from tedg.hypergraph.schema import load_hypergraph
from tedg.learn.promises import promised_effects
from tedg.models.vision import Region
from tedg.play.record import record
from tedg.play.recording import About, Recording, rules_of
from tedg.replay import choose
from tedg.replay.__main__ import run
from tedg.replay.marks import HOLDS, Mark, marks, parting
from tedg.replay.pack import NONE, attention_bytes, best_operators, packed
from tedg.replay.page import page
from tedg.run import app
from tedg.store.conditions import Condition, write_condition

STEPS, HEADS, KEYS = 60, 2, 5
SCORE, DEPTH, LEVEL = 9, 12, 18


def recorded(**changes: Any) -> Recording:
    """A made-up game with everything in it, the same each time."""
    rng = np.random.default_rng(0)
    graph = load_hypergraph("nethack")
    end = EpisodeEnd(0, 7, STEPS, 1.5, 20.0, 2, 90, "death", "starving")
    about = About(
        run="mine",
        stage="finetune",
        seed=7,
        cap=100,
        task="NetHackScore",
        end=end,
        actions=ACTION_NAMES,
        atoms=graph.atoms,
        experts=graph.experts,
        operators=rules_of(graph),
        regions=(*(Region(True, -1, key, 1, 1) for key in range(KEYS - 1)), None),
    )
    weights = rng.random((STEPS, HEADS, KEYS)) * (rng.random((STEPS, HEADS, KEYS)) < 0.6) + 1e-6
    weights[0, 0] = (0, 1e-9, 0.5, 0, 0.5)
    blstats = np.zeros((STEPS, 27), np.int32)
    blstats[:, (DEPTH, LEVEL)] = 1
    atoms = rng.random((STEPS, len(graph.atoms))) < 0.5
    own: dict[str, Any] = {
        "chars": np.full((STEPS, 21, 79), ord("."), np.uint8),
        "colors": np.full((STEPS, 21, 79), 7, np.uint8),
        "blstats": blstats,
        "message": np.zeros((STEPS, 256), np.uint8),
        "action": rng.integers(0, 23, STEPS).astype(np.uint8),
        "reward": rng.random(STEPS).astype(np.float32),
        "legal": rng.random((STEPS, 23)) < 0.7,
        "probabilities": rng.dirichlet(np.ones(23), STEPS).astype(np.float32),
        "value": np.zeros(STEPS, np.float32),
        "alpha": np.tile(np.float32([0.7, 0.1, 0.1, 0.1]), (STEPS, 1)),
        "atoms": atoms,
        "operator_scores": rng.standard_normal((STEPS, len(graph.operators))).astype(np.float32),
        "attention": (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32),
    }
    return Recording(about=about, **(own | changes))


def unpacked(content: bytes) -> tuple[dict[str, Any], list[dict[str, npt.NDArray[Any]]]]:
    """What the page's script makes of it."""
    raw = gzip.decompress(content)
    start = 4 + int.from_bytes(raw[:4], "little")
    told = json.loads(raw[4:start])
    games = []
    for game in told["games"]:
        columns = {}
        for one in game["columns"]:
            rows = np.frombuffer(raw, np.uint8, one["bytes"], start + one["start"])
            rows = rows.reshape(game["steps"], -1)
            rows = np.bitwise_xor.accumulate(rows, axis=0) if one["xor"] else rows
            columns[one["name"]] = np.ascontiguousarray(rows).view(one["type"])
        games.append(columns)
    return told, games


def test_what_is_packed_is_what_was_recorded() -> None:
    game = recorded()
    game.message[3, :5] = np.frombuffer(b"Hi \x1b!", np.uint8)
    told, (columns, other) = unpacked(packed([(game, marks(game)), (game, [])]))
    assert [mark["kind"] for mark in told["games"][0]["marks"]] == ["end"]
    assert told["games"][0]["about"]["end"]["cause"] == "starving"
    for name in ("chars", "colors", "blstats", "action", "reward", "value"):
        assert np.array_equal(columns[name].reshape(getattr(game, name).shape), getattr(game, name)), name
        assert np.array_equal(columns[name], other[name])
    texts = [told["games"][0]["messages"][number] for number in columns["message"][:, 0]]
    assert texts == ["Hi \\x1b!" if step == 3 else "" for step in range(STEPS)]
    for name, count in (("legal", 23), ("atoms", 128)):
        bits = np.unpackbits(columns[name], axis=1, bitorder="little", count=count)
        assert np.array_equal(bits.astype(bool), getattr(game, name))
    for name in ("probabilities", "alpha"):
        assert np.abs(columns[name] / 65535 - getattr(game, name)).max() < 1e-5
    heights = columns["attention"].reshape(game.attention.shape) / 255
    assert np.abs(heights - game.attention / game.attention.max(axis=2, keepdims=True)).max() <= 1 / 255


def test_dropped_keys_are_0_and_no_others() -> None:
    weights = np.float32([[[0, 1e-9, 0.5, 0.5, 0]]])
    assert attention_bytes(weights).tolist() == [[[0, 1, 255, 255, 0]]]
    assert attention_bytes(np.zeros((1, 1, 2), np.float32)).tolist() == [[[0, 0]]]
    assert attention_bytes(np.zeros((3, 0, 0), np.float32)).shape == (3, 0, 0)


def test_the_best_operators_are_those_that_promises_are_measured_of() -> None:
    game = recorded()
    graph = load_hypergraph("nethack")
    best, scores = best_operators(game)
    assert (np.diff(np.where(best == NONE, -np.inf, scores), axis=1) <= 0).all()
    promised = came = 0
    place = {atom: number for number, atom in enumerate(graph.atoms)}
    for step, (first, *_) in enumerate(best[:-1]):
        if first == NONE:
            continue
        for effect in game.about.operators[first].effects:
            column, right = place[effect.removeprefix("¬")], not effect.startswith("¬")
            if game.atoms[step, column] != right:
                promised += 1
                came += game.atoms[step + 1, column] == right
    tensors = (torch.as_tensor(x) for x in (game.operator_scores[:-1], game.atoms[:-1], game.atoms[1:]))
    figures = promised_effects(graph, *tensors)
    assert promised > 20
    assert figures["effects/promised"] == promised
    assert figures["effects/came_true"] == pytest.approx(came / promised)


def test_bookmarks() -> None:
    blstats = recorded().blstats.copy()
    blstats[10:, DEPTH], blstats[14:16, DEPTH], blstats[20:, LEVEL] = 2, 1, 3
    alpha = np.tile(np.float32([0.7, 0.1, 0.1, 0.1]), (STEPS, 1))
    alpha[30 : 30 + HOLDS - 1, 1] = 1  # too short to count
    alpha[45:, 2] = 1
    value = np.zeros(STEPS, np.float32)
    value[:25], value[25:33] = 4, 0.5
    assert marks(recorded(blstats=blstats, alpha=alpha, value=value)) == [
        Mark(10, "depth", "new level: depth 2"),
        Mark(20, "level", "experience level 3"),
        Mark(25, "drop", "value falls from 4.00 to 0.50"),
        Mark(45, "switch", "expert Survival to Exploration"),
        Mark(59, "end", "death (starving)"),
    ]


def test_where_two_games_part() -> None:
    game = recorded()
    assert parting(game, game) is None
    action, chars = game.action.copy(), game.chars.copy()
    action[12] = (action[12] + 1) % 23
    chars[9, 3, 3] = 0
    other = replace(game, action=action)
    assert parting(game, other) == parting(other, game) == 12
    assert parting(replace(game, chars=chars), replace(game, action=action)) == 9


def test_experts_of_a_policy_that_are_none_of_the_hypergraph_have_numbers() -> None:
    alpha = np.tile(np.float32([0.7, 0.3]), (STEPS, 1))
    alpha[45:] = (0.1, 0.9)
    assert marks(recorded(alpha=alpha))[0] == Mark(45, "switch", "expert 1 to 2")


def test_a_policy_without_attention_and_operators_has_a_page() -> None:
    empty = np.zeros((STEPS, 0), np.float32)
    text = page([recorded(operator_scores=empty, attention=np.zeros((STEPS, 0, 0), np.float32))])
    data = re.search(r'id="games">([\w+/=]+)</script>', text)
    assert data is not None
    told, (columns,) = unpacked(base64.b64decode(data[1]))
    assert told["games"][0]["heads"] == 0
    assert not {"attention"} & columns.keys()
    assert (columns["best"] == NONE).all()


def test_which_of_the_held_out_games_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(seed: int, score: float, how: str) -> EpisodeEnd:
        return EpisodeEnd(0, seed, 5, 1.0, score, 1, 5, how)

    class Policy:
        run_dir = tmp_path

    games = {
        4: end(4, 9.0, "truncated"),
        5: end(5, 1.0, "death"),
        6: end(6, 9.0, "death"),
        7: end(7, 0, "lost"),
    }
    write_condition(tmp_path, Condition(cap=5), "warmup", games)
    found = {kind: choose.chosen_seed(Policy(), kind, 5, None, None) for kind in ("best", "worst", "death")}  # type: ignore[arg-type]
    assert found == {"best": 4, "worst": 5, "death": 5}
    # Under another cap nothing was played yet.
    monkeypatch.setattr(choose, "_played", lambda *_: {8: end(8, 2.0, "truncated")})
    assert choose.chosen_seed(Policy(), "best", 6, None, None) == 8  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"none of 1 games of .* ends in death within 6 env steps"):
        choose.chosen_seed(Policy(), "death", 6, None, None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("replayed")
    settings = (*TINY, *ON_NETHACK, *FASTEST, "env.num_workers=0", "eval.games=0", f"paths.output_dir={root}")
    return app.run(compose(settings), say=Lines()).run_dir


@pytest.mark.more
def test_the_command_writes_a_page(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([str(run_dir), "--seed", "500003", "--cap", "20"]) == 0
    out = capsys.readouterr().out
    place = run_dir / "replay" / "500003.html"
    assert out.splitlines()[0].startswith(f"{run_dir.name}: game 500003, score ")
    assert f"page: {place}" in out
    assert f"{run_dir.name}</strong>, stage warmup, NetHackScore game 500003" in place.read_text()
    monkeypatch.setattr(choose, "GAMES", 3)
    assert run([str(run_dir), "--best", "--cap", "30", "--out", "best.html"]) == 0
    best = re.match(r".*: game (\d+), score (\d+) after 30 steps, cut off", capsys.readouterr().out)
    assert best is not None
    scores = {seed: record(run_dir, seed, 30).about.end.score for seed in range(500_000, 500_003)}
    assert scores[int(best[1])] == int(best[2]) == max(scores.values())
    assert run([str(run_dir), "--cap", "10", "--against", str(run_dir), "--out", "x/two.html"]) == 0
    data = re.search(r'id="games">([\w+/=]+)</script>', Path("x/two.html").read_text())
    assert data is not None
    told, games = unpacked(base64.b64decode(data[1]))
    assert [[mark["kind"] for mark in game["marks"]].count("part") for game in told["games"]] == [0, 0]
    assert len(games) == 2


@pytest.mark.more
def test_what_cannot_be_shown_is_refused(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_dir.parent)
    mine, folder = run_dir.name, run_dir.parent.name
    (tmp_path / "file").touch()
    other = Path(shutil.copytree(run_dir, tmp_path / "other"))
    text = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("task: NetHackScore", "task: NetHackGold"))
    for arguments, right in (
        ([mine[:-1]], f"there is no run {mine[:-1]}, here or in outputs or multirun; did you mean {mine}"),
        ([f"../{folder}"], f"../{folder} is a folder of runs, name one of them: {mine}"),
        ([mine, "--against", "nobody"], "there is no run nobody"),
        ([mine, "--against", str(other)], "the runs play NetHackScore and NetHackGold: no game is the same"),
        ([mine, "--cap", "0"], "cap 0: must be at least 1"),
        ([mine, "--seed", "-1"], "seed -1: must be from 0 to 1073741823; training plays the others"),
        ([mine, "--out", "."], "--out .: is a directory; name a file in it"),
        ([mine, "--out", f"{tmp_path}/file/x.html"], "file is a file, not a directory; --out names another"),
    ):
        assert run(arguments) == 2
        assert right in capsys.readouterr().err
    shutil.rmtree(other / "checkpoints")
    assert run([str(other)]) == 2
    assert "other has no weights" in capsys.readouterr().err


def test_a_refusal_waits_for_no_torch(tmp_path: Path) -> None:
    code = """
import sys
from tedg.replay.__main__ import run
assert run(["nobody"]) == 2
assert "torch" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "error: there is no run nobody, here or in outputs or multirun\n"
