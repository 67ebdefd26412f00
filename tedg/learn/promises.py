"""Do operators keep what they promise? Their effects are data of the hypergraph; atoms tell what came."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tedg.hypergraph.schema import Hypergraph


def promised_effects(
    hypergraph: Hypergraph,
    scores: Float[Tensor, "P operators"],
    before: Bool[Tensor, "P atoms"],
    after: Bool[Tensor, "P atoms"],
) -> dict[str, float | None]:
    """How often an effect that is promised comes true with the next step, over P steps of games.

    A step's promises are the effects of its best-scored operator among those whose preconditions all hold,
    as far as they do not hold already; `effects/promised` counts them. `effects/came_true` is the share that
    holds after the step. `effects/base_rate` is the mean, over the same promises, of how often the same
    literal came true on any step before which it did not hold. Nothing where nothing was promised.
    """
    scores, before, after = scores.cpu(), before.cpu(), after.cpu()
    conditions = hypergraph.conditions()
    atom, positive = torch.as_tensor(conditions.atom), torch.as_tensor(conditions.positive)
    holds = (before[:, atom] == positive) | ~torch.as_tensor(conditions.is_precondition)
    available = holds.all(dim=2)  # [P, operators]
    best = scores.masked_fill(~available, -torch.inf).argmax(dim=1)
    # Literals are numbered: atoms, then their negations.
    false, true = torch.cat([~before, before], dim=1), torch.cat([after, ~after], dim=1)
    comes = false & true
    promised = _effects(hypergraph)[best] & false & available.any(dim=1, keepdim=True)
    if not (count := int(promised.sum())):
        return {}
    base = comes.sum(dim=0).double() / false.sum(dim=0).clamp_min(1)
    return {
        "effects/promised": float(count),
        "effects/came_true": int((promised & comes).sum()) / count,
        "effects/base_rate": float((promised.sum(dim=0) * base).sum()) / count,
    }


def _effects(hypergraph: Hypergraph) -> Bool[Tensor, "operators literals"]:
    """Which literals each operator promises."""
    place = {atom: number for number, atom in enumerate(hypergraph.atoms)}
    found = torch.zeros(len(hypergraph.operators), 2 * len(place), dtype=torch.bool)
    for row, operator in enumerate(hypergraph.operators):
        for literal in operator.effects:
            found[row, place[literal.atom] + (0 if literal.positive else len(place))] = True
    return found
