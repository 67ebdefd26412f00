"""A score is the game's own: games of tedg.evaluate, played again in NLE alone and in tedg as it is now."""

from __future__ import annotations

import pytest
from support.experiments import EXPERIMENTS, script
from support.nethack_games import OneGame


@pytest.mark.more
def test_scores_are_those_of_nle_alone() -> None:
    replay = script("replayed", "replay")
    games = replay.games()
    assert len(games) >= 50
    # The shortest death with points of each player but the last; of that a game that was cut off.
    *others, last = dict.fromkeys(game["player"] for game in games)
    some = [
        min(
            (one for one in games if (one["player"], one["end"]) == kind and int(one["score"]) >= 10),
            key=lambda one: int(one["length"]),
        )
        for kind in [*((player, "death") for player in others), (last, "truncated")]
    ]
    assert len(some) == 5
    taxed = 0
    mine = OneGame(cap=1000)
    for game in some:
        seed, actions = int(game["seed"]), [replay.LETTERS.index(letter) for letter in game["actions"]]
        found = replay.replay(seed, actions)
        assert not replay.unlike(game, found)
        if game["end"] == "death":
            assert found.points == found.score - found.gold // 10
            taxed += found.points < found.score
        mine.start(seed)
        ends = [mine.step(action)[1:] for action in actions]
        assert not any(map(any, ends[:-1]))
        now = mine.end()
        assert (now.score, now.length, now.end) == (found.score, found.steps, game["end"])
        assert abs(now.episode_return - found.total) < 1e-9
        # A game that misses an action is another one, or this test would see nothing.
        assert replay.unlike(game, replay.replay(seed, actions[:-1]))
    mine.close()
    assert taxed


def test_every_game_was_the_same_when_it_was_replayed() -> None:
    replay = script("replayed", "replay")
    rows = replay.games(EXPERIMENTS / "replayed/results.csv")
    games = replay.games()
    assert [(row["player"], row["seed"], row["replayed"]) for row in rows] == [
        (game["player"], game["seed"], game["score"]) for game in games
    ]
    deaths = [row for row in rows if row["points"]]
    assert [row["end"] for row in deaths] == ["death"] * len(deaths) != []
    assert all(int(row["points"]) == int(row["score"]) - max(0, int(row["gold"])) // 10 for row in deaths)
