"""The two streams, vision and logic: how much each moves the policy, and what else was asked of it."""

from __future__ import annotations

from tedg.report.draw.dots import Rows, dots
from tedg.report.material import Material
from tedg.report.page import Block, Section, Table, Text, columns, section
from tedg.report.words import estimate

# What the figures are, in the order of the table; others stand below by their own names.
_WORDS = {
    "share/vision": "share of vision",
    "kl/vision": "vision exchanged: KL, nats",
    "kl/logic": "logic exchanged: KL, nats",
    "value/vision": "vision exchanged: change of value",
    "value/logic": "logic exchanged: change of value",
    "deletion/top": "without the most attended keys: KL, nats",
    "deletion/random": "without as many random keys: KL, nats",
    "deletion/keys": "keys taken away",
    "router/specialisation": "I(expert; state), nats",
    "router/effective_experts": "effective experts",
    "router/switch_rate": "top expert changes, share of steps",
    "router/switch_chance": "the same by chance",
    "effects/promised": "promised effects of operators",
    "effects/came_true": "came true, share",
    "effects/base_rate": "came true without the operator, share",
    "states": "states",
    "alone": "states without a like one, left out",
}
_DRAWN = {
    "kl/vision": "vision exchanged",
    "kl/logic": "logic exchanged",
    "deletion/top": "most attended keys gone",
    "deletion/random": "random keys gone",
}
_LACKING = "The records of these runs hold no figures of modalities."


def modality(material: Material) -> Section:
    """The share of vision and what moves the policy as a figure, and all figures as a table."""
    runs = [run for own in material.arms.values() for run in own]
    keys = dict.fromkeys((*_WORDS, *(key for run in runs for key in run.modality)))
    every = {key: material.over_seeds({run.run_id: run.modality.get(key) for run in runs}) for key in keys}
    found = {key: own for key, own in every.items() if own}
    blocks: list[Block] = []
    share = found.get("share/vision", {})
    nats = {words: found[key] for key, words in _DRAWN.items() if key in found}
    panels = [Rows("share of vision", {"vision": share}, (0, 1))] if share else []
    panels += [Rows("KL to the policy as it was, nats", nats)] if nats else []
    if panels:
        told = ", ".join(f"{arm} {own.value:.2f}" for arm, own in share.items()) or "not known"
        blocks.append(
            dots(
                "modality",
                panels,
                material.looks,
                "What moves the trained policies: means over seeds with 95% t intervals. A stream counts "
                "as far as the policy changes when its inputs come from another state; the share of vision "
                "is its part of both changes. Attention counts where taking away the most attended keys "
                "changes more than taking away random ones.",
                f"Marks with intervals for each arm. Share of vision: {told}.",
            )
        )
    if found:
        rows = [
            (_WORDS.get(key, key), *(estimate(own.get(arm)) for arm in material.arms))
            for key, own in found.items()
        ]
        note = "Means over seeds with 95% intervals, of states that the policies met in held-out games."
        titles = columns("figure", *material.arms)
        blocks.append(Table("modality", "Figures of the trained policies", titles, tuple(rows), note))
        blocks.append(
            Text(
                "Both streams are made from one observation. What one of them lacks the other may tell, so "
                "both can seem small, and a large share of one does not show that the other is useless."
            )
        )
    return section("modality", "Modalities", blocks, _LACKING)
