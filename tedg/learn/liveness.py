"""Is every part of a trained policy at work? Figures over a batch of real states."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from tedg.envs.observation import Observation
from tedg.learn.stages import Settings
from tedg.models.policy import MoEPolicy, masked_log_probs

_MAP = ("crop", "overview", "hero")  # the observation's fields of the map


def liveness(
    policy: MoEPolicy, observation: Observation, settings: Settings, generator: torch.Generator
) -> dict[str, float | str | None]:
    """Figures that say whether attention, gate, router and both streams still matter.

    `gradient/…` are norms of the gradient of the mean log-probability of sampled actions.
    `attention/variation` is the standard deviation over states of each attention weight, averaged
    over heads and keys: exactly 0 where attention is blind. `attention/promised_keys` is how many keys the
    gate says it keeps, None where the scores decide. `influence/…` is the mean KL divergence
    in nats between the policy and the policy with one stream's inputs exchanged between states, under
    the states' own legality masks (permutation importance); `influence/map` is that of the map alone, where
    vision reads more than the map. `router/one_hot` is the share of states in which one expert acts alone:
    only there may a router that is alive get no gradient.

    Influence and variation compare states. Where those do not differ they are absent, and `missing` says why.
    """
    policy.zero_grad(set_to_none=True)
    race = policy.race(len(observation), generator)
    acted = policy.get_action_and_value(observation, settings.routing, settings.temperature, race=race)
    acted.log_prob.mean().backward()  # type: ignore[no-untyped-call]
    figures: dict[str, float | str | None] = {
        f"gradient/{name}": _norm(policy.fusion.get_parameter(path))
        for name, path in policy.fusion.attention_parameters.items()
    }
    if policy.router is not None:
        figures["gradient/router"] = sum(_norm(p) ** 2 for p in policy.router.parameters()) ** 0.5
        figures["router/one_hot"] = float((acted.output.alpha.detach().amax(dim=1) == 1).float().mean())
    policy.zero_grad(set_to_none=True)
    with torch.no_grad():
        weights = acted.output.attention_weights
        if weights is not None:
            figures |= attention_over_states(weights)
            read = dict.fromkeys((*policy.vision.inputs, *policy.logic.inputs, *policy.fusion.inputs))
            if not any(_differ(value, value[:1]) for value in (getattr(observation, name) for name in read)):
                figures.pop("attention/variation", None)
            figures["attention/promised_keys"] = policy.fusion.promised_keys(weights.shape[-1])
        figures |= _influence(policy, observation, settings, generator)
    return figures


def attention_over_states(weights: Float[Tensor, "batch heads queries keys"]) -> dict[str, float]:
    """How attention spreads over keys and, where there are several, how it differs between states."""
    figures = {
        "attention/keys": float(weights.shape[-1]),
        "attention/kept_keys": float((weights > 0).sum(dim=-1).float().mean()),
        "attention/effective_keys": float((1 / weights.square().sum(dim=-1)).mean()),
    }
    if len(weights) > 1:
        figures["attention/variation"] = float(weights.std(dim=0).mean())
    return figures


def _influence(
    policy: MoEPolicy, observation: Observation, settings: Settings, generator: torch.Generator
) -> dict[str, float | str | None]:
    if len(observation) < 2:
        return {"missing": "influence and variation compare states, and the held-out games gave one"}
    order = torch.randperm(len(observation), generator=generator, device=generator.device)
    if torch.equal(order, torch.arange(len(order), device=order.device)):  # nothing would be exchanged
        order = order.roll(1)
    own = _log_probs(policy, observation, settings)
    figures: dict[str, float | str | None] = {}
    for part, names in _inputs(policy).items():
        exchanged = {name: getattr(observation, name)[order] for name in names}
        # Of states that are alike no stream could show that it is read. One that reads nothing is dead.
        if names and not any(_differ(getattr(observation, name), value) for name, value in exchanged.items()):
            figures["missing"] = f"influence compares states, and all that were met are alike to {part}"
            continue
        other = _log_probs(policy, replace(observation, **exchanged), settings)
        figures[f"influence/{part}"] = float((own.exp() * (own - other)).sum(dim=1).mean())
    return figures


def _inputs(policy: MoEPolicy) -> dict[str, tuple[str, ...]]:
    """The observation fields of each part whose influence is measured."""
    vision, logic = policy.vision.inputs, policy.logic.inputs
    found = {"vision": vision, "logic": logic}
    fields = tuple(name for name in vision if name in _MAP)
    return {**found, "map": fields} if fields and fields != vision else found


def _differ(one: Tensor, other: Tensor) -> bool:
    return bool((one != other).any())


def _log_probs(policy: MoEPolicy, observation: Observation, settings: Settings) -> Tensor:
    logits = policy(observation, settings.routing, settings.temperature).policy_logits
    return masked_log_probs(logits, observation.mask)


def _norm(parameter: Tensor) -> float:
    return 0.0 if parameter.grad is None else float(parameter.grad.norm())
