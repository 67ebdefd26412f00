"""Mistakes that made an earlier implementation of this system learn nothing: one test for each.

`python tests/mutants.py` puts every one of them back, one at a time, and checks that its test fails.
"""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from nle import nethack as nh
from support.forgery import Payload, reseal
from support.models import batch, toy
from support.nethack_games import empty_frames, update
from support.settings import NARROW

from tedg.envs import glyphs
from tedg.envs.atoms import ATOMS
from tedg.errors import StorageError
from tedg.learn import losses
from tedg.learn.ppo import Learner
from tedg.learn.rollout import Collector
from tedg.learn.setup import make_hypergraph
from tedg.learn.stages import make_schedule
from tedg.models.routing import Softmax, Sparsemax
from tedg.store import checkpoint

CPU = torch.device("cpu")


def prepare(*overrides, progress=0.5):
    """(learner, collector, settings) of a small policy in float64 on the toy environment."""
    config, env, policy = toy(*NARROW, *overrides)
    policy.double()
    learner = Learner(policy, config.ppo, env.num_envs, torch.Generator().manual_seed(0))
    collector = Collector(env, policy, config.ppo.num_steps, CPU, torch.Generator().manual_seed(0))
    stages, budget = make_schedule(config)
    return learner, collector, stages[-1].settings(budget.total * progress)


def update_inputs(learner, rollout, settings):
    """What the policy was called with in an update: (observation, temperature, action) per minibatch."""
    calls = []
    entrance = learner.policy.get_action_and_value

    def spy(observation, routing, temperature, action):
        calls.append((observation, temperature, action))
        return entrance(observation, routing, temperature, action)

    learner.policy.get_action_and_value = spy
    try:
        result = learner.update(rollout, settings)
    finally:
        del learner.policy.get_action_and_value
    assert result.fault is None
    return calls, result


def as_rows(*parts):
    """The samples of a batch as a sorted list of tuples, to compare them without their order."""
    return sorted(map(tuple, torch.cat([part.flatten(1).double() for part in parts], dim=1).tolist()))


def test_01_the_update_sees_the_atoms_that_were_acted_on():
    """The update evaluated the network without atoms, or with the last step's atoms for every sample."""
    learner, collector, settings = prepare()
    rollout = collector.collect(settings)
    stored = as_rows(rollout.observation.atoms.flatten(0, 1), rollout.action.flatten()[:, None])
    assert len(set(stored)) > 100
    calls, result = update_inputs(learner, rollout, settings)
    seen = as_rows(torch.cat([o.atoms for o, _, _ in calls]), torch.cat([a for _, _, a in calls])[:, None])
    assert seen == stored
    assert result.metrics["train/initial_log_ratio"] < 1e-9


def test_01_the_graph_network_learns():
    """No gradient ever reached the graph attention network."""
    learner, collector, settings = prepare()
    before = copy.deepcopy(dict(learner.policy.logic.named_parameters()))
    learner.update(collector.collect(settings), settings)
    after = dict(learner.policy.logic.named_parameters())
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def test_02a_advantages_follow_time_order():
    """Advantages were summed over a randomly shuffled batch instead of along each episode."""
    learner, collector, settings = prepare("env.max_episode_steps=6")
    rollout = collector.collect(settings)
    learner.update(rollout, settings)
    gamma, decay = learner.config.gamma, learner.config.gamma * learner.config.gae_lambda
    # The normaliser has seen this rollout only, so it divides by what it holds now.
    reward = rollout.reward.double() / learner.normaliser.std
    delta = reward + gamma * rollout.next_value - rollout.value
    ended = rollout.terminated | rollout.truncated
    steps, envs = delta.shape
    for env in range(envs):
        for start in range(steps):
            expected, weight = 0.0, 1.0
            for t in range(start, steps):
                expected += weight * float(delta[t, env])
                weight *= decay
                if ended[t, env]:
                    break
            assert float(rollout.advantage[start, env]) == pytest.approx(expected, abs=1e-5)


