"""Every task of NLE is an environment, with its own goal feature and its own reward."""

from __future__ import annotations

import numpy as np
import pytest

from tedg.config.compose import compose
from tedg.envs.features import GOALS, STATE_DIM
from tedg.envs.players import make_player
from tedg.envs.seeds import training_seeds
from tedg.files import conf_dir
from tedg.learn.setup import make_env

TASKS = sorted(file.stem for file in (conf_dir() / "env").glob("nethack_*.yaml"))


def test_there_are_seven() -> None:
    assert len(TASKS) == 7


@pytest.mark.parametrize("task", TASKS)
def test_a_task_sets_its_goal_and_is_played(task: str) -> None:
    config = compose(
        [
            f"env={task}",
            "env.num_envs=2",
            "env.num_workers=0",
            "env.max_episode_steps=30",
            "ppo.minibatch_size=64",
        ]
    ).config
    env = make_env(config, training_seeds(0))
    try:
        goal = STATE_DIM - len(GOALS) + GOALS.index(task.removeprefix("nethack_"))
        player = make_player("random_legal", 2, 0, env.spec)
        observation, ended = env.reset(), 0
        for _ in range(40):
            assert (observation.state[:, goal] == 1).all()
            assert observation.state[:, STATE_DIM - len(GOALS) :].sum() == 2
            step = env.step(player.act(observation))
            assert np.isfinite(step.reward).all()
            observation, ended = step.observation, ended + len(step.episodes)
        assert ended >= 2
        assert env.spec.name == config.env["task"]
    finally:
        env.close()
