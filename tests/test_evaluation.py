"""Held-out games: which ones count, for whom, and what is said about them."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support.settings import NARROW

from tedg.config.compose import compose
from tedg.envs.observation import EpisodeEnd, Observation, Step
from tedg.envs.vector import held_out_seeds, training_seeds
from tedg.errors import Stopped
from tedg.learn import final
from tedg.learn.capture import Plain
from tedg.learn.evaluation import PolicyPlayer, Summary, play
from tedg.learn.final import evaluate_all
from tedg.learn.setup import make_env, make_hypergraph, make_policy
from tedg.learn.stages import make_schedule
from tedg.processes import WorkerError
from tedg.signals import StopFlag

CPU = torch.device("cpu")


class Patience:
    """Games of a length that the player decides: action a ends a game after 1 + (seed + a) % 5 steps.

    Game n scores 2 ** n, so the sum of scores tells which games were counted.
    """

    def __init__(self, num_envs, seeds):
        self.spec, self.num_envs, self.seeds = None, num_envs, seeds
        self.groups = (slice(0, num_envs),)

    def send(self, group, actions):
        raise AssertionError("games are played with step")

    def receive(self, group):
        raise AssertionError("games are played with step")

    def positions(self):
        raise AssertionError("held-out games are played to their end")

    def resume(self, positions):
        raise AssertionError("held-out games are played to their end")

    def reset(self):
        self.episode = np.zeros(self.num_envs, int)
        self.length = np.zeros(self.num_envs, int)
        return Observation(mask=np.ones((self.num_envs, 3), bool))

    def step(self, actions):
        self.length += 1
        ends = []
        for env in range(self.num_envs):
            seed = self.seeds(env, int(self.episode[env]))
            if self.length[env] > (seed + actions[env]) % 5:
                length = int(self.length[env])
                ends.append(EpisodeEnd(env, seed, length, 1.0, float(2**seed), 1, length, "death"))
                self.episode[env] += 1
                self.length[env] = 0
        flags = np.zeros(self.num_envs, bool)
        return Step(
            Observation(mask=np.ones((self.num_envs, 3), bool)), flags, flags, flags, flags, None, ends
        )

    def close(self):
        pass


@dataclass
class Always:
    actions: list

    def act(self, observation):
        return np.resize(np.array(self.actions), len(observation))


@pytest.mark.parametrize(("games", "num_envs"), [(7, 3), (6, 3), (5, 5), (2, 1), (10, 4)])
@pytest.mark.parametrize("actions", [[0], [1], [0, 4], [4, 0, 2]])
def test_exactly_the_first_games_count_however_fast_they_end(games, num_envs, actions):
    env = Patience(num_envs, held_out_seeds(0, games, num_envs))
    summary = Summary.of(play(env, Always(actions), games, StopFlag()))
    assert summary.games == games
    assert summary.mean_score * games == 2**games - 1


def end(score, **kwargs):
    values = {
        "env": 0,
        "seed": 0,
        "length": 10,
        "episode_return": 1.0,
        "score": score,
        "depth": 1,
        "turns": 5,
        "end": "death",
    }
    return EpisodeEnd(**{**values, **kwargs})


def test_summary_by_hand():
    episodes = [
        end(0.0, length=10, episode_return=-1.0, depth=1, end="truncated"),
        end(4.0, length=20, episode_return=3.0, depth=3),
        end(8.0, length=60, episode_return=4.0, depth=2),
        end(4.0, length=30, episode_return=2.0),
        end(4.0, length=30, episode_return=2.0),
    ]
    summary = Summary.of(episodes)
    assert (summary.games, summary.mean_score, summary.median_score, summary.best_score) == (5, 4.0, 4.0, 8.0)
    # Variance 32 over n - 1 = 4; the 97.5 % point of Student's t with 4 degrees of freedom is 2.776445.
    assert summary.standard_error == pytest.approx(math.sqrt(8 / 5))
    half = 2.776445 * math.sqrt(8 / 5)
    # A score is at least 0, and so is every limit of its mean.
    factor = math.exp(half / 4)
    assert (summary.low, summary.high) == pytest.approx((4 / factor, 4 * factor), rel=1e-6)
    assert summary.nonzero_share == pytest.approx(4 / 5)
    assert (summary.mean_return, summary.mean_length) == (2.0, 30.0)
    assert (summary.deepest, summary.deaths) == (3, 4)


def test_lost_games_do_not_count():
    played = [end(10.0), end(20.0, end="lost"), end(30.0, end="lost")]
    summary = Summary.of(played)
    assert (summary.games, summary.lost, summary.mean_score) == (1, 2, 10.0)
    with pytest.raises(WorkerError, match="all 2 held-out games were lost"):
        Summary.of(played[1:])


def test_few_games_have_no_interval():
    summary = Summary.of([end(3.0)])
    assert summary.mean_score == 3.0
    assert all(math.isnan(x) for x in (summary.standard_error, summary.low, summary.high))
    four = Summary.of([end(score) for score in (1.0, 2.0, 3.0, 40.0)])  # 0.0 to thousands, if there were one
    assert math.isnan(four.low)
    assert math.isnan(four.high)


def test_a_stop_is_obeyed():
    stop = StopFlag()
    stop.request(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped:
        play(Patience(2, held_out_seeds(0, 4, 2)), Always([0]), 4, stop)
    assert stopped.value.exit_code == 143


class Recorder:
    """Passes an environment's answers on and keeps the games that ended between two resets."""

    def __init__(self, env):
        self.env, self.spec, self.num_envs, self.plays = env, env.spec, env.num_envs, []
        self.groups, self.send, self.receive = env.groups, env.send, env.receive
        self.positions, self.resume = env.positions, env.resume

    def reset(self):
        self.plays.append([])
        return self.env.reset()

    def step(self, actions):
        step = self.env.step(actions)
        self.plays[-1] += step.episodes
        return step

    def close(self):
        self.env.close()


