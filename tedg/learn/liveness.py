"""Is every part of a trained policy at work? Figures over a batch of real states."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from tedg.envs.observation import Observation
from tedg.learn.stages import Settings
from tedg.models.policy import MoEPolicy, masked_log_probs


def liveness(
    policy: MoEPolicy, observation: Observation, settings: Settings, generator: torch.Generator
) -> dict[str, float | str | None]:
    """Figures that say whether attention, gate, router and both streams still matter.

    `gradient/…` are norms of the gradient of the mean log-probability of sampled actions.
    `attention/variation` is the standard deviation over states of each attention weight, averaged
    over heads and keys: exactly 0 where attention is blind. `attention/promised_keys` is how many keys the
    gate says it keeps, None where the scores decide. `influence/…` is the mean KL divergence
    in nats between the policy and the policy with one stream's inputs exchanged between states, under
    the states' own legality masks (permutation importance).

    The last two compare states. Of fewer than two they are absent, and `missing` says why.
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
    policy.zero_grad(set_to_none=True)
    with torch.no_grad():
        weights = acted.output.attention_weights
        if weights is not None:
            figures |= attention_over_states(weights)
            figures["attention/promised_keys"] = policy.fusion.promised_keys(weights.shape[-1])
        if len(observation) > 1:
            figures |= _influence(policy, observation, settings, generator)
        else:
            figures["missing"] = "influence and variation compare states, and the held-out games gave one"
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
) -> dict[str, float]:
    order = torch.randperm(len(observation), generator=generator, device=generator.device)
    if torch.equal(order, torch.arange(len(order), device=order.device)):  # nothing would be exchanged
        order = order.roll(1)
    own = _log_probs(policy, observation, settings)
    figures = {}
    for stream in ("vision", "logic"):
        names = getattr(policy, stream).inputs
        exchanged = {name: getattr(observation, name)[order] for name in names}
        other = _log_probs(policy, replace(observation, **exchanged), settings)
        figures[f"influence/{stream}"] = float((own.exp() * (own - other)).sum(dim=1).mean())
    return figures


def _log_probs(policy: MoEPolicy, observation: Observation, settings: Settings) -> Tensor:
    logits = policy(observation, settings.routing, settings.temperature).policy_logits
    return masked_log_probs(logits, observation.mask)


def _norm(parameter: Tensor) -> float:
    return 0.0 if parameter.grad is None else float(parameter.grad.norm())