def test_02b_the_last_value_is_bootstrapped():
    """The value after a rollout's last step was taken to be 0."""
    _, collector, settings = prepare()
    rollout = collector.collect(settings)
    going_on = ~(rollout.terminated[-1] | rollout.truncated[-1])
    assert going_on.any()
    following = collector.collect(settings).observation[0]  # what the next rollout begins with
    with torch.no_grad():
        after = collector.policy(following, settings.routing, settings.temperature).value
    torch.testing.assert_close(rollout.next_value[-1][going_on], after[going_on])
    assert (after.abs() > 1e-9).all()


def test_02c_truncation_is_not_death():
    """An episode cut by the step limit was learnt from as if the hero had died."""
    _, collector, settings = prepare("env.max_episode_steps=5")
    rollout = collector.collect(settings)
    assert rollout.truncated.any()
    assert (rollout.next_value[rollout.truncated].abs() > 1e-9).all()
    assert (rollout.next_value[rollout.terminated] == 0).all()


def test_03_the_mask_holds_in_the_update():
    """Illegal actions were masked while acting, and had probability again while learning."""
    learner, collector, settings = prepare()
    rollout = collector.collect(settings)
    assert not rollout.observation.mask.all()
    with torch.no_grad():
        scored = learner.policy.get_action_and_value(
            rollout.flat_observation(),
            settings.routing,
            rollout.temperature.flatten(),
            rollout.action.flatten(),
        )
    legal = rollout.observation.mask.flatten(0, 1)
    logits = scored.output.policy_logits.masked_fill(~legal, -torch.inf)
    expected = logits.log_softmax(dim=1).gather(1, rollout.action.flatten()[:, None]).squeeze(1)
    torch.testing.assert_close(scored.log_prob, expected)
    torch.testing.assert_close(scored.log_prob, rollout.log_prob.flatten())


def test_04_missing_atoms_are_an_error():
    """Without atoms the alignment loss was left out, and nobody was told."""
    learner, collector, settings = prepare()
    rollout = collector.collect(settings)
    assert learner.update(rollout, settings).metrics["loss/alignment"] > 0
    forward = learner.policy.forward
    learner.policy.forward = lambda *inputs: replace(forward(*inputs), operator_scores=None)
    with pytest.raises(ValueError, match="needs operator scores"):
        learner.update(rollout, settings)
    del learner.policy.forward
    rollout.observation = replace(rollout.observation, atoms=None)
    with pytest.raises(AttributeError, match="NoneType"):
        learner.update(rollout, settings)


def test_05a_the_stages_learning_rate_survives_updates():
    """A scheduler wrote its own learning rate over the stage's at every step."""
    learner, collector, settings = prepare("stage=finetune", "preset=described")
    rates = []
    learner.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.extend(group["lr"] for group in optimizer.param_groups)
    )
    for _ in range(2):
        learner.update(collector.collect(settings), settings)
    assert len(rates) == 8
    assert set(rates) == {1e-5}


def test_05b_the_annealed_temperature_reaches_the_router():
    """The temperature was annealed and logged, and the router never got it."""
    learner, collector, settings = prepare("stage=transition", progress=0.8)
    assert settings.temperature == pytest.approx(0.6)
    logits = []
    learner.policy.router.register_forward_hook(lambda _, __, output: logits.append(output.detach()))
    rollout = collector.collect(settings)
    groups = len(collector.env.groups)
    steps = [torch.cat(logits[groups * t : groups * (t + 1)]) for t in range(len(rollout.action))]
    acted = torch.stack(steps)
    torch.testing.assert_close(rollout.soft_alpha, torch.softmax(acted / 0.6, dim=-1))
    calls, _ = update_inputs(learner, rollout, settings)
    for _, temperature, _ in calls:
        torch.testing.assert_close(temperature, torch.full_like(temperature, 0.6))


