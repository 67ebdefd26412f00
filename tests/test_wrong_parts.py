"""The contract suite can fail: a wrong part of each kind, planted into a sound policy, is noticed."""

from __future__ import annotations

import copy

import pytest
import torch
from support import contracts
from support.gradients import faint_parameters
from support.models import batch, toy
from support.settings import NARROW
from torch import nn

from tedg.learn.stages import make_schedule
from tedg.models.fusion import ConcatFusion, FusionOutput
from tedg.models.gate import Gate, NoGate, RandomTopKGate, TopKGate
from tedg.models.largest import softmax_of_largest
from tedg.models.logic import HypergraphEncoder, LogicOutput, NoLogic
from tedg.models.routing import Entmax, Routing, Softmax
from tedg.models.tokens import DenseTokens
from tedg.models.vision import StateEncoder, VisualOutput


class Sigmoid(NoGate):
    def __call__(self, scores, noise):
        return torch.sigmoid(scores)

    def num_kept(self, num_keys):
        return min(num_keys, 2)


class KeepsTooMany(TopKGate):
    def __call__(self, scores, noise):
        return softmax_of_largest(scores, min(scores.shape[-1], self.num_kept(scores.shape[-1]) + 1))


class KeepsTooFew(NoGate):
    def __call__(self, scores, noise):
        return softmax_of_largest(scores, max(1, scores.shape[-1] - 1))


class LetsDroppedKeysLearn(TopKGate):
    """The straight-through estimator."""

    def __call__(self, scores, noise):
        soft = torch.softmax(scores, -1)
        return super().__call__(scores, noise).detach() + soft - soft.detach()


class Negative(NoGate):
    def __call__(self, scores, noise):
        return 2 * torch.softmax(scores, -1) - torch.softmax(-scores, -1)

    def num_kept(self, num_keys):
        return None


class LooksAtOtherStates(NoGate):
    def __call__(self, scores, noise):
        return torch.softmax(scores - scores.mean(0), -1)


class DrawsForItself(RandomTopKGate):
    def __call__(self, scores, noise):
        return super().__call__(scores, torch.randint(1 << 40, noise.shape))


class SaysItIsNotRandom(RandomTopKGate):
    random = False


@pytest.mark.parametrize(
    "gate",
    [
        Sigmoid(),
        KeepsTooMany(0.3),
        KeepsTooFew(),
        LetsDroppedKeysLearn(0.3),
        Negative(),
        LooksAtOtherStates(),
        DrawsForItself(0.3),
        SaysItIsNotRandom(0.3),
    ],
    ids=lambda gate: type(gate).__name__,
)
def test_a_wrong_gate(gate: Gate) -> None:
    contracts.holds_for_a_gate(TopKGate(0.3))
    with pytest.raises((AssertionError, ValueError)):  # uniform() says itself that it needs noise
        contracts.holds_for_a_gate(gate)


class DoesNotSum(Routing):
    def shares(self, z):
        return torch.sigmoid(z)


class GoesNegative(Routing):
    def shares(self, z):
        return z - z.mean(1, keepdim=True) + 1 / z.shape[1]


class DoesNotSumLate(Softmax):
    """Right in every stage but at the end of the last."""

    def at(self, stage, progress):
        return DoesNotSum() if (stage, progress) == ("finetune", 1.0) else self


class MixesStates(Routing):
    def shares(self, z):
        return torch.softmax(z - z.amax(0), -1)


class Overflows(Routing):
    def shares(self, z):
        return (3 * z).exp().float() / (3 * z).exp().float().sum(1, keepdim=True)


class StaysNarrow(Softmax):
    def __call__(self, logits):
        return self.shares(logits)


@pytest.mark.parametrize(
    "routing", [DoesNotSum, GoesNegative, DoesNotSumLate, MixesStates, Overflows, StaysNarrow]
)
def test_a_wrong_routing(routing: type[Routing]) -> None:
    contracts.holds_for_a_routing(Entmax(1.5))
    with pytest.raises(AssertionError):
        contracts.holds_for_a_routing(routing())


class IgnoresLogic(ConcatFusion):
    def forward(self, tokens, h_vis, h_logic, noise):
        return FusionOutput(torch.cat([h_vis, 0 * h_logic], 1), None)


class PretendsToReadLogic(ConcatFusion):
    """Gradients flow as if it did."""

    def forward(self, tokens, h_vis, h_logic, noise):
        return FusionOutput(torch.cat([h_vis, h_logic - h_logic.detach()], 1), None)


class IgnoresVision(ConcatFusion):
    def forward(self, tokens, h_vis, h_logic, noise):
        return FusionOutput(torch.cat([torch.ones_like(h_vis), h_logic], 1), None)


class CentresTheBatch(ConcatFusion):
    def forward(self, tokens, h_vis, h_logic, noise):
        both = torch.cat([h_vis, h_logic], 1)
        return FusionOutput(both - both.mean(0), None)


class LooksAhead(ConcatFusion):
    """Each row sees a little of the next one, which while learning is the next step."""

    def forward(self, tokens, h_vis, h_logic, noise):
        return FusionOutput(torch.cat([h_vis + 1e-3 * h_vis.roll(-1, 0), h_logic], 1), None)


class ActsOtherwise(ConcatFusion):
    def forward(self, tokens, h_vis, h_logic, noise):
        scale = 1.0 if torch.is_grad_enabled() else 1.001
        return FusionOutput(torch.cat([scale * h_vis, h_logic], 1), None)


