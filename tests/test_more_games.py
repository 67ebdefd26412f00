"""A finished run that is asked for more held-out games plays those that are missing, and no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.settings import FASTEST
from support.stand_ins import Lines

from tedg.config.compose import Composed
from tedg.errors import StorageError
from tedg.learn import final
from tedg.run import app
from tedg.store.games import read_games

Compose = Callable[..., Composed]


@pytest.fixture
def finished(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that has played two games, seeds 500000 and 500001, and so has its random player."""
    return app.run(compose_tiny(*FASTEST), say=Lines()).run_dir


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The lists of seeds that are played from now on."""
    lists: list[tuple[int, ...]] = []
    original = final.listed_seeds

    def listed(seeds: tuple[int, ...], num_envs: int) -> object:
        lists.append(seeds)
        return original(seeds, num_envs)

    monkeypatch.setattr(final, "listed_seeds", listed)
    return lists


def again(compose_tiny: Compose, *overrides: str) -> tuple[app.Result, Lines]:
    said = Lines()
    return app.run(compose_tiny(*FASTEST, *overrides), say=said), said


@pytest.mark.more
def test_only_the_missing_games_are_played(
    compose_tiny: Compose, finished: Path, played: list[tuple[int, ...]]
) -> None:
    before = read_games(finished)
    result, said = again(compose_tiny, "eval.games=5")
    assert (result.run_dir, result.trained) == (finished, False)
    assert played == [(500002, 500003, 500004)]
    assert said.has("finished already; more held-out games are asked for than were played")
    assert said.has("playing 3 of policy, 3 of random")
    assert not said.has("nothing to do")
    games = read_games(finished)
    assert games is not None
    assert before is not None
    for name, known in before.items():
        assert {seed: games[name][seed] for seed in known} == known
        assert sorted(games[name]) == list(range(500000, 500005))
    stored = json.loads((finished / "result.json").read_text())
    assert [row["games"] for row in stored["evaluation"].values()] == [5, 5]
    mean = sum(end.score for end in games["policy"].values()) / 5
    assert stored["evaluation"]["policy"]["mean_score"] == pytest.approx(mean)
    played.clear()
    again(compose_tiny, "eval.games=5")
    again(compose_tiny, "eval.games=3")
    assert played == []
    assert json.loads((finished / "result.json").read_text()) == stored


@pytest.mark.more
def test_another_player_plays_what_the_policy_played(
    compose_tiny: Compose, finished: Path, played: list[tuple[int, ...]]
) -> None:
    _, said = again(compose_tiny, "eval.players=[random,script]")
    assert played == [(500000, 500001)]
    assert said.has("playing 2 of script")
    assert set(json.loads((finished / "result.json").read_text())["evaluation"]) == {
        "policy",
        "random",
        "script",
    }


@pytest.mark.more
def test_a_run_that_played_none_plays_them_when_it_is_asked(compose_tiny: Compose) -> None:
    before = app.run(compose_tiny(*FASTEST, "eval.games=0"), say=Lines())
    assert before.values["evaluation"] == {}
    result, _ = again(compose_tiny)
    assert (result.run_dir, result.trained) == (before.run_dir, False)
    assert [row["games"] for row in result.values["evaluation"].values()] == [2, 2]


def test_a_run_without_weights_says_that_fewer_are_shown(compose_tiny: Compose, finished: Path) -> None:
    shutil.rmtree(finished / "checkpoints")
    before = (finished / "result.json").read_bytes()
    _, said = again(compose_tiny, "eval.games=3")
    assert said.has("they cannot be played, so fewer are shown than were asked for")
    assert said.has("has no checkpoint")
    assert (finished / "result.json").read_bytes() == before


@pytest.mark.more
def test_a_player_without_weights_needs_none(compose_tiny: Compose, finished: Path) -> None:
    shutil.rmtree(finished / "checkpoints")
    _, said = again(compose_tiny, "eval.players=[random,script]")
    assert not said.has("they cannot be played")
    assert json.loads((finished / "result.json").read_text())["evaluation"]["script"]["games"] == 2


def test_a_run_that_another_process_finished_meanwhile_plays_them_too(
    compose_tiny: Compose, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result appears between the first look and the moment when the directory is owned."""
    looks = iter([None])
    read = app.read_json
    monkeypatch.setattr(app, "read_json", lambda path: next(looks, read(path)))
    result, said = again(compose_tiny, "eval.games=3")
    assert not result.trained
    assert said.has("playing 1 of policy, 1 of random")


@pytest.mark.more
def test_a_result_without_a_table_is_taken_at_its_word(
    compose_tiny: Compose, finished: Path, played: list[tuple[int, ...]]
) -> None:
    """As earlier versions left it: the games are counted, but nobody knows which scored what."""
    (finished / "games.csv").unlink()
    again(compose_tiny)
    assert played == []
    again(compose_tiny, "eval.first_seed=600000")
    assert played == [(600000, 600001)]


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize("content", ["", "player,seed\n", "{header}policy,0,x,1,1.0,1.0,1,1,death\n"])
def test_a_damaged_table_is_named(content: str, compose_tiny: Compose, finished: Path) -> None:
    header = (finished / "games.csv").read_text().splitlines(keepends=True)[0]
    (finished / "games.csv").write_text(content.format(header=header))
    with pytest.raises(StorageError, match=r"games\.csv"):
        again(compose_tiny, "eval.games=3")
