"""Every auxiliary loss against numbers worked out by hand, and which way its gradient pushes."""

from __future__ import annotations

import dataclasses
import inspect
import math

import pytest
import torch

from tedg.config.auxiliary import AUXILIARY, coefficient
from tedg.config.compose import compose
from tedg.errors import ConfigError
from tedg.learn import losses
from tedg.learn.losses import AlignmentTarget, Readings, expert_cosines
from tedg.learn.objective import auxiliary_terms
from tedg.models.routing import operator_membership

# Two experts, two samples, three actions. Less their means over actions the rows are
#   sample 0: e_0 = (1, 0, -1), e_1 = (1, -1, 0):    cos =  1 / (sqrt2 sqrt2) = 0.5
#   sample 1: e_0 = (1, 0, -1), e_1 = (-2, 0, 2):    cos = -1
LOGITS = torch.tensor(
    [[[6.0, 5.0, 4.0], [1.0, -1.0, 0.0]], [[1.0, 0.0, -1.0], [-1.0, 1.0, 3.0]]], dtype=torch.float64
)


def close(value, expected):
    torch.testing.assert_close(value, torch.tensor(expected, dtype=value.dtype), rtol=1e-6, atol=1e-9)


def test_load_balance():
    alpha = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.5, 0.3, 0.1, 0.1]])
    # means (0.6, 0.2, 0.1, 0.1); deviations (0.35, -0.05, -0.15, -0.15); squares sum to 0.17
    close(losses.load_balance(alpha), 0.17 / 4)
    close(losses.load_balance(torch.full((3, 4), 0.25)), 0.0)
    # Balanced over the batch, though each sample uses one expert.
    close(losses.load_balance(torch.eye(4)), 0.0)


def test_load_balance_lowers_the_most_used_expert():
    alpha = torch.tensor([[0.7, 0.1, 0.1, 0.1]], requires_grad=True)
    losses.load_balance(alpha).backward()
    assert alpha.grad[0, 0] > 0
    assert (alpha.grad[0, 1:] < 0).all()


def test_diversity():
    close(losses.diversity(expert_cosines(LOGITS)), (0.5 - 1.0) / 2)


def test_diversity_averages_over_pairs():
    three = torch.tensor([[[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]]])  # cosines 1, -1, -1
    close(losses.diversity(expert_cosines(three)), -1 / 3)


def test_diversity_parts_two_similar_experts():
    logits = LOGITS[:1].clone().requires_grad_()
    losses.diversity(expert_cosines(logits)).backward()
    assert losses.diversity(expert_cosines(logits.detach() - 0.1 * logits.grad)) < losses.diversity(
        expert_cosines(logits.detach())
    )


