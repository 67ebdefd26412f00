"""Random numbers of a forward pass: a function of the state's own number, evenly spread."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tedg.config.compose import compose
from tedg.envs.noise import step_noise
from tedg.envs.players import make_player
from tedg.envs.seeds import training_seeds
from tedg.learn.setup import make_env
from tedg.models.experts import Experts
from tedg.models.seeded import _mixed, uniform


def test_equal_numbers_give_equal_draws_in_any_batch():
    noise = torch.tensor([5, -3, 2**62, 5])
    drawn = uniform(noise, 1, (3, 7))
    assert drawn.shape == (4, 3, 7)
    assert torch.equal(drawn[0], drawn[3])
    assert torch.equal(uniform(noise[1:3], 1, (3, 7)), drawn[1:3])
    assert not torch.equal(uniform(noise, 2, (3, 7)), drawn)


def test_draws_are_even_and_unrelated():
    drawn = uniform(torch.arange(4000), 1, (20,))
    assert 0 <= float(drawn.min()) < float(drawn.max()) < 1
    assert abs(float(drawn.mean()) - 0.5) < 0.005
    assert abs(float(drawn.var()) - 1 / 12) < 0.002
    correlations = np.corrcoef(drawn.T.numpy()) - np.eye(20)
    assert np.abs(correlations).max() < 0.08


def test_steps_of_games_have_numbers_of_their_own():
    games, steps = np.repeat(np.arange(100), 50), np.tile(np.arange(50), 100)
    numbers = step_noise(games, steps)
    assert len(set(numbers.tolist())) == 5000
    assert (step_noise(games[[7, 4000]], steps[[7, 4000]]) == numbers[[7, 4000]]).all()


def test_games_show_the_same_mixing_function_as_models_use():
    seeds = np.array([0, 1, 2**31 - 1])
    drawn = _mixed(_mixed(torch.from_numpy(seeds)))
    assert drawn.tolist() == step_noise(seeds, np.zeros(3, np.int64)).tolist()


@pytest.mark.parametrize("name", ["fake", "nethack_score"])
def test_every_step_of_an_environment_has_a_number_of_its_own(name):
    small = ["env.num_envs=4", "ppo.minibatch_size=64"] + ["env.num_workers=0"] * name.startswith("nethack")
    config = compose([f"env={name}", *small, "env.max_episode_steps=7"]).config
    env = make_env(config, training_seeds(0))
    try:
        player, observation, seen = make_player("random_legal", 4, 0, env.spec), env.reset(), []
        for _ in range(20):
            seen += observation.noise.tolist()
            step = env.step(player.act(observation))
            if step.final_observation is not None:
                seen += step.final_observation.noise[step.truncated[step.final_index]].tolist()
            observation = step.observation
    finally:
        env.close()
    assert len(set(seen)) == len(seen) >= 80


def test_dropout_leaves_out_the_same_units_again_and_none_in_evaluation():
    torch.manual_seed(0)
    experts = Experts(4, 16, [64, 64], 5, dropout=0.25)
    x, noise = torch.randn(32, 16), torch.arange(32)
    first = experts(x, noise)
    assert torch.equal(experts(x, noise), first)
    assert not torch.equal(experts(x, noise + 1), first)
    torch.testing.assert_close(experts(x[5:9], noise[5:9]), first[5:9])
    with pytest.raises(ValueError, match="needs the states' noise"):
        experts(x)
    mean = torch.stack([experts(x, noise + 1000 * k) for k in range(400)]).mean(0)
    experts.eval()
    whole = experts(x)
    assert (
        float((mean - whole).detach().norm() / whole.detach().norm()) < 0.25
    )  # scaled up, so the mean stays in place
    plain = Experts(4, 16, [64, 64], 5)
    plain.load_state_dict(experts.state_dict())
    assert torch.equal(plain(x), whole)
