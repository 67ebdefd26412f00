"""The yardstick players: what they may choose, their rules, and how well they do."""

from __future__ import annotations

import numpy as np
import pytest
from support.nethack_games import SPEC

from tedg.envs.actions import CANCEL, EAT, GO_DOWN, NO, SEARCH, YES
from tedg.envs.atoms import ATOMS
from tedg.envs.observation import Observation
from tedg.envs.players import RandomLegalPlayer, RandomPlayer, ScriptPlayer, make_player
from tedg.envs.vector import NetHackVectorEnv, held_out_seeds

NAMES = ("random", "random_legal", "script")


def observation(num_envs=1, legal=range(1, 17), true=(), hostile=()):
    atoms = np.zeros((num_envs, len(ATOMS)), bool)
    atoms[:, [ATOMS.index(name) for name in true]] = True
    mask = np.zeros((num_envs, 23), bool)
    mask[:, list(legal)] = True
    directions = np.zeros((num_envs, 8), bool)
    directions[:, list(hostile)] = True
    return Observation(atoms=atoms, mask=mask, hostile_dirs=directions)


def test_random_uses_every_action_and_random_legal_only_the_legal():
    seen = observation(50, legal=(3, 7, 22))
    assert {a for _ in range(40) for a in RandomPlayer(50, 0).act(seen)} <= set(range(23))
    player, legal = RandomPlayer(50, 0), RandomLegalPlayer(50, 0)
    assert {int(a) for _ in range(20) for a in player.act(seen)} == set(range(23))
    assert {int(a) for _ in range(20) for a in legal.act(seen)} == {3, 7, 22}


@pytest.mark.parametrize("name", NAMES)
def test_a_game_does_not_depend_on_the_others(name):
    few, many = (make_player(name, n, 5, SPEC) for n in (2, 6))
    for _ in range(20):
        np.testing.assert_array_equal(few.act(observation(2)), many.act(observation(6))[:2])


@pytest.mark.parametrize(
    ("true", "legal", "hostile", "action"),
    [
        (("prompt", "q_eat_floor", "corpse_fresh_here"), (0, 6, 8), (), YES),
        (("prompt", "q_eat_floor"), (0, 6, 8), (), NO),
        (("prompt", "q_eat_floor", "corpse_fresh_here", "bad_corpse_here"), (0, 6, 8), (), NO),
        (("prompt", "q_attack"), (0, 6, 8), (), NO),
        (("prompt", "q_eat_item"), (0, 4), (), 4),
        (("prompt",), (0,), (), CANCEL),
        (("hostile_adj",), range(1, 17), (2, 5), 3),
        (("on_down",), range(1, 19), (), GO_DOWN),
        (("hungry", "food_typable"), range(1, 23), (), EAT),
        (("hp_low",), range(1, 23), (), SEARCH),
        (("hp_low", "on_down"), range(1, 23), (), SEARCH),
    ],
)
def test_rules_of_the_script(true, legal, hostile, action):
    assert ScriptPlayer(1, 0).act(observation(true=true, legal=legal, hostile=hostile)).tolist() == [action]


def test_script_walks_when_there_is_nothing_to_do():
    player, seen = ScriptPlayer(1, 0), observation(legal=(2, 12))
    actions = [int(player.act(seen)[0]) for _ in range(400)]
    assert set(actions) == {2, 12, SEARCH}
    assert 15 <= actions.count(SEARCH) <= 75  # one in ten


def test_unknown_player_and_missing_atoms_are_named():
    with pytest.raises(ValueError, match=r"'rnd'.*random"):
        make_player("rnd", 1, 0, SPEC)
    with pytest.raises(ValueError, match="hp_low"):
        ScriptPlayer(1, 0, atoms=[name for name in ATOMS if name != "hp_low"])


@pytest.mark.slow
def test_scores_at_500_steps():
    """Loose bands around 8.6, 19.8 and 52.1, the means of 200 games measured with separate code."""
    means = {}
    for name in NAMES:
        env = NetHackVectorEnv(
            "NetHackScore", "score", "nethack", 16, 500, "legal", held_out_seeds(500_000, 48, 16)
        )
        player, scores, played = make_player(name, 16, 0, env.spec), [], np.zeros(16, int)
        seen = env.reset()
        while (played < 3).any():
            step = env.step(player.act(seen))
            seen = step.observation
            for end in step.episodes:
                scores += [end.score] if played[end.env] < 3 else []
                played[end.env] += 1
        env.close()
        means[name] = np.mean(scores)
        assert len(scores) == 48
    print(means)
    assert 2 < means["random"] < 18
    assert 8 < means["random_legal"] < 35
    assert 35 < means["script"] < 75
