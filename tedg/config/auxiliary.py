"""The auxiliary losses: one line each, in the order in which they are summed.

A name is that of a function in `tedg/learn/losses.py`, of the stage's key `<name>_coef` that weighs it, and
of the figure `loss/<name>`. Behind it stands what the function reads: fields of `losses.Readings`, in the
order of its arguments. A loss is left out where one of them is not there. New lines go to the end, so that
earlier runs add up the same numbers in the same order.
"""

from __future__ import annotations

AUXILIARY: dict[str, tuple[str, ...]] = {
    "load_balance": ("soft_alpha",),
    "diversity": ("cosines",),
    "semantic": ("cosines",),
    "temporal": ("soft_alpha", "previous_alpha", "continues"),
    "overlap": ("soft_alpha", "cosines"),
    "alignment": ("log_alpha", "alignment_target"),
}


def coefficient(name: str) -> str:
    """The stage's key that weighs a loss."""
    return f"{name}_coef"
