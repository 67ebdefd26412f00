"""What moves a policy: planted policies whose figures are known, and that nothing else changes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.models import toy
from support.settings import NARROW
from torch import Tensor

from tedg.envs.features import STATE_DIM
from tedg.envs.observation import Observation, Step
from tedg.hypergraph.schema import Hypergraph, Literal, Operator, load_hypergraph
from tedg.learn import modality as module
from tedg.learn.modality import NAMES, bins, modality, partners, routing_figures
from tedg.learn.promises import promised_effects
from tedg.learn.seen import Seen, Watch
from tedg.learn.stages import Settings, make_schedule
from tedg.models.fusion import Fusion, without_keys
from tedg.models.gate import NoGate, TopKGate, WithoutKeys
from tedg.models.policy import MoEPolicy, PolicyOutput
from tedg.run.summary import modality_lines

DEPTH, TURNS = module._COLUMN["depth"], module._COLUMN["turns"]
KEYS = 20


def states(count: int, depths: int = 1) -> Observation:
    """`count` states, equally many on each of the first levels of the dungeon, and random otherwise."""
    draw = np.random.default_rng(0)
    state = draw.random((count, STATE_DIM), np.float32)
    level = np.arange(count) % depths
    state[:, DEPTH], state[:, TURNS] = level / (level + 5), 0
    graph = load_hypergraph("nethack")
    return Observation(
        state=torch.as_tensor(state),
        atoms=torch.as_tensor(draw.random((count, len(graph.atoms))) < 0.5),
        mask=torch.ones(count, 3, dtype=torch.bool),
        noise=torch.arange(count),
    )


def seen(before: Observation) -> Seen:
    """Each state is followed by the next one."""
    goes_on = torch.ones(len(before), dtype=torch.bool)
    goes_on[-1] = False
    return Seen(before, before.map(lambda x: x.roll(-1, dims=0)), goes_on)


@dataclass(eq=False)
class Planted(MoEPolicy):
    """Acts by state feature 0 (its vision) times `vision` and by atom 0 (its logic) times `logic`.

    `alpha` gives the experts' shares, None one expert's. It attends to KEYS values of state features by
    scores that are 3 for the first four keys and 0 for the rest, and acts by `attends` times what it sees.
    """

    vision_weight: float = 0.0
    logic_weight: float = 0.0
    alpha: Any = None
    attends: float = 0.0
    alike: bool = False  # keys
    gate: Any = None

    def __post_init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.vision = SimpleNamespace(inputs=("state",))
        self.logic = SimpleNamespace(inputs=("atoms",))
        self.fusion = Fusion()
        self.fusion.gate, self.fusion.inputs = self.gate, ("noise",)
        self.experts, self.compiled = SimpleNamespace(inputs=()), False

    def forward(self, observation: Observation, routing: Any, temperature: Any) -> PolicyOutput:
        del routing, temperature
        rows = len(observation)
        score = self.vision_weight * observation.state[:, 0] + self.logic_weight * observation.atoms[:, 0]
        weights = None
        if self.fusion.gate is not None:
            keys = torch.zeros(rows, 1, KEYS)
            keys[..., :4] = 3.0
            weights = self.fusion.gate(keys, observation.noise)
            values = torch.ones(KEYS) if self.alike else (torch.arange(KEYS) < 4).float()
            score = score + self.attends * (weights[:, 0] * values).sum(dim=1)
            weights = weights.unsqueeze(2)
        logits = torch.stack([score, -score, torch.zeros(rows)], dim=1)
        alpha = torch.ones(rows, 1) if self.alpha is None else self.alpha(observation)
        own, empty = logits.unsqueeze(1).expand(-1, alpha.shape[1], -1), torch.zeros(rows, 1)
        return PolicyOutput(*(logits, 2 * score, alpha, alpha, empty, weights, own, empty, empty, None))


@cache
def settings() -> Settings:
    """Those of any stage; planted policies read none."""
    config, env, _ = toy(*NARROW, "fusion=concat")
    env.close()
    return make_schedule(config)[0][-1].settings(0)


def figures(policy: Any, met: Seen | None = None, seed: int = 0) -> dict[str, Any]:
    own = torch.Generator().manual_seed(seed)
    found = modality(policy, met or seen(states(200)), settings(), load_hypergraph("nethack"), own)
    assert tuple(found) == NAMES
    json.dumps(found, allow_nan=False)
    return found


@pytest.mark.parametrize(
    ("vision", "logic", "share"), [(1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (2.0, 1.0, None), (0.0, 0.0, None)]
)
def test_the_stream_that_is_read_has_the_share(vision: float, logic: float, share: float | None) -> None:
    found = figures(Planted(vision, logic))
    for stream, weight in (("vision", vision), ("logic", logic)):
        assert (found[f"kl/{stream}"] > 0.01) == bool(weight)
        assert (found[f"value/{stream}"] > 0.1) == bool(weight)
        assert weight or found[f"kl/{stream}"] == found[f"value/{stream}"] == 0
    if vision and logic:
        expected = found["kl/vision"] / (found["kl/vision"] + found["kl/logic"])
        assert 0.2 < expected < 0.8
        assert found["share/vision"] == pytest.approx(expected)
    else:
        assert found["share/vision"] == share
    assert (found["states"], found["alone"]) == (200, 0)


def test_exchanges_stay_within_depth_and_turn() -> None:
    """A policy that acts by its depth alone is moved by no state of the same depth."""
    met = states(200, depths=4)
    deep = Planted(5.0)
    by_depth = replace(met, state=met.state.clone())
    by_depth.state[:, 0] = met.state[:, DEPTH]
    assert figures(deep, seen(by_depth))["kl/vision"] == 0
    assert figures(deep, seen(met))["kl/vision"] > 0
    alone = replace(met, state=met.state.clone())
    alone.state[0, TURNS] = 1.0
    assert figures(deep, seen(alone))["alone"] == 1
    # The legality mask is the state's own: what is illegal in it stays so.
    forbidden = replace(met, mask=met.mask & torch.tensor([True, False, False]))
    assert figures(deep, seen(forbidden))["kl/vision"] == 0


def test_bins_are_levels_and_doublings_of_turns() -> None:
    state = torch.zeros(7, STATE_DIM)
    levels, turns = torch.tensor([1, 1, 1, 1, 2, 2, 50]), torch.tensor([1, 2, 3, 255, 255, 510, 20_000])
    state[:, DEPTH] = (levels - 1) / (levels + 4)
    state[:, TURNS] = (1 + turns).double().log().div(math.log(20_001)).float()
    own = bins(state).tolist()
    assert [one // 16 for one in own] == levels.tolist()
    assert [one % 16 for one in own] in ([1, 1, 2, 8, 8, 8, 14], [1, 1, 1, 7, 7, 8, 14])  # by rounding
    found = partners(torch.tensor([5, 1, 5, 2, 1, 5]), torch.Generator().manual_seed(0)).tolist()
    assert found[3] == -1
    assert {found[1], found[4]} == {4, 1}
    assert sorted((found[0], found[2], found[5])) == [0, 2, 5]
    assert all(other != one for one, other in enumerate(found))


def by_depth(observation: Observation) -> Tensor:
    level = (5 * observation.state[:, DEPTH] / (1 - observation.state[:, DEPTH])).round().long()
    return torch.nn.functional.one_hot(level, 4).float()


def test_experts_are_counted_and_their_switches() -> None:
    one = figures(Planted(1.0))
    assert (one["router/effective_experts"], one["router/specialisation"]) == (1, 0)
    assert one["router/switch_rate"] == one["router/switch_chance"] == 0
    four = figures(Planted(1.0, alpha=by_depth), seen(states(200, depths=4)))
    assert four["router/effective_experts"] == pytest.approx(4, rel=1e-5)
    assert four["router/specialisation"] == pytest.approx(math.log(4), rel=1e-5)
    assert four["router/switch_rate"] == 1  # a level further with each step
    assert four["router/switch_chance"] == pytest.approx(0.75, abs=1e-3)
    # Undecided in every state: as many experts, and the state tells nothing.
    alpha = torch.full((10, 4), 0.25)
    found = routing_figures(alpha, alpha[:0], alpha[:0])
    assert found["router/effective_experts"] == pytest.approx(4)
    assert found["router/specialisation"] == pytest.approx(0, abs=1e-6)
    assert "router/switch_rate" not in found
    sticky = torch.eye(2)[torch.tensor([0, 0, 0, 1, 1, 1])]
    found = routing_figures(sticky, sticky[:5], sticky[1:])
    assert found["router/switch_rate"] == pytest.approx(0.2)
    assert found["router/switch_chance"] == pytest.approx(1 - 0.6**2 - 0.4**2)


@pytest.mark.parametrize("gate", [NoGate(), TopKGate(0.5)])
def test_deletion_tells_attention_that_matters(gate: Any) -> None:
    matters = figures(Planted(attends=2.0, gate=gate))
    assert matters["deletion/top"] > 3 * matters["deletion/random"] > 0
    assert matters["deletion/keys"] == (4 if isinstance(gate, NoGate) else 2)
    for same in (Planted(1.0, attends=0.0, gate=gate), Planted(attends=2.0, alike=True, gate=gate)):
        found = figures(same)
        assert found["deletion/top"] == pytest.approx(0, abs=1e-6)
        assert found["deletion/random"] == pytest.approx(0, abs=1e-6)
    assert figures(Planted(1.0))["deletion/top"] is None


def test_keys_are_dropped_among_those_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[Tensor] = []

    def noted(fusion: Fusion, which: Tensor) -> Any:
        dropped.append(which)
        return without_keys(fusion, which)

    monkeypatch.setattr(module, "without_keys", noted)
    figures(Planted(attends=2.0, gate=TopKGate(0.5)))
    *at_random, top = dropped
    assert len(at_random) == module.DRAWS
    assert all(bool((one.sum(dim=-1) == 2).all()) for one in dropped)  # a fifth of ten
    assert bool((top[..., :4].sum(dim=-1) == 2).all())
    for one in at_random:  # of equal scores the gate keeps the first
        assert one[..., :10].any(dim=0).all()
        assert not one[..., 10:].any()


def test_dropped_keys_have_no_weight_and_the_others_all_of_it() -> None:
    scores = torch.randn(3, 2, 10, generator=torch.Generator().manual_seed(0))
    dropped = torch.zeros_like(scores, dtype=torch.bool)
    dropped[:, :, 1:3] = True
    found = WithoutKeys(NoGate(), dropped)(scores, None)
    assert torch.allclose(found, scores.masked_fill(dropped, -torch.inf).softmax(dim=-1))
    kept = TopKGate(0.4)(scores, None) > 0
    found = WithoutKeys(TopKGate(0.4), kept & (scores == scores.amax(dim=-1, keepdim=True)))(scores, None)
    assert torch.equal(found > 0, kept & (scores < scores.amax(dim=-1, keepdim=True)))
    assert torch.allclose(found.sum(dim=-1), torch.ones(3, 2))


def graph(*operators: tuple[str, str]) -> Hypergraph:
    """Operators of one precondition and one effect each, over the atoms a, b and c."""
    own = load_hypergraph("probe")
    atoms = tuple(replace(own.atom_table[0], name=name) for name in "abc")
    made = tuple(
        Operator(
            str(n), str(n), own.experts[0], (Literal.parse(gate),), (), (Literal.parse(effect),), (0,), ""
        )
        for n, (gate, effect) in enumerate(operators)
    )
    return replace(own, atom_table=atoms, operators=made)


def test_promises_are_those_of_the_best_available_operator() -> None:
    own = graph(("a", "b"), ("-a", "-c"), ("a", "c"))
    before = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 0, 1], [1, 1, 0]], dtype=torch.bool)
    after = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=torch.bool)
    # Operator 1 has the best score, and is available in the third step alone.
    found = promised_effects(own, torch.tensor([[2.0, 3.0, 1.0]] * 4), before, after)
    # Promised: b, b, -c; in the last step b holds already. They came true in the first and in the third. On
    # any step b came once in three where it did not hold, -c once in one.
    assert found["effects/promised"] == 3
    assert found["effects/came_true"] == pytest.approx(2 / 3)
    assert found["effects/base_rate"] == pytest.approx((1 / 3 + 1 / 3 + 1) / 3)
    assert promised_effects(graph(("c", "b")), torch.zeros(1, 1), before[:1], after[:1]) == {}
    assert promised_effects(own, torch.zeros(0, 3), before[:0], after[:0]) == {}


@pytest.mark.parametrize("count", [1, 2])
def test_few_states_are_no_error(count: int) -> None:
    found = figures(Planted(1.0, 1.0, gate=NoGate()), seen(states(count)))
    assert found["states"] == count
    assert (found["kl/vision"] is None) == (count == 1)
    assert len(list(modality_lines(found))) == (0 if count == 1 else 3)


def test_states_that_are_alike_say_nothing() -> None:
    met = states(10)
    same = met.map(lambda x: x[:1].expand(10, *x.shape[1:]).clone())
    found = figures(Planted(1.0, 1.0), seen(same))
    assert found["kl/vision"] is found["share/vision"] is None


@pytest.mark.parametrize(
    ("overrides", "absent"),
    [
        (("fusion=cross_attn",), ()),
        (("fusion=concat", "logic=none"), ("deletion", "effects", "kl/logic", "value/logic", "share")),
        (("fusion=cross_attn_headgate", "policy=one_wide_expert"), ("deletion",)),
        (("fusion=cross_attn", "vision=state"), ("deletion",)),
    ],
)
def test_real_policies_have_the_figures_of_their_parts(
    overrides: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    config, env, policy = toy(*NARROW, *overrides)
    own_settings = make_schedule(config)[0][-1].settings(0)
    watch, shown = Watch(policy), env.reset()
    for _ in range(33):
        step: Step = env.step(np.ones(env.num_envs, np.int64))
        watch(shown, step)
        shown = step.observation
    met = watch.seen()
    assert len(met) == 3 * env.num_envs  # every sixteenth step
    met.before.state[:, [DEPTH, TURNS]] = 0  # random there, so that hardly two states would share a bin
    assert met.goes_on.any()
    weights, gate = {n: v.clone() for n, v in policy.state_dict().items()}, policy.fusion.gate
    torch.manual_seed(3)
    before = torch.get_rng_state()
    own = torch.Generator().manual_seed(0)
    found = modality(policy, met.to("cpu"), own_settings, load_hypergraph("nethack"), own)
    assert {n for n, v in found.items() if v is None} == {n for n in NAMES if n.startswith(absent)}
    # Neither the policy nor a generator that others draw from has changed.
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in policy.state_dict().items())
    assert policy.fusion.gate is gate
    assert all(
        any(line.startswith(word) for line in modality_lines(found)) for word in ("streams", "experts")
    )
    env.close()


def test_a_gate_is_put_back_whatever_happens() -> None:
    _, env, policy = toy(*NARROW, "fusion=cross_attn", "vision=state")
    env.close()
    gate = policy.fusion.gate
    with pytest.raises(RuntimeError), without_keys(policy.fusion, torch.zeros(1, 1, 1, dtype=torch.bool)):
        raise RuntimeError
    assert policy.fusion.gate is gate


def test_a_step_after_which_a_game_began_is_no_pair() -> None:
    policy = Planted()
    policy.fusion.inputs = ()
    watch = Watch(policy)
    shown = Observation(**{name: np.arange(3) for name in ("mask", "state", "atoms")})
    none, ended = np.zeros(3), np.array([1])
    watch(shown, Step(shown, none, none, none, ended, None, []))  # type: ignore[arg-type]
    assert watch.seen().goes_on.tolist() == [True, False, True]
