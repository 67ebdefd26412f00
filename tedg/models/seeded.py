"""Random numbers of a forward pass that can be drawn again: a function of each state's own number.

What is random while acting must be the same while learning, or the ratio of new to old policy compares
two different networks. So nothing here keeps a generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # SplitMix64's constants, as signed numbers
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


class Salt(IntEnum):
    """Users of noise; each sees other numbers."""

    GATE = 1
    DROPOUT = 2  # of the first layer; the others follow


def uniform(noise: Int[Tensor, " B"] | None, salt: int, shape: Sequence[int]) -> Float[Tensor, "B ..."]:
    """[B, *shape] float64 in [0, 1) from the states' numbers by SplitMix64 (Steele, Lea & Flood 2014).

    ValueError without noise: a part that is random must never be run on numbers of its own.
    """
    if noise is None:
        raise ValueError("this policy is random in its forward pass and needs the states' noise")
    count = math.prod(shape)
    start = _mixed(_mixed(noise) + salt * 1_000_003)
    place = torch.arange(1, count + 1, device=noise.device) * _GOLDEN
    words = _mixed(start.unsqueeze(1) + place)
    return (_shifted(words, 11).double() * 2.0**-53).view(-1, *shape)


def _mixed(words: Tensor) -> Tensor:
    words = (words ^ _shifted(words, 30)) * _FIRST
    words = (words ^ _shifted(words, 27)) * _SECOND
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, by: int) -> Tensor:
    """A logical shift to the right; torch's own copies the sign."""
    return (words >> by) & ((1 << (64 - by)) - 1)