class Remembers(ConcatFusion):
    """What it saw last takes part."""

    last = 0.0

    def forward(self, tokens, h_vis, h_logic, noise):
        context = torch.cat([h_vis, h_logic + self.last], 1)
        self.last = float(h_logic.detach()[-1, 0]) + 1.0
        return FusionOutput(context, None)


class DropsOut(ConcatFusion):
    def forward(self, tokens, h_vis, h_logic, noise):
        return FusionOutput(nn.functional.dropout(torch.cat([h_vis, h_logic], 1), 0.1), None)


class SeesOtherStates(StateEncoder):
    def forward(self, observation):
        tokens, h_vis = super().forward(observation)
        return VisualOutput(tokens, h_vis + 1e-3 * h_vis.mean(0))


class WritesToObservations(StateEncoder):
    def forward(self, observation):
        observation.state.mul_(2)
        return super().forward(observation)


class SeesNothing(StateEncoder):
    def forward(self, observation):
        tokens, h_vis = super().forward(observation)
        return VisualOutput(DenseTokens(tokens.dense() * 0), h_vis * 0)


class _MeanOfFirst(DenseTokens):
    def mean(self):
        return self.values[:, 0] * 1.01


class HasOtherTokens(StateEncoder):
    def forward(self, observation):
        tokens, h_vis = super().forward(observation)
        return VisualOutput(_MeanOfFirst(tokens.dense()), h_vis)


class ReadsOtherStates(HypergraphEncoder):
    def forward(self, observation):
        output = super().forward(observation)
        return LogicOutput(output.h_logic - output.h_logic.mean(0), output.operator_scores)


class AlwaysSaysTheSame(HypergraphEncoder):
    def forward(self, observation):
        output = super().forward(observation)
        return LogicOutput(output.h_logic[:1].expand_as(output.h_logic), output.operator_scores)


class KeepsItsScores(HypergraphEncoder):
    def forward(self, observation):
        return LogicOutput(super().forward(observation).h_logic)


@pytest.fixture(scope="module")
def sound():
    """(environment, policy, observation, settings) of V3 on the state, in float64."""
    config, env, policy = toy("fusion=concat", "vision=state", "stage=finetune", "init_from=none", *NARROW)
    (stage,), _ = make_schedule(config)
    return env, policy.double(), batch(env, policy, steps=1), stage.settings(0)


def planted(policy, wrong):
    """A copy of the policy with the part of that kind turned into the wrong one, weights and all."""
    kind = {ConcatFusion: "fusion", StateEncoder: "vision", HypergraphEncoder: "logic"}
    policy = copy.deepcopy(policy)
    part = next(getattr(policy, name) for base, name in kind.items() if issubclass(wrong, base))
    part.__class__ = wrong
    return policy


def by_itself(policy, observation, settings, env):
    contracts.every_state_is_for_itself(policy, observation, settings)


def learning(policy, observation, settings, env):
    contracts.acting_is_learning(policy, observation, settings)


def streams(policy, observation, settings, env):
    contracts.both_streams_count(policy, observation)


def tokens(policy, observation, settings, env):
    contracts.tokens_are_one_set(policy, observation)


def gradients(policy, observation, settings, env):
    assert not faint_parameters(policy, observation, settings.routing, settings.temperature)


def attention(policy, observation, settings, env):
    contracts.attention_is_as_promised(policy, observation, settings)


def hidden(policy, observation, settings, env):
    contracts.hidden_symbols_stay_hidden(policy, observation, settings, env.spec.symbolic_state)


CHECKS = (by_itself, learning, streams, tokens, gradients, attention)


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_part_passes(check, sound):
    env, policy, observation, settings = sound
    check(copy.deepcopy(policy), observation, settings, env)


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        (IgnoresLogic, streams),
        (IgnoresLogic, gradients),
        (PretendsToReadLogic, streams),
        (IgnoresVision, streams),
        (CentresTheBatch, by_itself),
        (LooksAhead, by_itself),
        (ActsOtherwise, learning),
        (Remembers, learning),
        (DropsOut, learning),
        (SeesOtherStates, by_itself),
        (WritesToObservations, learning),
        (SeesNothing, streams),
        (HasOtherTokens, tokens),
        (ReadsOtherStates, by_itself),
        (AlwaysSaysTheSame, streams),
        (KeepsItsScores, streams),
    ],
)
def test_a_wrong_part(wrong, check, sound):
    env, policy, observation, settings = sound
    with pytest.raises(AssertionError):
        check(planted(policy, wrong), observation.map(torch.clone), settings, env)


def test_an_encoder_that_tells_hidden_symbols():
    config, env, policy = toy("fusion=concat", "vision=state", "logic=none", *NARROW)
    (stage,), _ = make_schedule(config)
    policy.double()
    observation = batch(env, policy, steps=1)
    assert isinstance(policy.logic, NoLogic)
    hidden(policy, observation, stage.settings(0), env)
    policy.vision.state_input.hide_symbols = False
    with pytest.raises(AssertionError):
        hidden(policy, observation, stage.settings(0), env)


@pytest.mark.parametrize("gate", [Sigmoid(), KeepsTooFew(), KeepsTooMany(0.3)], ids=("sum", "few", "many"))
def test_a_wrong_gate_shows_in_the_attention(gate):
    config, env, policy = toy("fusion=cross_attn", "stage=finetune", "init_from=none", *NARROW)
    (stage,), _ = make_schedule(config)
    policy.double()
    observation = batch(env, policy, steps=1)
    attention(policy, observation, stage.settings(0), env)
    policy.fusion.gate = gate
    with pytest.raises(AssertionError):
        attention(policy, observation, stage.settings(0), env)
