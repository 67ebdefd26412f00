"""Rewards and aims are those of NLE's own task classes, on made-up frames that reach every branch."""

from __future__ import annotations

import numpy as np
import pytest
from nle.env import tasks

from tedg.envs.frames import FRAME_KEYS
from tedg.envs.rewards import AIM, EPISODE, EXPLORED, TASKS, judge

CAP = 12
ROW = np.zeros(1, np.int64)


def made_up(rng, oracle):
    """Glyphs, blstats and internal of a frame; a fifth of the blstats are zero, as without a game."""
    glyphs = rng.choice([2359, 2359, 2378, 333, 381, 761, 762, oracle], size=(1, 21, 79)).astype(np.int16)
    blstats, internal = rng.integers(4, size=(1, 27)), rng.integers(3, size=(1, 9)).astype(np.int32)
    blstats[0, :2] = rng.choice([0, 1, 40, 78]), rng.choice([0, 1, 10, 20])
    blstats[0, 11] += 1  # a hero has hit points
    if rng.random() < 0.2:
        blstats[:] = 0
    return glyphs, blstats, internal


@pytest.mark.parametrize("task", TASKS)
def test_judged_as_nle_does(task):
    rng = np.random.default_rng(0)
    env = getattr(tasks, task)(observation_keys=FRAME_KEYS)
    oracle = TASKS["NetHackOracle"].first_glyph
    assert getattr(env, "oracle_glyph", oracle) == oracle
    episodes, explored = np.zeros(1, EPISODE), np.zeros((1, *EXPLORED), np.int16)
    over, terminated, truncated = (np.zeros(1, bool) for _ in range(3))
    reward = np.zeros(1, np.float32)
    seen = set()
    for _ in range(300):
        glyphs, blstats, internal = made_up(rng, oracle)
        env.dungeon_explored = {}
        episodes[:] = 0
        explored[:] = 0
        episodes["blstats"], episodes["hunger"] = blstats, internal[0, 7]
        before, total, deepest = (blstats[0], internal[0]), 0.0, 0
        for length in range(1, CAP + 1):
            glyphs, blstats, internal = made_up(rng, oracle)
            over[:] = rng.random() < 0.1
            env.nethack.in_normal_game = lambda blstats=blstats: blstats.any()
            frame = [glyphs[0], blstats[0], *[None] * 5, internal[0]]
            status = env.StepStatus(bool(over[0]) or env._is_episode_end(frame))
            expected = float(env._reward_fn([None, before[0], *[None] * 5, before[1]], 0, frame, status))
            seen_now, judged = (glyphs, blstats, internal, over), (reward, terminated, truncated)
            judge(ROW, *TASKS[task], CAP, 0.0, *seen_now, episodes, explored, *judged)
            total += expected
            assert (reward[0], terminated[0]) == (np.float32(expected), bool(status))
            assert truncated[0] == (not status and length == CAP)
            assert episodes["aimed"][0] == (status == 2)
            assert (episodes["episode_return"][0], episodes["length"][0]) == (total, length)
            if not status:
                deepest = max(deepest, blstats[0, 12])
                np.testing.assert_array_equal(episodes["blstats"], blstats)
            assert episodes["depth"][0] == deepest
            before = blstats[0], internal[0]
            seen.add(int(status))
            if status:
                break
    assert seen == ({0, 1, 2} if TASKS[task].reward == AIM else {0, 1})
    env.close()


def test_a_bonus_for_cells_seen_for_the_first_time_counts_in_no_return():
    episodes, explored = np.zeros(1, EPISODE), np.zeros((1, *EXPLORED), np.int16)
    over, terminated, truncated = (np.zeros(1, bool) for _ in range(3))
    glyphs, blstats, internal = (
        np.full((1, 21, 79), 2359, np.int16),
        np.ones((1, 27), int),
        np.zeros((1, 9), np.int32),
    )
    reward, told = np.zeros(1, np.float32), []

    def step(cells, level=1, hit_points=9):
        glyphs[:] = 2359
        glyphs[0, 0, :cells] = 2378
        blstats[0, [20, 24, 11]] = blstats[0, 20] + 1, level, hit_points
        seen = glyphs, blstats, internal, over
        judge(
            ROW, *TASKS["NetHackScore"], CAP, 0.25, *seen, episodes, explored, reward, terminated, truncated
        )
        told.append(float(reward[0]))

    episodes["blstats"] = blstats
    step(8)
    step(8)
    step(6)  # a cell can be forgotten,
    step(9)  # and seen again, which is not new
    step(4, level=2)
    step(10)  # the first level is remembered
    blstats[0, 9] += 20  # points
    step(10)
    step(50, hit_points=0)  # no game is running
    assert told == [2.0, 0.0, 0.0, 0.25, 1.0, 0.25, 20.0, 0.0]
    assert episodes["episode_return"][0] == 20.0