def tiny(*overrides):
    return compose(["env=fake", "device=cpu", *NARROW, *overrides]).config


def evaluated(config, monkeypatch):
    """(games by player, states, recorder) of an untrained policy."""
    recorders = []

    def recording(*args):
        recorders.append(Recorder(make_env(*args)))
        return recorders[-1]

    monkeypatch.setattr(final, "make_env", recording)
    policy = make_policy(config, make_env(config, training_seeds(0), 1), make_hypergraph(config), CPU)
    settings = make_schedule(config)[0][-1].settings(1e9)
    games, seen = evaluate_all(config, policy, settings, CPU, Plain(), StopFlag())
    return games, seen.before, recorders[-1]


def test_all_players_play_the_same_games_and_training_plays_none_of_them(monkeypatch):
    config = tiny("eval.games=5", "eval.first_seed=700", "eval.players=[random,random_legal]")
    games, _, recorder = evaluated(config, monkeypatch)
    assert list(games) == ["policy", "random", "random_legal"]
    assert all(list(played) == [700, 701, 702, 703, 704] for played in games.values())
    for plays in recorder.plays:
        # Five environments for five games, so each one's first game is the one that counts.
        counted = {e.env: e.seed for e in reversed(plays)}
        assert sorted(counted.values()) == [700, 701, 702, 703, 704]
    assert len(recorder.plays) == 3
    training = training_seeds(config.seed)
    assert min(training(env, episode) for env in range(8) for episode in range(50)) >= 2**30
    with pytest.raises(ValueError, match="held-out seeds"):
        held_out_seeds(2**30 - 3, 5, 5)


def test_states_met_are_kept_even_without_games(monkeypatch):
    config = tiny("eval.games=0")
    games, states, recorder = evaluated(config, monkeypatch)
    assert games == {}
    assert recorder.plays == [[]]
    assert len(states) == 1
    assert states.state.dtype == torch.float32
    config = tiny("eval.games=3", "eval.players=[]")
    games, states, _ = evaluated(config, monkeypatch)
    assert list(games) == ["policy"]
    assert len(states) % 3 == 0


def test_the_policy_samples_the_same_actions_from_the_same_seed():
    config = tiny()
    env = make_env(config, training_seeds(0))
    policy = make_policy(config, env, make_hypergraph(config), CPU)
    settings = make_schedule(config)[0][0].settings(0)
    observation = env.reset()

    def actions(seed):
        player = PolicyPlayer(policy, settings, CPU, seed)
        return np.stack([player.act(observation) for _ in range(5)])

    np.testing.assert_array_equal(actions(1), actions(1))
    assert (actions(1) != actions(2)).any()
    assert observation.mask[np.arange(len(observation)), actions(1)].all()