def test_semantic():
    close(losses.semantic(expert_cosines(LOGITS)), (0.5 + 1.0) / 2)
    unrelated = torch.tensor([[[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]])
    close(losses.semantic(expert_cosines(unrelated)), 0.0)


@pytest.mark.parametrize("sign", [1, -1])  # cosines 0.5 and -0.5
def test_semantic_pushes_towards_unrelated_from_both_sides(sign):
    logits = (LOGITS[:1] * torch.tensor([1.0, sign])[:, None]).requires_grad_()
    before = losses.semantic(expert_cosines(logits))
    before.backward()
    assert losses.semantic(expert_cosines(logits.detach() - 0.05 * logits.grad)) < before


def test_overlap():
    alpha = torch.tensor([[0.5, 0.5], [0.8, 0.2]], dtype=torch.float64)
    # 2 * 0.25 * 0.5 = 0.25 and 2 * 0.16 * (-1) = -0.32
    close(losses.overlap(alpha, expert_cosines(LOGITS)), (0.25 - 0.32) / 2)


def test_overlap_moves_shares_away_from_similar_experts():
    logits = torch.tensor([[[1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, -1.0]]])
    alpha = torch.full((1, 3), 1 / 3, requires_grad=True)
    losses.overlap(alpha, expert_cosines(logits)).backward()
    assert alpha.grad[0, 2] < alpha.grad[0, 0]


@pytest.mark.parametrize("loss", [losses.diversity, losses.semantic])
def test_a_constant_added_to_all_actions_changes_nothing(loss):
    moved = LOGITS + torch.tensor([[[7.0], [-3.0]]])
    close(loss(expert_cosines(moved)), float(loss(expert_cosines(LOGITS))))


def test_an_expert_without_preference_gives_zero_and_no_nan():
    logits = torch.tensor([[[2.0, 2.0, 2.0], [1.0, -1.0, 0.0]]], requires_grad=True)
    alpha = torch.tensor([[0.5, 0.5]], requires_grad=True)
    cosines = expert_cosines(logits)
    total = losses.diversity(cosines) + losses.semantic(cosines) + losses.overlap(alpha, cosines)
    close(total, 0.0)
    total.backward()
    assert (logits.grad == 0).all()
    assert (alpha.grad == 0).all()


def test_a_single_expert_has_no_pairs():
    cosines = expert_cosines(torch.randn(3, 1, 5))
    for loss in (losses.diversity, losses.semantic):
        close(loss(cosines), 0.0)
    close(losses.overlap(torch.ones(3, 1), cosines), 0.0)
    close(losses.load_balance(torch.ones(3, 1)), 0.0)


def test_temporal():
    alpha = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.5, 0.5]], requires_grad=True)
    previous = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.8, 0.2]], requires_grad=True)
    # The second sample begins an episode. 2 * 0.1^2 = 0.02 and 2 * 0.3^2 = 0.18.
    loss = losses.temporal(alpha, previous, torch.tensor([True, False, True]))
    close(loss, (0.02 + 0.18) / 2)
    loss.backward()
    assert previous.grad is None
    assert (alpha.grad[1] == 0).all()
    assert alpha.grad[0, 0] > 0
    assert alpha.grad[2, 0] < 0
    close(losses.temporal(alpha, previous, torch.zeros(3, dtype=torch.bool)), 0.0)


def test_alpha_entropy():
    alpha = torch.tensor([[0.5, 0.25, 0.25, 1e-30], [0.25, 0.25, 0.25, 0.25]])
    # 0.5 ln 2 + 2 * 0.25 ln 4 = 1.5 ln 2 and ln 4 = 2 ln 2
    close(losses.alpha_entropy(alpha.log()), 1.75 * math.log(2))


def test_alpha_entropy_gradient_towards_uniform():
    logits = torch.tensor([[1.0, 0.0, 0.0, 0.0]], requires_grad=True)
    losses.alpha_entropy(logits.log_softmax(1)).backward()
    assert logits.grad[0, 0] < 0


def test_alignment():
    alpha = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.4, 0.4]])
    target = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.4, 0.4]], requires_grad=True)
    # KL = ln(1 / 0.5) and 0
    loss = losses.alignment(alpha.log(), target)
    close(loss, math.log(2) / 2)
    assert not loss.requires_grad  # the target passes nothing on


def test_alignment_is_not_normalised_twice():
    """Its logit gradient is alpha - target; a log-softmax of probabilities would flatten it."""
    logits = torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    losses.alignment(logits.log_softmax(1), target).backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(1) - target).detach())
    alpha = logits.detach().softmax(1)
    close(losses.alignment(alpha.log(), alpha), 0.0)
    assert losses.alignment(alpha.log_softmax(1), alpha) > 0.05  # the mistake is visible


def make_target(**kwargs):
    return AlignmentTarget(operator_membership(torch.tensor([0, 0, 1, 2]), num_experts=3), **kwargs)


def test_alignment_target_by_hand():
    target = make_target()
    target.update(torch.tensor([[1.0, 3.0, 5.0, -1.0], [3.0, 5.0, 5.0, -1.0]]))
    torch.testing.assert_close(target.average, torch.tensor([3.0, 5.0, -1.0]))
    # Means (2, 5, 0) less the average: s = (-1, 0, 1); tau = 0.5 doubles it.
    scores = torch.tensor([[1.0, 3.0, 5.0, 0.0]], requires_grad=True)
    probabilities = target(scores, 0.5)
    weights = torch.tensor([math.exp(-2.0), 1.0, math.exp(2.0)])
    torch.testing.assert_close(probabilities, (weights / weights.sum())[None])
    assert not probabilities.requires_grad


