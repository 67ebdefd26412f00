"""A worker that dies, hangs or fails is replaced: its games count as cut off, everything else goes on."""

from __future__ import annotations

import os
import re
import signal

import numpy as np
import pytest
from support.processes import wait_until_gone
from support.seeds import Deadly, Failing, Hanging
from support.workers import SEARCH, make_games, search, values_of

from tedg.envs import crew
from tedg.envs.vector import training_seeds
from tedg.errors import FAILED
from tedg.processes import WorkerError

PLAN = training_seeds(3)


def lost_in(step):
    return [end for end in step.episodes if end.end == "lost"]


def kill(number):
    return lambda process: os.kill(process.pid, number)


@pytest.mark.more
@pytest.mark.more_than_first(1)
@pytest.mark.parametrize(
    ("blow", "seconds", "said"),
    [
        (
            kill(signal.SIGSEGV),
            60,
            r"was killed by SIGSEGV \(it had used [\d,]+ MiB of memory at most; code -11\)",
        ),
        (
            kill(signal.SIGKILL),
            60,
            r"was killed by SIGKILL \(was memory short\?; .*used [\d,]+ MiB of memory at most; code -9\)",
        ),
        (kill(signal.SIGSTOP), 1, "gave no answer for 1 s"),
    ],
    ids=["segfault", "out of memory", "hang"],
)
def test_its_games_are_cut_off_and_the_others_go_on(blow, seconds, said, started):
    env, undisturbed = make_games(num_workers=2, step_seconds=seconds), make_games(num_workers=0)
    env.reset(), undisturbed.reset()
    for _ in range(3):
        before, expected = search(env), search(undisturbed)
    pid = started[1].pid
    blow(started[1])
    found, expected = search(env), search(undisturbed)

    # Groups are environments 0, 1 and 2, 3, 4; worker 1 has the last of the first and the last two.
    lost = np.array([False, True, False, True, True])
    np.testing.assert_array_equal(found.truncated, lost)
    assert not found.terminated.any()
    np.testing.assert_array_equal(found.final_index, np.flatnonzero(lost))
    assert values_of(found.final_observation) == values_of(before.observation[lost])
    assert [(end.env, end.seed, end.length, end.end) for end in found.episodes] == [
        (env_number, PLAN(env_number, 0), 4, "lost") for env_number in (1, 3, 4)
    ]
    assert (found.reward[lost] == 0).all()
    assert values_of(found.observation[~lost]) == values_of(expected.observation[~lost])
    assert [position.episode for position in env.positions()] == [0, 1, 0, 1, 1]
    (incident,) = found.incidents
    assert incident.startswith(f"worker 1 (process {pid}, games 1 to 1, 3 to 4) ")
    assert re.search(f"{said} while stepping group [01]", incident)
    assert wait_until_gone([pid]) == []

    after, expected = search(env), search(undisturbed)
    assert not after.episodes
    assert not after.incidents
    assert values_of(after.observation[~lost]) == values_of(expected.observation[~lost])
    fresh = make_games(num_workers=0)
    fresh.reset()
    fresh.resume([*env.positions()])
    assert [p.digest for p in fresh.positions()] == [p.digest for p in env.positions()]
    for one in (env, undisturbed, fresh):
        one.close()


@pytest.mark.more
def test_a_worker_lost_with_both_groups_under_way_is_replaced_once(started):
    env = make_games(num_workers=1)
    env.reset()
    for group in (0, 1):
        env.send(group, np.full(len(range(*env.groups[group].indices(5))), SEARCH))
    kill(signal.SIGKILL)(started[0])
    steps = [env.receive(group) for group in (0, 1)]
    # Whatever was answered before the kill counts; the rest is lost, once.
    assert sum(len(step.incidents) for step in steps) <= 1
    lost = {end.env for step in [*steps, search(env)] for end in lost_in(step)}
    assert lost == set(range(5))
    assert not search(env).episodes
    env.close()


@pytest.mark.more
def test_reset_begins_the_plan_anew_after_a_loss(started):
    env = make_games(num_workers=2)
    first = values_of(env.reset())
    search(env)
    kill(signal.SIGKILL)(started[0])
    assert values_of(env.reset()) == first
    assert not lost_in(search(env))
    env.close()


@pytest.mark.more
def test_a_game_that_fails_is_skipped_and_its_traceback_told():
    env = make_games(num_envs=2, num_workers=1, cap=3, seeds=Failing(env=1, episode=1))
    env.reset()
    steps = [search(env) for _ in range(4)]
    (incident,) = [incident for step in steps for incident in step.incidents]
    assert "failed while stepping group 1" in incident
    assert "LookupError: no game for environment 1" in incident
    # Environment 0 had begun its game 1 by then, which the same worker played.
    assert [position.episode for position in env.positions()] == [2, 2]
    env.close()


@pytest.mark.more
def test_a_game_that_hangs_is_skipped():
    env = make_games(num_envs=2, num_workers=1, cap=3, seeds=Hanging(env=1, episode=1), step_seconds=1)
    env.reset()
    steps = [search(env) for _ in range(4)]
    (incident,) = [incident for step in steps for incident in step.incidents]
    assert "no answer for 1 s" in incident or "SIGPROF" in incident
    assert [position.episode for position in env.positions()] == [2, 2]
    env.close()


@pytest.mark.more
def test_a_game_that_kills_its_worker_at_the_start_is_skipped():
    env = make_games(num_envs=2, num_workers=1, seeds=Deadly(env=1, episode=0))
    env.reset()
    assert [position.episode for position in env.positions()] == [0, 1]
    (incident,) = search(env).incidents
    assert "SIGSEGV" in incident
    env.close()


@pytest.mark.more
def test_losing_worker_after_worker_ends_in_an_error(monkeypatch, temporary, started):
    monkeypatch.setattr(crew, "MAX_REPLACED", 2)
    env = make_games(num_workers=2)
    env.reset()
    (folder,) = temporary.iterdir()
    assert list(folder.iterdir()) != []

    def kill_and_step():
        kill(signal.SIGKILL)(started[-1])
        search(env)

    kill_and_step()
    kill_and_step()
    with pytest.raises(WorkerError, match="replaced 2 times before that") as caught:
        kill_and_step()
    assert caught.value.exit_code == FAILED
    assert len(started) == 4
    assert wait_until_gone(process.pid for process in started) == []
    assert list(folder.iterdir()) == []
    with pytest.raises(WorkerError, match="lost before"):
        search(env)
