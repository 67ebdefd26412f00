"""One game: NLE's traps stay fixed."""

from __future__ import annotations

import numpy as np
import pytest
from nle.env import tasks

from tedg.envs.frames import FRAME_KEYS, Frames
from tedg.envs.nethack import TASKS, NetHackGame


def new_game(cap=10**6, task="NetHackScore"):
    frames = Frames.allocate(1)
    return NetHackGame(task, cap, frames.row(0)), frames


def play(game, frames, actions):
    """Glyphs and blstats after each action, up to the end of the game."""
    seen = []
    for action in actions:
        over = game.step(int(action))
        seen.append((frames.glyphs[0].copy(), frames.blstats[0].copy()))
        if over.terminated or over.truncated:
            break
    return seen


def nles_own(task):
    return getattr(tasks, task)(observation_keys=FRAME_KEYS, max_episode_steps=10**9, fix_moon_phase=True)


# One for each action: more of those that raise questions or leave the level.
ODDS = np.array([1, *[2] * 16, 6, 6, 1, 2, 3, 1]) / 52


@pytest.mark.parametrize("task", TASKS)
def test_games_are_those_of_nle(task):
    """Frames, rewards and ends are NLE's own, over prompts, menus, deaths and aims that are reached."""
    game, frames = new_game(task=task)
    plain = nles_own(task)
    for env in (game._env, plain):
        env.oracle_glyph = 2371  # a doorway; nobody meets the Oracle by chance
    keys = set()
    press = plain.nethack.step
    plain.nethack.step = lambda key: keys.add(int(key)) or press(key)
    ends, steps, prompts = set(), 0, 0
    for seed in (3, 27, 38, 46, 147):
        game.start(seed)
        plain.seed(seed, seed, reseed=False)
        shown, _ = plain.reset()
        for action in np.random.default_rng(seed).choice(23, p=ODDS, size=300):
            step = game.step(int(action))
            shown, reward, over, _, info = plain.step(int(action))
            assert step == (reward, over, False)
            assert type(step.reward) is float
            for key in FRAME_KEYS:
                np.testing.assert_array_equal(getattr(frames, key)[0], shown[key])
            steps, prompts = steps + 1, prompts + shown["misc"][0]
            if over:
                assert not frames.blstats.any()
                assert game.end == ("success" if info["end_status"] == 2 else "death")
                ends.add(game.end)
                break
        else:
            assert game.end == ""
    aims = {"NetHackStaircase", "NetHackStaircasePet", "NetHackOracle"}
    assert ends == ({"death", "success"} if task in aims else {"death"})
    assert steps > 150
    assert prompts > 50
    assert {ord(" "), 27} <= keys  # NLE's own answers
    game.close()
    plain.close()


class Scripted:
    """NetHack that shows what a script says: one (asks, wants text, shows more, message, over) per key."""

    def __init__(self, script, internal, message):
        self._script, self._internal, self._message = iter(script), internal, message
        self.keys = []

    def step(self, key):
        self.keys.append(key)
        *self._internal[1:4], text, self._over = next(self._script)
        self._message[:] = np.frombuffer(text.ljust(256, b"\0"), np.uint8)

    def done(self):
        return self._over


def test_answers_without_being_asked_are_those_of_nle():
    """Some of what NLE answers by itself, like questions for text, hardly ever comes up in play."""
    game, _ = new_game()
    plain = nles_own("NetHackScore")
    rng = np.random.default_rng(0)
    texts = (b"", b"What do you want to eat?", b"Really attack it?", b"Really quit?")
    for _ in range(300):
        script = [(*rng.integers(2, size=3), texts[rng.integers(4)], rng.random() < 0.2) for _ in range(20)]
        script += [(0, 0, 0, b"", True)]
        game._nethack = ours = Scripted(script, game._internal, game._message)
        game.press(8)
        over = game._answer()
        shown = plain.nethack._obs
        theirs = Scripted(script, shown[plain._internal_index], shown[plain._message_index])
        plain.nethack.step = lambda key, to=theirs, shown=shown: to.step(key) or (shown, to.done())
        _, done = plain._perform_known_steps(*plain.nethack.step(game._keys[8]))
        assert (ours.keys, over) == (theirs.keys, done)
    game.close()
    plain.close()


def test_same_seed_is_the_same_game_also_the_second_time():
    """NLE uses a seed for one reset only; here every game is seeded."""
    actions = np.random.default_rng(1).integers(1, 17, size=120)
    game, frames = new_game()
    runs = []
    for seed in (5, 6, 5):
        game.start(seed)
        runs.append([(frames.glyphs[0].copy(), frames.blstats[0].copy()), *play(game, frames, actions)])
    game.close()
    other, other_frames = new_game()
    other.start(6)
    runs.append([(other_frames.glyphs[0].copy(), other_frames.blstats[0].copy())])
    other.close()
    for a, b in ((runs[0], runs[2]), (runs[1][:1], runs[3])):
        assert len(a) == len(b)
        for (glyphs, blstats), (glyphs_b, blstats_b) in zip(a, b, strict=True):
            np.testing.assert_array_equal(glyphs, glyphs_b)
            np.testing.assert_array_equal(blstats, blstats_b)
    assert not np.array_equal(runs[0][0][0], runs[1][0][0])


def test_step_limit_truncates_and_leaves_the_hero_alive():
    game, frames = new_game(cap=7)
    game.start(11)
    steps = [game.step(22) for _ in range(7)]  # search
    assert [s.truncated for s in steps] == [False] * 6 + [True]
    assert not any(s.terminated for s in steps)
    assert frames.blstats[0, 10] > 0
    assert frames.glyphs[0].any()
    assert (game.end, game.length) == ("truncated", 7)
    game.close()


def dying_games(count=2):
    """(game, frames, actions until death) of games that random play loses."""
    game, frames = new_game()
    found, seed = 0, 0
    while found < count:
        game.start(seed)
        actions = np.random.default_rng(seed).choice([*range(1, 9), 20], size=4000)
        for action in actions:
            before = frames.blstats[0].copy()
            step = game.step(int(action))
            if step.terminated:
                found += 1
                yield game, frames, before
                break
        seed += 1
    game.close()


def test_score_is_that_of_the_last_living_frame():
    """NLE blanks the row when the game ends, but the score stays; NLE's own points say the same."""
    for game, frames, before in dying_games():
        assert not frames.blstats[0].any()
        assert game.end == "death"
        assert game.turns == before[20] > 0
        assert game.score == before[9]
        internal = game._internal
        net_gold_lost = 0.1 * before[13] + 1
        assert internal[8] - 50 <= game.score <= internal[8] + net_gold_lost


def test_reaching_the_aim_is_a_success(monkeypatch):
    """NLE ends such a game as it ends any other; only its status tells them apart."""
    game, frames = new_game(task="NetHackStaircase")
    game.start(4)
    assert not game.step(22).terminated
    living = frames.blstats[0].copy()
    monkeypatch.setattr(game._env, "_is_episode_end", lambda _: game._env.StepStatus.TASK_SUCCESSFUL)
    step = game.step(22)
    assert step.terminated
    assert not step.truncated
    assert step.reward == pytest.approx(1, abs=0.02)
    assert (game.end, game.score, game.turns) == ("success", living[9], living[20])
    game.close()


def test_every_task_starts_and_an_unknown_one_is_named():
    for task in TASKS:
        game, frames = new_game(task=task)
        game.start(1)
        game.step(22)
        assert frames.blstats[0, 10] > 0
        game.close()
    with pytest.raises(ValueError, match=r"NetHackScroe.*NetHackScore"):
        new_game(task="NetHackScroe")
