"""Toy games: their optimum and chance level, what tells the answer, and that nothing else does."""

from __future__ import annotations

import numpy as np
import pytest

from tedg.config.compose import compose
from tedg.envs.features import STATE_HIGH, STATE_LOW
from tedg.envs.glyphs import STONE
from tedg.envs.observation import Player
from tedg.envs.players import RandomLegalPlayer, make_player
from tedg.envs.seeds import training_seeds
from tedg.envs.toys.draws import Draws
from tedg.envs.toys.env import ToyVectorEnv
from tedg.envs.toys.needle import KINDS, Needle
from tedg.envs.toys.probes import Constant
from tedg.errors import ConfigError
from tedg.files import conf_dir
from tedg.learn.setup import make_env

GAMES = sorted(file.stem for file in (conf_dir() / "env" / "game").glob("*.yaml"))
# Reward per step of the best and of random legal play.
LEVELS = {
    "constant": (1, 1), "seen": (0, 0), "two_step": (0.5, 0.5), "endless": (1, 1), "action": (1, 1 / 23),
    "context": (1, 0.5), "masked": (0.5, 0.25), "visual_only": (1, 0.5), "logic_only": (1, 0.5),
    "four_experts": (1, 0.25), "needle": (1, 0.5), "sparse_needle": (1, 0.5),
}  # fmt: skip


def make(game, *overrides, num_envs=32):
    own = game in ("fake", "needle", "sparse_needle")
    group = [f"env={game}"] if own else ["env=probe", f"env/game={game}"]
    return make_env(compose([*group, *overrides]).config, training_seeds(0), num_envs)


def play(env, player, steps):
    """The first observation, and every step."""
    observation = env.reset()
    history = []
    for _ in range(steps):
        step = env.step(player.act(observation))
        history.append(step)
        observation = step.observation
    return history


@pytest.mark.more_than_first(2)
@pytest.mark.parametrize("game", GAMES)
def test_frames_fit_the_observation_space(game):
    env = make(game)
    assert isinstance(env.spec.script, Player)
    for step in play(env, RandomLegalPlayer(32, 0), 12):
        seen = step.observation
        assert (seen.state >= STATE_LOW).all()
        assert (seen.state <= STATE_HIGH).all()
        assert seen.mask.any(1).all()
        assert (seen.overview.sum(3)[:, :, :-1] == 12).all()
        assert (seen.overview.sum(3)[:, :, -1] == 9).all()
        # The whole crop lies on the map: neither the hero nor what is around it can be outside.
        assert (seen.hero >= 4).all()
        assert (seen.hero < (21 - 4, 79 - 4)).all()


@pytest.mark.more_than_first(2)
@pytest.mark.parametrize("game", GAMES)
def test_a_game_is_the_same_in_any_vector(game):
    together = play(make(game), RandomLegalPlayer(32, 0), 12)
    few = play(make(game, num_envs=3), RandomLegalPlayer(3, 0), 12)
    for a, b in zip(together, few, strict=True):
        np.testing.assert_array_equal(a.reward[:3], b.reward)
        for (name, x), (_, y) in zip(a.observation.items(), b.observation.items(), strict=True):
            np.testing.assert_array_equal(x[:3], y, err_msg=name)


@pytest.mark.more_than_first(2)
@pytest.mark.parametrize("game", sorted(LEVELS))
def test_optimum_and_chance_are_as_documented(game):
    best, chance = LEVELS[game]
    env = make(game)
    for player, level in ((env.spec.script, best), (RandomLegalPlayer(32, 0), chance)):
        rewards = np.array([step.reward for step in play(env, player, 100)])
        # Contexts are drawn at random, so where the reward depends on them alone the mean is too.
        assert rewards.mean() == pytest.approx(level, abs=0.06)
        if level == best and game != "seen":
            assert rewards.mean() == best


@pytest.mark.parametrize(
    ("game", "length", "end"),
    [("constant", 1, "death"), ("two_step", 2, "death"), ("endless", 5, "truncated")],
)
def test_how_episodes_end(game, length, end):
    env = make(game)
    episodes = [episode for step in play(env, env.spec.script, 20) for episode in step.episodes]
    assert len(episodes) == 32 * 20 // length
    assert {(episode.length, episode.end) for episode in episodes} == {(length, end)}


def test_every_game_of_the_configuration_has_a_documented_level():
    assert {*LEVELS, "fake"} == set(GAMES)


def varying(game):
    """Names of the observation's fields that differ between a game's frames.

    `noise` is left out: it is for policies that act at random, and of the seed alone.
    """
    frames = [step.observation for step in play(make(game), RandomLegalPlayer(32, 0), 10)]
    first = frames[0]
    found = {
        name
        for frame in frames
        for name, values in frame.items()
        if (values != getattr(first, name)[:1]).any()
    }
    return found - {"noise"}


