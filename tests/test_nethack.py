"""One game: NLE's traps stay fixed, and frames, rewards and ends are NLE's own."""

from __future__ import annotations

import numpy as np
import pytest
from nle import nethack
from nle.env import tasks
from support.nethack_games import OneGame

from tedg.envs.frames import FRAME_KEYS
from tedg.envs.rewards import TASKS


def shown(game):
    return [getattr(game.frames, key)[0].tobytes() for key in FRAME_KEYS]


def play(game, actions):
    """What is shown after each action, up to the end of the game."""
    seen = []
    for action in actions:
        _, terminated, truncated = game.step(action)
        seen.append(shown(game))
        if terminated or truncated:
            break
    return seen


def nles_own(task):
    return getattr(tasks, task)(observation_keys=FRAME_KEYS, max_episode_steps=10**9, fix_moon_phase=True)


# One for each action: more of those that raise questions or leave the level.
ODDS = np.array([1, *[2] * 16, 6, 6, 1, 2, 3, 1]) / 52


@pytest.mark.parametrize("task", TASKS)
def test_games_are_those_of_nle(task, monkeypatch):
    """Over prompts, menus, deaths and aims that are reached."""
    plain = nles_own(task)
    if task == "NetHackOracle":  # nobody meets her by chance; doorways are met
        plain.oracle_glyph = 2371
        monkeypatch.setitem(TASKS, task, TASKS[task]._replace(first_glyph=2371, last_glyph=2371))
    game = OneGame(task)
    keys, press = set(), plain.nethack.step
    plain.nethack.step = lambda key: keys.add(int(key)) or press(key)
    ends, steps, prompts = set(), 0, 0
    for seed in (3, 27, 38, 46, 147):
        game.start(seed)
        plain.seed(seed, seed, reseed=False)
        plain.reset()
        total = 0.0
        for action in np.random.default_rng(seed).choice(23, p=ODDS, size=300):
            step = game.step(action)
            frame, reward, over, _, info = plain.step(action)
            total += reward
            assert step == (np.float32(reward), over, False)
            assert shown(game) == [frame[key].tobytes() for key in FRAME_KEYS]
            # This is how rewards know that no game is running.
            assert bool(frame["blstats"][11]) == plain.nethack.in_normal_game()
            steps, prompts = steps + 1, prompts + frame["misc"][0]
            if over:
                assert not game.frames.blstats.any()
                end = game.end()
                assert (end.end == "success") == (info["end_status"] == 2)
                assert (end.seed, end.episode_return) == (seed, total)
                ends.add(end.end)
                break
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
    game, plain = OneGame(), nles_own("NetHackScore")
    nethack = game.nethack
    rng = np.random.default_rng(0)
    texts = (b"", b"What do you want to eat?", b"Really attack it?", b"Really quit?")
    for _ in range(300):
        script = [(*rng.integers(2, size=3), texts[rng.integers(4)], rng.random() < 0.2) for _ in range(20)]
        script += [(0, 0, 0, b"", True)]
        nethack._nethack = ours = Scripted(script, nethack._internal, nethack._message)
        nethack.press(8)
        over = nethack.answer()
        frame = plain.nethack._obs
        theirs = Scripted(script, frame[plain._internal_index], frame[plain._message_index])
        plain.nethack.step = lambda key, to=theirs, frame=frame: to.step(key) or (frame, to.done())
        _, done = plain._perform_known_steps(*plain.nethack.step(nethack._keys[8]))
        assert (ours.keys, over) == (theirs.keys, done)
    game.close()
    plain.close()


def test_same_seed_is_the_same_game_also_the_second_time():
    """NLE uses a seed for one reset only; here every game is seeded."""
    actions = np.random.default_rng(1).integers(1, 17, size=120)
    game, other = OneGame(), OneGame()
    runs = []
    for seed in (5, 6, 5):
        game.start(seed)
        runs.append([shown(game), *play(game, actions)])
    other.start(6)
    assert runs[0] == runs[2]
    assert runs[1][0] == shown(other)
    assert runs[0][0] != runs[1][0]
    game.close()
    other.close()


def test_step_limit_truncates_and_leaves_the_hero_alive():
    game = OneGame(cap=7)
    game.start(11)
    steps = [game.step(22)[1:] for _ in range(7)]  # search
    assert steps == [(False, False)] * 6 + [(False, True)]
    assert game.frames.blstats[0, 10] > 0
    assert game.frames.glyphs[0].any()
    assert (game.end().end, game.end().length, game.end().cause) == ("truncated", 7, "")
    game.close()


def dying_games(count=2):
    """(game, blstats before the end) of games that random play loses."""
    game = OneGame()
    found, seed = 0, 0
    while found < count:
        game.start(seed)
        for action in np.random.default_rng(seed).choice([*range(1, 9), 20], size=4000):
            before = game.frames.blstats[0].copy()
            if game.step(action)[1]:
                found += 1
                yield game, before
                break
        seed += 1
    game.close()


def word_for(number):
    """NLE's own name for a way to end."""
    names = ("DIED", "CHOKING", "POISONING", "STARVING", "DROWNING", "BURNING", "DISSOLVED", "CRUSHING")
    return {getattr(nethack, name): name.lower() for name in names}[number]


def test_score_is_that_of_the_last_living_frame():
    """NLE blanks the row when the game ends, but the score stays; NLE's own points say the same."""
    for game, before in dying_games():
        end = game.end()
        assert not game.frames.blstats[0].any()
        assert (end.end, end.cause) == ("death", word_for(game.nethack._nethack.how_done()))
        assert end.turns == before[20] > 0
        assert end.score == before[9]
        points = game.nethack._internal[8]
        net_gold_lost = 0.1 * before[13] + 1
        assert points - 50 <= end.score <= points + net_gold_lost


def test_reaching_the_aim_is_a_success():
    """NLE ends such a game as it ends any other; only its status tells them apart."""
    game = OneGame("NetHackOracle")
    game.start(4)
    assert not game.step(22)[1]
    living = game.frames.blstats[0].copy()
    game.games._task = game.games._task._replace(first_glyph=0, last_glyph=5976)  # beside anything
    reward, terminated, truncated = game.step(22)
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(1, abs=0.02)
    assert not game.frames.blstats[0].any()
    end = game.end()
    assert (end.end, end.score, end.turns, end.length) == ("success", living[9], living[20], 2)
    game.start(4)  # nothing is left of it
    assert not game.step(22)[2]
    game.close()


def test_a_won_game_is_a_success(monkeypatch):
    game, _ = next(dying_games())
    monkeypatch.setattr(type(game.nethack), "ascended", True)
    assert game.end().end == "success"


def test_every_task_starts_and_an_unknown_one_is_named():
    for task in TASKS:
        game = OneGame(task)
        game.start(1)
        game.step(22)
        assert game.frames.blstats[0, 10] > 0
        game.close()
    with pytest.raises(ValueError, match=r"NetHackScroe.*NetHackScore"):
        OneGame("NetHackScroe")