def test_an_always_available_expert_does_not_win():
    target = make_target()
    scores = torch.tensor([0.0, 0.0, 9.0, 0.0]).repeat(5, 1)
    target.update(scores)
    torch.testing.assert_close(target(scores), torch.full((5, 3), 1 / 3))


def test_the_average_moves_only_when_told_and_is_exact_within_the_window():
    target = make_target(window=2)
    for value in (1.0, 3.0):
        target.update(torch.full((1, 4), value))
        target(torch.full((1, 4), 50.0))
    torch.testing.assert_close(target.average, torch.full((3,), 2.0))
    target.update(torch.full((1, 4), 4.0))
    torch.testing.assert_close(target.average, torch.full((3,), 3.0))
    other = make_target(window=2)
    other.load_state_dict(target.state_dict())
    torch.testing.assert_close(other(torch.ones(1, 4)), target(torch.ones(1, 4)))
    assert other.updates == 3


def test_missing_operator_scores_are_an_error_not_a_silent_zero():
    for call in (make_target(), make_target().update):
        with pytest.raises(ValueError, match="needs operator scores"):
            call(None)


@pytest.mark.parametrize(
    ("experts", "message"), [([0, 0, 1], "none for expert .2."), ([0, 1, 3], "0 to 2"), ([0, -1], "0 to 2")]
)
def test_experts_without_operators_are_refused(experts, message):
    with pytest.raises(ValueError, match=message):
        operator_membership(torch.tensor(experts), num_experts=3)


def test_every_line_of_the_table_is_a_function_of_readings():
    """Each argument takes the reading in its place: the same name, or `alpha` and `target` for short."""
    readings = {field.name for field in dataclasses.fields(Readings)}
    for name, reads in AUXILIARY.items():
        arguments = list(inspect.signature(getattr(losses, name)).parameters)
        assert set(reads) <= readings
        assert len(reads) == len(arguments)
        assert all(what.endswith(argument) for what, argument in zip(reads, arguments, strict=True))


def test_losses_are_summed_in_the_order_of_the_first_runs():
    first = ["load_balance", "diversity", "semantic", "temporal", "overlap", "alignment"]
    assert list(AUXILIARY)[: len(first)] == first  # a later one goes to the end


def test_a_loss_is_left_out_where_what_it_reads_is_not_there():
    alpha, logits = torch.full((2, 2), 0.5), torch.randn(2, 2, 3)
    readings = Readings(
        soft_alpha=alpha,
        log_alpha=alpha.log(),
        cosines=expert_cosines(logits),
        expert_logits=logits,
        previous_alpha=torch.eye(2),
        continues=torch.tensor([True, False]),
        alignment_target=None,
    )
    assert list(auxiliary_terms(readings)) == [name for name in AUXILIARY if name != "alignment"]
    terms = auxiliary_terms(dataclasses.replace(readings, alignment_target=torch.eye(2)))
    assert list(terms) == list(AUXILIARY)
    close(terms["temporal"], 0.5)
    close(terms["alignment"], math.log(2))


def test_a_stage_gives_every_loss_its_weight_and_none_below_zero():
    keys = [f"stage.{coefficient(name)}" for name in AUXILIARY]
    with pytest.raises(ConfigError) as missing:
        compose([f"~{key}" for key in keys])
    with pytest.raises(ConfigError) as negative:
        compose([f"{key}=-0.5" for key in keys])
    for key in keys:
        assert f"{key}: is missing" in str(missing.value)
        assert f"{key}=-0.5: must be at least 0" in str(negative.value)
    with pytest.raises(ConfigError, match=r"did you mean stage\.overlap_coef\?"):
        compose(["+stage.overlp_coef=1"])