@pytest.mark.more_than_first(3)
@pytest.mark.parametrize(
    ("game", "fields"),
    [
        ("constant", set()), ("endless", set()), ("action", set()), ("masked", set()),
        ("context", {"atoms", "crop", "state"}), ("visual_only", {"crop"}),
        ("logic_only", {"atoms"}), ("four_experts", {"atoms"}), ("needle", {"atoms", "crop"}),
        ("sparse_needle", {"atoms", "crop"}),
    ],
)  # fmt: skip
def test_nothing_but_what_may_tell_varies(game, fields):
    assert varying(game) == fields


def test_the_best_action_of_masked_is_never_legal_and_pays_where_the_mask_is_off():
    env = make("masked")
    assert not any(step.observation.mask[:, 1].any() for step in play(env, env.spec.script, 20))
    free = make("masked", "env.action_mask=none")
    assert np.mean([step.reward for step in play(free, free.spec.script, 20)]) == 1


def needles(steps=200, game="needle"):
    """Atoms, crops and right answers of 6,400 needles."""
    env = make(game)
    seen = [step.observation for step in play(env, RandomLegalPlayer(32, 0), steps)]
    answers = np.concatenate([env.spec.script.act(frame) - 1 for frame in seen])
    return np.concatenate([f.atoms for f in seen]), np.concatenate([f.crop for f in seen]), answers


def test_needle_names_one_cell_and_pays_for_what_stands_there():
    atoms, crops, answers = needles()
    assert (atoms.sum(1) == 1).all()
    side = round(len(Needle.atoms) ** 0.5)
    first = 4 - side // 2
    for atom, crop, answer in zip(atoms[:300], crops, answers, strict=False):
        row, column = divmod(int(atom.argmax()), side)
        assert crop[first + row, first + column] == KINDS[answer]


def test_needle_is_not_told_by_either_stream_alone():
    """Neither the named cell, nor any fixed cell, nor the counts of kinds say much about the answer."""
    atoms, crops, answers = needles()
    chance = 1 / len(KINDS)
    by_cell = [np.bincount(answers[atoms[:, k]], minlength=len(KINDS)).max() for k in range(atoms.shape[1])]
    assert sum(by_cell) / len(answers) < chance + 0.05
    kinds = (crops[..., None] == KINDS).argmax(-1).reshape(len(crops), -1)
    # A cell that is named now and then agrees with the answer then, and by chance otherwise.
    assert (kinds == answers[:, None]).mean(0).max() < chance + 0.1
    counts = np.stack([(kinds == kind).sum(1) for kind in range(len(KINDS))], axis=1)
    assert (counts.argmax(1) == answers).mean() < chance + 0.08


def test_sparse_needle_names_cells_that_stand_apart_in_stone():
    atoms, crops, answers = needles(50, "sparse_needle")
    assert (atoms.sum(1) == 1).all()
    for atom, crop, answer in zip(atoms[:300], crops, answers, strict=False):
        row, column = divmod(int(atom.argmax()), 4)
        assert crop[1 + 2 * row, 1 + 2 * column] == KINDS[answer]
        assert (crop != STONE).sum() == 16
    # Going by the more frequent kind, and by chance where there is none.
    many = (crops == KINDS[1]).sum((1, 2))
    guess = np.where(many == 8, 0.5, (many > 8) == answers)
    assert abs(guess.mean() - 0.598) < 0.02


def test_draws_are_uniform_and_each_games_own():
    seeds, turns = np.arange(200), np.zeros(200, np.int64)
    drawn = Draws(seeds, turns).uniform(50)
    assert len(np.unique(drawn)) == drawn.size
    assert np.abs(np.histogram(drawn, bins=10, range=(0, 1))[0] / 1000 - 1).max() < 0.15
    assert abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 0.05
    np.testing.assert_array_equal(Draws(seeds[7:9], turns[:2]).uniform(50), drawn[7:9])
    split = Draws(seeds, turns)
    np.testing.assert_array_equal(np.hstack([split.uniform(20), split.uniform(30)]), drawn)
    assert not np.isin(Draws(seeds, turns + 1).uniform(50), drawn).any()
    assert set(np.unique(Draws(seeds, turns).integers(3, 50))) == {0, 1, 2}


def test_a_hypergraph_of_other_atoms_is_refused():
    with pytest.raises(ValueError, match=r"the game constant has the atoms context_0.*nethack has hp_full"):
        ToyVectorEnv(Constant(), "nethack", 4, 5, "legal", training_seeds(0))
    for wrong in (["env=needle", "env.hypergraph=nethack"], ["env=probe", "env/game=needle"]):
        with pytest.raises(ConfigError, match=r"env\.hypergraph=\w+: must have the game's atoms"):
            compose(wrong)
    assert compose(["env=fake", "env.hypergraph=probe"])


@pytest.mark.parametrize("counts", [(0, 5), (4, 0)])
def test_counts_below_one_are_refused(counts):
    with pytest.raises(ValueError, match="must be positive"):
        ToyVectorEnv(Constant(), "probe", *counts, "legal", training_seeds(0))


def test_script_is_the_games_own():
    env = make("needle")
    assert make_player("script", 32, 0, env.spec) is env.spec.script
