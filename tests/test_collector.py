"""Collecting: what is stored with a step is what the step was taken on, and bootstraps are the true ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.models import toy

from tedg.envs.observation import Observation
from tedg.learn.rollout import Collector
from tedg.learn.stages import make_schedule

CPU = torch.device("cpu")


class Recorder:
    """Passes calls on to an environment and keeps everything that it handed out, and the order of calls."""

    def __init__(self, env):
        self.env, self.spec, self.num_envs, self.groups = env, env.spec, env.num_envs, env.groups
        self.calls = []
        self.first = None
        self.received = [[] for _ in env.groups]

    def reset(self):
        self.first = self.env.reset()
        return self.first

    def send(self, group, actions):
        self.calls.append(("send", group))
        self.env.send(group, actions)

    def receive(self, group):
        self.calls.append(("receive", group))
        self.received[group].append(self.env.receive(group))
        return self.received[group][-1]

    def step(self, actions):
        raise AssertionError("a collector steps group by group")

    def positions(self):
        return self.env.positions()

    def resume(self, positions):
        raise AssertionError("nothing is resumed here")

    @property
    def observations(self):
        steps = [
            Observation.concatenate([s.observation for s in steps])
            for steps in zip(*self.received, strict=True)
        ]
        return [self.first, *steps]

    def close(self):
        self.env.close()


@pytest.fixture
def collected():
    config, env, policy = toy("env.max_episode_steps=7", "ppo.num_steps=64")
    recorder = Recorder(env)
    collector = Collector(recorder, policy, 64, CPU, torch.Generator().manual_seed(0))
    settings = make_schedule(config)[0][0].settings(0)
    return recorder, policy, settings, collector.collect(settings)


def value(policy, observation, settings):
    with torch.no_grad():
        tensors = observation.select(policy.inputs).to("cpu")
        return policy(tensors, settings.routing, settings.temperature).value


def test_every_step_keeps_the_observation_it_was_taken_on(collected):
    recorder, policy, _, rollout = collected
    for t in range(64):
        for name in policy.inputs:
            stored = getattr(rollout.observation, name)[t].numpy()
            np.testing.assert_array_equal(stored, getattr(recorder.observations[t], name))


def test_next_values_are_of_the_true_next_observation(collected):
    recorder, policy, settings, rollout = collected
    terminated = truncated = followed = 0
    assert len(recorder.groups) == 2
    for rows, steps in zip(recorder.groups, recorder.received, strict=True):
        for t, step in enumerate(steps):
            after = value(policy, step.observation, settings)
            finals = dict(zip(step.final_index.tolist(), range(len(step.final_index)), strict=True))
            for row, found in enumerate(rollout.next_value[t, rows].tolist()):
                if step.terminated[row]:
                    assert found == 0.0
                    terminated += 1
                elif step.truncated[row]:
                    last = step.final_observation[[finals[row]]]
                    assert found == pytest.approx(float(value(policy, last, settings)[0]), abs=1e-5)
                    assert abs(found - float(after[row])) > 1e-6
                    truncated += 1
                else:
                    assert found == pytest.approx(float(after[row]), abs=1e-5)
                    followed += 1
    assert min(terminated, truncated, followed) > 0


def test_the_last_step_bootstraps_from_the_observation_after_it(collected):
    recorder, policy, settings, rollout = collected
    going_on = ~(rollout.terminated[-1] | rollout.truncated[-1])
    assert going_on.any()
    expected = value(policy, recorder.observations[-1], settings)
    torch.testing.assert_close(rollout.next_value[-1][going_on], expected[going_on])


def test_one_group_steps_while_the_policy_acts_in_the_other(collected):
    recorder, *_ = collected
    ahead = 0
    for i, (call, group) in enumerate(recorder.calls[:-2]):
        # Between a group's receive and its next send, the other group is under way.
        if call == "receive":
            assert recorder.calls[i + 1] == ("send", group)
            under_way = recorder.calls[:i].count(("send", 1 - group))
            assert under_way == recorder.calls[:i].count(("receive", 1 - group)) + 1
            ahead += 1
    assert ahead == 2 * 63


def test_rewards_and_ends_are_the_environments(collected):
    recorder, _, _, rollout = collected
    for rows, steps in zip(recorder.groups, recorder.received, strict=True):
        for name in ("reward", "terminated", "truncated"):
            given = np.stack([getattr(step, name) for step in steps])
            np.testing.assert_array_equal(getattr(rollout, name)[:, rows].numpy(), given)
    ends = [end for t in zip(*recorder.received, strict=True) for step in t for end in step.episodes]
    assert rollout.episodes == ends
    assert {end.env for end in ends} == set(range(recorder.num_envs))


def test_previous_alpha_stays_inside_an_episode(collected):
    _, _, _, rollout = collected
    ended = rollout.terminated | rollout.truncated
    assert not rollout.continues[0].any()
    assert torch.equal(rollout.continues[1:], ~ended[:-1])
    assert torch.equal(rollout.previous_alpha[1:], rollout.soft_alpha[:-1])


def test_the_next_rollout_goes_on_where_the_last_ended():
    config, env, policy = toy("env.max_episode_steps=50")
    collector = Collector(env, policy, 8, CPU, torch.Generator().manual_seed(0))
    settings = make_schedule(config)[0][0].settings(0)
    first, second = collector.collect(settings), collector.collect(settings)
    ended = first.terminated[-1] | first.truncated[-1]
    assert torch.equal(second.continues[0], ~ended)
    assert torch.equal(second.previous_alpha[0], first.soft_alpha[-1])
