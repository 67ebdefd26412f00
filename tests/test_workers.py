"""Worker processes change nothing about a rollout, and no death of any process leaves anything behind."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.processes import wait_until_gone
from support.settings import NARROW
from support.workers import SEARCH, make_games, play, search, values_of

from tedg.config.compose import compose
from tedg.envs.block import GameSettings
from tedg.envs.players import RandomLegalPlayer
from tedg.envs.vector import held_out_seeds, training_seeds
from tedg.learn.rollout import Collector
from tedg.learn.setup import make_env, make_hypergraph, make_policy
from tedg.learn.stages import make_schedule
from tedg.processes import WorkerError, split


def history(env, steps=120):
    """Everything that an environment hands out, as plain values, under a random legal player."""
    observation = env.reset()
    _, kept = play(env, observation, steps, RandomLegalPlayer(env.num_envs, 0))
    env.close()
    return [values_of(observation), *kept]


@pytest.fixture(scope="module")
def serial():
    return history(make_games())


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize("settings", [(1, 2), (2, 2), (3, 2), (0, 1), (2, 1), (2, 3), (9, 5)], ids=str)
def test_workers_and_groups_change_nothing(serial, settings):
    num_workers, num_groups = settings
    found = history(make_games(num_workers=num_workers, num_groups=num_groups))
    for mine, plain in zip(found, serial, strict=True):
        assert mine == plain
    ends = [end for _, _, _, episodes in serial[1:] for end in episodes]
    assert {end.env for end in ends} == set(range(5))
    assert sum(len(episodes) > 0 for *_, episodes in serial[1:]) >= 5


@pytest.mark.more
def test_rollouts_of_a_policy_are_the_same_too():
    rollouts = []
    for workers in (0, 2):
        config = compose(
            [*NARROW, "device=cpu", "logger=none", "env.num_envs=5", "env.max_episode_steps=12",
             f"env.num_workers={workers}"]
        ).config  # fmt: skip
        env = make_env(config, training_seeds(0))
        policy = make_policy(config, env, make_hypergraph(config), torch.device("cpu"))
        collector = Collector(env, policy, 16, torch.device("cpu"), torch.Generator().manual_seed(0))
        settings = make_schedule(config)[0][0].settings(0)
        rollouts.append([collector.collect(settings) for _ in range(2)])
        env.close()
    for a, b in zip(*rollouts, strict=True):
        assert a.episodes == b.episodes
        for name in a.__dataclass_fields__:
            if isinstance(getattr(a, name), torch.Tensor):
                assert torch.equal(getattr(a, name), getattr(b, name)), name
        for (name, x), (_, y) in zip(a.observation.items(), b.observation.items(), strict=True):
            assert torch.equal(x, y), name
    assert rollouts[0][1].truncated.any()


@pytest.mark.more
def test_groups_may_be_stepped_in_any_order_and_reset_begins_anew():
    env = make_games(num_envs=4, num_workers=2)
    first = values_of(env.reset())
    actions = np.full(2, SEARCH)
    env.send(0, actions)
    env.send(1, actions)
    one, two = env.receive(1), env.receive(0)
    env.send(1, actions)  # nobody will ask for this step
    assert values_of(env.reset()) == first
    together = search(env).observation
    assert values_of(one.observation) == values_of(together[2:])
    assert values_of(two.observation) == values_of(together[:2])
    env.send(1, actions)
    with pytest.raises(RuntimeError, match="receive before"):
        env.send(1, actions)
    with pytest.raises(RuntimeError, match="send before"):
        env.receive(0)
    with pytest.raises(ValueError, match="0 to 22"):
        env.send(0, np.array([1, 23]))
    env.close()
    env.close()
    with pytest.raises(WorkerError, match="closed"):
        env.receive(1)


@pytest.mark.more
def test_a_core_a_worker_by_default(started):
    env = make_games(num_envs=64, num_workers=None)
    env.reset()
    assert len(started) == len(os.sched_getaffinity(0))
    env.close()
    assert make_games(num_envs=1, num_workers=None).groups == (slice(0, 1),)
    with pytest.raises(ValueError, match="num_workers"):
        make_games(num_workers=-1)


@pytest.mark.more
def test_workers_are_light_and_deaf_to_ctrl_c_and_sigterm(started):
    env = make_games(num_workers=2)
    env.reset()
    for process in started:
        assert "torch" not in Path(f"/proc/{process.pid}/maps").read_text()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    search(env)
    assert all(process.poll() is None for process in started)
    env.close()
    assert [process.returncode for process in started] == [0, 0]


@pytest.mark.more
def test_waiting_workers_take_no_time(started):
    env = make_games(num_workers=2)
    env.reset()
    before = [cpu_seconds(process.pid) for process in started]
    time.sleep(1)
    for process, seconds in zip(started, before, strict=True):
        assert cpu_seconds(process.pid) - seconds < 0.05
    env.close()


def cpu_seconds(pid):
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def test_a_closed_crew_leaves_nothing(temporary, started):
    env = make_games(num_workers=2)
    env.reset()
    pids = [process.pid for process in started]
    maps = Path(f"/proc/{pids[1]}/maps").read_text()
    assert "/memfd:tedg-games" in maps  # anonymous: it cannot outlive the processes
    assert "/dev/shm" not in maps
    (folder,) = temporary.iterdir()
    assert [path.name[:6] for path in folder.iterdir()] == ["games-"]
    env.close()
    assert wait_until_gone(pids) == []
    assert list(folder.iterdir()) == []
    with pytest.raises(WorkerError, match="closed"):
        env.reset()


@pytest.mark.more
def test_a_worker_that_cannot_begin_says_so(monkeypatch):
    env = make_games(num_workers=1)
    monkeypatch.setattr(GameSettings, "__reduce__", lambda self: (type(None), ()))  # they arrive as None
    with pytest.raises(WorkerError, match=r"(?s)failed while starting the games of group 0.*AttributeError"):
        env.reset()


ORPHAN = """
    import os, sys, time
    import numpy as np
    from support.processes import children
    from support.seeds import Hanging
    from tedg.envs.vector import NetHackVectorEnv, training_seeds

    seeds = Hanging(env=0, episode=1) if sys.argv[1] == "hanging" else training_seeds(0)
    env = NetHackVectorEnv(
        "NetHackScore", "score", "nethack", 4, 3, "legal", seeds, num_workers=2, step_seconds=2
    )
    env.reset()
    print(*children(), flush=True)
    while sys.argv[1] != "idle":
        env.step(np.full(4, 22))
    time.sleep(60)
"""


@pytest.mark.more
@pytest.mark.parametrize("how", ["idle", "stepping", "hanging"])
def test_no_worker_outlives_a_killed_parent(how, tmp_path):
    """A hanging worker cannot notice; the limit of its CPU time ends it."""
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ORPHAN), how],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    with parent:
        pids = parent.stdout.readline().split()
        time.sleep(0.3)
        parent.kill()
    assert wait_until_gone(list(map(int, pids))) == []
    if how != "hanging":  # a process that is killed cannot clean up
        assert list(tmp_path.iterdir()) == []


def test_seeds_can_go_to_other_processes():
    for plan in (training_seeds(5), held_out_seeds(500_000, 10, 4)):
        copy = pickle.loads(pickle.dumps(plan))
        assert [copy(env, e) for env in range(4) for e in range(3)] == [
            plan(env, e) for env in range(4) for e in range(3)
        ]


def test_split():
    assert split(slice(0, 5), 2) == (slice(0, 2), slice(2, 5))
    assert split(slice(2, 5), 3) == (slice(2, 3), slice(3, 4), slice(4, 5))
    assert [rows.stop - rows.start for rows in split(slice(4, 6), 3)] == [0, 1, 1]