def test_06a_sparsemax_is_the_projection_onto_the_simplex():
    """What was called sparsemax was a softmax over the two largest of four logits."""
    logits = torch.tensor([[0.2, 0.1, 0.1, 0.0], [3.0, 0.1, 0.1, 0.0]])
    expected = torch.tensor([[0.35, 0.25, 0.25, 0.15], [1.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(Sparsemax()(logits), expected)


def test_06b_attention_chooses_between_keys():
    """The softmax ran over four heads and one was kept: its weight was always 1, its sparsity always 0.75."""
    _, env, policy = toy("fusion=cross_attn")
    weights = policy(batch(env, policy), Softmax(), 1.0).attention_weights.detach()
    keys = weights.shape[-1]
    assert keys == policy.vision.num_tokens > 1
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
    assert ((weights > 0).sum(dim=-1) == policy.fusion.gate.num_kept(keys)).all()
    assert float((weights == 0).float().mean()) != pytest.approx(0.75, abs=0.01)
    assert float(weights.max()) < 1


def test_06c_the_visual_encoder_reads_the_map():
    """What was called a CNN was an MLP on the state vector and saw no map."""
    for fusion in ("concat", "cross_attn_dense"):
        _, env, policy = toy(*NARROW, f"fusion={fusion}")
        observation = batch(env, policy)
        before = policy(observation, Softmax(), 1.0)
        jackal = observation.crop.clone()
        jackal[:, 3, 4] = 12
        after = policy(replace(observation, crop=jackal), Softmax(), 1.0)
        assert (before.policy_logits != after.policy_logits).any(dim=1).all()
        tokens, moved = (
            policy.vision(o).tokens.dense() for o in (observation, replace(observation, crop=jackal))
        )
        cells = (tokens != moved).any(dim=2).any(dim=0).nonzero().flatten().tolist()
        assert cells == [9 * row + column for row in (2, 3, 4) for column in (3, 4, 5)]


def test_07_alignment_is_a_divergence_between_the_two_distributions():
    """Its KL took a log-softmax of what were probabilities already, so it was normalised twice."""
    learner, collector, settings = prepare()
    rollout = collector.collect(settings)
    with torch.no_grad():
        output = learner.policy(rollout.flat_observation(), settings.routing, settings.temperature)
    alignment = copy.deepcopy(learner.alignment)
    alignment.update(output.operator_scores)
    target = alignment(output.operator_scores).double()
    alpha = output.soft_alpha
    expected = float((target * (target.log() - alpha.log())).sum(dim=1).mean())
    assert float(losses.alignment(alpha.log(), target)) == pytest.approx(expected, rel=1e-6)
    assert float(losses.alignment(alpha.log(), alpha)) == pytest.approx(0.0, abs=1e-9)
    # In the update, with all samples in one minibatch.
    learner.config = replace(learner.config, minibatch_size=rollout.num_samples)
    assert learner.update(rollout, settings).metrics["loss/alignment"] == pytest.approx(expected, rel=1e-5)


def test_07_an_operators_score_depends_on_its_preconditions():
    """Operators were scored by the norms of their embeddings, whatever the state."""
    config, env, policy = toy(*NARROW)
    conditions = make_hypergraph(config).conditions()
    gates = conditions.is_precondition & conditions.valid
    operator = int(gates.sum(axis=1).argmax())
    atoms = torch.as_tensor(conditions.atom[operator][gates[operator]])
    positive = torch.as_tensor(conditions.positive[operator][gates[operator]])
    observation = batch(env, policy, steps=1)[:2]
    observation.atoms[0, atoms] = positive
    observation.atoms[1, atoms] = ~positive
    torch.nn.init.zeros_(policy.logic.score.weight)
    scores = policy(observation, Softmax(), 1.0).operator_scores[:, operator].detach()
    count = len(atoms)
    torch.testing.assert_close(scores, torch.tensor([0.0, math.log(0.5 / (count + 0.5))]))


def test_08_the_forward_pass_is_the_same_while_acting_and_while_learning():
    """Dropout was active in both, with different masks, so ratios compared two other policies."""
    _, env, policy = toy(*NARROW)
    observation = batch(env, policy)
    first, second = (policy.train()(observation, Softmax(), 1.0) for _ in range(2))
    third = policy.eval()(observation, Softmax(), 1.0)
    for other in (second, third):
        assert torch.equal(first.policy_logits, other.policy_logits)
        assert torch.equal(first.value, other.value)
        assert torch.equal(first.alpha, other.alpha)


def test_09a_hunger_is_an_enumeration():
    """Hunger, an enumeration from 0 to 6, was read as a number of turns."""
    frames = empty_frames(7)
    frames.blstats[:, nh.NLE_BL_HUNGER] = np.arange(7)
    atoms = update(frames).atoms
    found = [
        [name for name in ("satiated", "not_hungry", "hungry", "weak", "fainting") if row[ATOMS.index(name)]]
        for row in atoms
    ]
    assert found == [["satiated"], ["not_hungry"], ["hungry"], ["weak"], *[["fainting"]] * 3]


def test_09b_glyph_numbers_are_nles():
    """Glyph numbers of walls, doors and objects were wrong."""
    symbols = {nh.GLYPH_CMAP_OFF + i: nh.symdef.from_idx(i).explanation for i in range(nh.MAXPCHARS)}
    for category, text in (("WALL", "wall"), ("CDOOR", "closed door"), ("ODOOR", "open door")):
        found = np.flatnonzero(glyphs.GLYPH_CATEGORIES & glyphs.category(category)).tolist()
        assert found == [glyph for glyph, explanation in symbols.items() if explanation == text]
    objects = np.flatnonzero(glyphs.GLYPH_CATEGORIES & glyphs.category("OBJ"))
    assert (objects[0], len(objects)) == (nh.GLYPH_OBJ_OFF, nh.NUM_OBJECTS)


def test_09c_the_hero_is_not_a_monster_beside_itself():
    """The hero's own glyph, a monster's, was counted among its neighbours."""
    view = update(empty_frames(1))
    hostile = [name for name in ATOMS if name.startswith("hostile") and view.atoms[0, ATOMS.index(name)]]
    assert hostile == []
    assert not view.hostile_dirs.any()
    assert view.scan["hostiles"][0] == 0


def test_10a_a_checkpoint_is_whole_or_absent(tmp_path, monkeypatch):
    """Checkpoints were written in place, so a crash left half a file under the right name."""
    weights = {"model": {"w": torch.ones(3)}}
    first = checkpoint.save(tmp_path, 1, weights, {})

    class Crash(BaseException):
        pass

    write = checkpoint._write

    def torn(path, content):
        if path.name == "manifest.json":
            raise Crash
        write(path, content)

    monkeypatch.setattr(checkpoint, "_write", torn)
    with pytest.raises(Crash):
        checkpoint.save(tmp_path, 2, weights, {})
    assert not (tmp_path / "ckpt-000000000002").exists()
    assert checkpoint.latest(tmp_path) == first


def test_10b_nothing_is_ever_unpickled(tmp_path):
    """Loading a checkpoint ran whatever code its pickle named."""
    path = checkpoint.save(tmp_path, 1, {"model": {"w": torch.ones(3)}}, {})
    (path / "model.safetensors").write_bytes(pickle.dumps(Payload(tmp_path / "owned")))
    reseal(path)
    with pytest.raises(Exception) as refused:  # noqa: PT011  what matters more is said first
        checkpoint.load(path)
    assert not (tmp_path / "owned").exists()
    assert refused.type is StorageError


def test_10c_a_rollback_takes_the_optimiser_back():
    """After a NaN the weights were restored, and Adam kept the moments of the updates that failed."""
    learner, collector, settings = prepare()
    learner.update(collector.collect(settings), settings)
    before = copy.deepcopy(learner.optimizer.state_dict()["state"])
    weights = copy.deepcopy(learner.policy.state_dict())
    broken = collector.collect(settings)
    calls, step = [], learner.optimizer.step

    def poisoned():
        """Steps, and after the third time ruins a weight."""
        step()
        calls.append(0)
        if len(calls) == 3:
            with torch.no_grad():
                learner.parameters.value[0] = math.nan

    learner.optimizer.step = poisoned
    assert learner.update(broken, settings).fault is not None
    assert len(calls) >= 3
    after = learner.optimizer.state_dict()["state"]
    for index, entry in before.items():
        for name, value in entry.items():
            assert torch.equal(torch.as_tensor(after[index][name]), torch.as_tensor(value))
    for name, value in learner.policy.state_dict().items():
        assert torch.equal(value, weights[name])
