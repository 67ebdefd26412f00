"""What moves a trained policy: which stream, which experts, which keys, which operators.

Figures over states that it met in held-out games. They describe one policy, and are no test of anything:
docs/evaluation.md says what each does not say.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tedg.envs.features import STATE_FEATURES
from tedg.envs.observation import Observation
from tedg.hypergraph.schema import Hypergraph
from tedg.learn.promises import promised_effects
from tedg.learn.seen import Seen
from tedg.learn.stages import Settings
from tedg.models.fusion import without_keys
from tedg.models.logic import remembering
from tedg.models.policy import MoEPolicy, masked_log_probs
from tedg.watch.diagnostics import router_figures

Figures = dict[str, float | None]

NAMES = (
    *("states", "alone", "kl/vision", "kl/logic", "share/vision", "value/vision", "value/logic"),
    *("router/specialisation", "router/effective_experts", "router/switch_rate", "router/switch_chance"),
    *("deletion/top", "deletion/random", "deletion/keys"),
    *("effects/promised", "effects/came_true", "effects/base_rate"),
)
DELETED_SHARE = 0.2  # of the keys that a head keeps
DRAWS = 3  # of random keys
DELETION_STATES = 512
_CHUNK = 256  # states of one forward pass
_COLUMN = {feature.name: column for column, feature in enumerate(STATE_FEATURES)}
_LOG2_TURNS = math.log2(20_001)  # the feature `turns` is log(1 + turn) / log(20001)


@torch.no_grad()
def modality(
    policy: MoEPolicy, seen: Seen, settings: Settings, hypergraph: Hypergraph, generator: torch.Generator
) -> Figures:
    """All figures of `NAMES`; None where a policy has no such part, or too few states tell.

    `generator`, one of the CPU, is for this alone. `states` is how many states there were.
    """
    found: Figures = {**dict.fromkeys(NAMES), "states": float(len(seen))}
    if len(seen) < 2:
        return found
    # What torch compiled was compiled for other numbers of states.
    eager = torch.compiler.set_stance("force_eager") if policy.compiled else nullcontext()
    with eager, remembering(policy):
        own = answers(policy, seen.before, settings)
        goes_on = seen.goes_on.nonzero().flatten()
        alpha = own.alpha[goes_on]
        later = answers(policy, seen.after[goes_on], settings).alpha if len(goes_on) else alpha
        found |= stream_figures(policy, seen.before, settings, own, generator)
        found |= routing_figures(own.alpha, alpha, later)
        found |= deletion_figures(policy, seen.before, settings, own, generator)
    if own.operator_scores is not None:
        before, after = seen.before.atoms[goes_on], seen.after.atoms[goes_on]
        found |= promised_effects(hypergraph, own.operator_scores[goes_on], before, after)
    return found


@dataclass(frozen=True, slots=True)
class Answers:
    """What a policy says of B states."""

    log_probs: Float[Tensor, "B actions"]  # under the states' legality masks
    value: Float[Tensor, " B"]
    alpha: Float[Tensor, "B experts"]
    attention: Float[Tensor, "B heads keys"] | None  # heads and queries as one dimension
    operator_scores: Float[Tensor, "B operators"] | None


def answers(
    policy: MoEPolicy,
    states: Observation,
    settings: Settings,
    dropped: Bool[Tensor, "B heads keys"] | None = None,
) -> Answers:
    """Ask a policy, with or without some keys of its attention."""
    parts = []
    for first in range(0, len(states), _CHUNK):
        rows = slice(first, first + _CHUNK)
        own = states[rows]
        with nullcontext() if dropped is None else without_keys(policy.fusion, dropped[rows]):
            output = policy(own, settings.routing, settings.temperature)
        attention = output.attention_weights
        parts.append(
            Answers(
                masked_log_probs(output.policy_logits, own.mask).double(),
                output.value,
                output.alpha,
                None if attention is None else attention.flatten(1, 2),
                output.operator_scores,
            )
        )
    columns: dict[str, Any] = {f.name: [getattr(part, f.name) for part in parts] for f in fields(Answers)}
    joined: dict[str, Any] = {n: c[0] if c[0] is None else torch.cat(c) for n, c in columns.items()}
    return Answers(**joined)


def stream_figures(
    policy: MoEPolicy, states: Observation, settings: Settings, own: Answers, generator: torch.Generator
) -> Figures:
    """How much the policy changes when one stream sees another state (permutation importance).

    D_m = E KL(pi(.|x) || pi(.|x')), x' being x with the inputs of stream m taken from another state of
    its bin; nats, under x's own legality mask. The share of vision is D_V / (D_V + D_L); `value/m` is the
    mean |V(x) - V(x')|. Inputs of another bin would make states that no game shows, as a deep level on the
    first turn. States that are alone in their bin are left out, and are `alone` many. Permuted inputs:
    Breiman 2001, section 10; of modalities, for accuracies: Gat et al. 2021 (arXiv:2110.14375).

    None for a stream that reads nothing, or whose inputs are alike wherever they were exchanged.
    """
    other = partners(bins(states.state), generator)
    paired = (other >= 0).nonzero().flatten()
    order = torch.arange(len(states), device=paired.device)
    order[paired] = other[paired]
    found: Figures = {"alone": float(len(states) - len(paired))}
    for stream, names in (("vision", policy.vision.inputs), ("logic", policy.logic.inputs)):
        inputs = {name: getattr(states, name) for name in names}
        if all(torch.equal(value, value[order]) for value in inputs.values()):
            continue
        exchanged = replace(states, **{name: value[order] for name, value in inputs.items()})
        changed = answers(policy, exchanged, settings)
        found[f"kl/{stream}"] = float(_kl(own.log_probs, changed.log_probs)[paired].mean())
        found[f"value/{stream}"] = float((own.value - changed.value)[paired].abs().mean())
    vision, logic = found.get("kl/vision"), found.get("kl/logic")
    if vision is not None and logic is not None and vision + logic > 0:
        found["share/vision"] = vision / (vision + logic)
    return found


def bins(state: Float[Tensor, "B features"]) -> Int[Tensor, " B"]:
    """The bin of each state: its dungeon level, and the game turn by powers of two (0, 1-2, 3-6, 7-14, ...).

    Both are named features of every environment's state vector, which an observation has for any policy;
    an observation has no other turn. Toys leave them at 0, and all of their states are in one bin.
    """
    depth = state[:, _COLUMN["depth"]].double().clamp(0, 0.95)
    level = ((1 + 4 * depth) / (1 - depth)).round()  # the feature is (d - 1) / (d + 4)
    turn = (state[:, _COLUMN["turns"]].double() * _LOG2_TURNS).floor()
    return (level * 16 + turn).long()


def partners(bin_of: Int[Tensor, " B"], generator: torch.Generator) -> Int[Tensor, " B"]:
    """For each state another one of its bin, each being another's once; -1 where a state is alone in it."""
    drawn = torch.randperm(len(bin_of), generator=generator).to(bin_of.device)
    order = drawn[bin_of[drawn].argsort(stable=True)]  # bin by bin, at random within each
    ends = bin_of[order] != bin_of[order].roll(-1)
    ends[-1:] = True
    last = ends.nonzero().flatten()
    first = torch.cat([last.new_zeros(1), last[:-1] + 1])
    following = order.roll(-1)
    following[last] = order[first].where(first < last, -1)
    return torch.empty_like(order).scatter_(0, order, following)


def routing_figures(
    alpha: Float[Tensor, "B K"], before: Float[Tensor, "P K"], after: Float[Tensor, "P K"]
) -> Figures:
    """How states share K experts; `before` and `after` are the shares of P consecutive steps of a game.

    I(expert; state) = H(E[alpha]) - E[H(alpha)], nats; effective experts exp H(E[alpha]), from 1 to K. The
    switch rate is how often the expert with the largest share is another one after a step; by chance, if
    each step drew its top expert anew, it would be 1 - sum_k s_k^2, s_k being the share of steps on which
    k is on top.
    """
    known = router_figures(alpha)
    found: Figures = {
        "router/specialisation": known["router/specialisation"],
        "router/effective_experts": math.exp(known["router/usage_entropy"]),
    }
    if len(before):
        top, then = before.argmax(dim=1), after.argmax(dim=1)
        shares = torch.bincount(top, minlength=alpha.shape[1]).double() / len(top)
        found["router/switch_rate"] = float((top != then).double().mean())
        found["router/switch_chance"] = float(1 - shares.square().sum())
    return found


def deletion_figures(
    policy: MoEPolicy, states: Observation, settings: Settings, own: Answers, generator: torch.Generator
) -> Figures:
    """KL(pi || pi without some keys), nats: the k most attended keys of each head, or k random ones it keeps.

    k = ceil(DELETED_SHARE * kept keys), one key fewer than kept at most; `deletion/keys` is its mean. Dropped
    keys get the weight 0, and the others' weights are scaled to sum 1. Random keys are the mean of DRAWS
    draws. If where attention looks matters, the first figure is well above the second one; weights alone
    do not tell (Serrano & Smith 2019, arXiv:1906.03731). It is asked of DELETION_STATES of the states, evenly
    spaced. Nothing without attention, with one key, or for attention without a gate (see `Fusion`).
    """
    if own.attention is None or own.attention.shape[-1] < 2 or policy.fusion.gate is None:
        return {}
    rows = torch.linspace(0, len(states) - 1, min(len(states), DELETION_STATES)).long().to(own.value.device)
    asked, weights, log_probs = states[rows], own.attention[rows], own.log_probs[rows]
    kept = (weights > 0).sum(dim=-1)
    number = (kept * DELETED_SHARE).ceil().long().minimum(kept - 1)
    if not number.any():
        return {}

    def without(by: Tensor) -> float:
        dropped = by.argsort(dim=-1, descending=True).argsort(dim=-1) < number.unsqueeze(-1)
        changed = answers(policy, asked, settings, dropped)
        return float(_kl(log_probs, changed.log_probs).mean())

    draws = [torch.rand(weights.shape, generator=generator).to(weights.device) for _ in range(DRAWS)]
    at_random = [without(draw.masked_fill(weights == 0, -1)) for draw in draws]
    return {
        "deletion/top": without(weights),
        "deletion/random": sum(at_random) / DRAWS,
        "deletion/keys": float(number.double().mean()),
    }


def _kl(own: Tensor, other: Tensor) -> Tensor:
    """KL [B] of log-probabilities [B, actions]; never negative but for rounding."""
    return (own.exp() * (own - other)).sum(dim=1).clamp_min(0)
