"""Random numbers of a forward pass: a function of the state's own number, evenly spread."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tedg.envs.seeds import mixed, step_noise
from tedg.models.experts import Experts
from tedg.models.noise import _mixed, uniform


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


def test_the_mixing_function_is_that_of_the_environments():
    words = np.array([0, 1, -1, 2**62, -(2**63)], np.int64)
    assert (_mixed(torch.as_tensor(words)).numpy() == mixed(words.view(np.uint64)).view(np.int64)).all()


def test_steps_of_games_have_numbers_of_their_own():
    games = np.repeat(np.arange(100), 50)
    numbers = step_noise(games, np.tile(np.arange(50), 100))
    assert numbers.dtype == np.int64
    assert len(set(numbers.tolist())) == 5000
    assert (step_noise(games[7:9], np.array([7, 8])) == numbers[7:9]).all()


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
