"""Where two arms' learning curves cross."""

from __future__ import annotations

import numpy as np
import pytest

from tedg.statistics.crossing import Crossing, crossing
from tedg.statistics.curves import Curve

STEPS = np.arange(1, 201) * 10_000.0


def arms(
    place: float, rng: np.random.Generator, slope: float = 2e-5, pairs: int = 10
) -> tuple[list[Curve], list[Curve]]:
    """Noisy curves each, whose mean difference is 0 at `place` and rises; seeds lie apart as runs do."""
    base = [60 * (1 - np.exp(-STEPS / 5e5)) + rng.normal(0, 4) + rng.normal(0, 8, 200) for _ in range(pairs)]
    other = [one + slope * (STEPS - place) + rng.normal(0, 3) + rng.normal(0, 8, 200) for one in base]
    return [(STEPS, one) for one in base], [(STEPS, one) for one in other]


@pytest.mark.more
def test_the_interval_holds_the_crossing() -> None:
    """Of five pairs, where a plain bootstrap is far too narrow (experiments/calibration has more cases)."""
    rng = np.random.default_rng(1)
    found = [crossing(*arms(1_200_000, rng, pairs=5)) for _ in range(100)]
    crossed = [one for one in found if one is not None]
    assert len(crossed) >= 97
    assert all(one.after for one in crossed)
    held = sum(one.low <= 1_200_000 <= one.high for one in crossed)
    assert held >= 0.9 * len(crossed)
    assert np.mean([one.high - one.low for one in crossed]) < 450_000


def test_its_direction() -> None:
    baseline, variant = arms(1_200_000, np.random.default_rng(2))
    turned = crossing(variant, baseline)
    assert turned is not None
    assert not turned.after
    known = crossing(baseline, variant)
    assert isinstance(known, Crossing)
    assert known.step == turned.step


@pytest.mark.parametrize("place", [-3_000_000, 9_000_000])
def test_curves_that_do_not_cross(place: float) -> None:
    assert crossing(*arms(place, np.random.default_rng(3))) is None


def test_equal_arms_and_single_seeds_have_no_crossing() -> None:
    rng = np.random.default_rng(4)
    found = [crossing(*arms(0, rng, slope=0.0)) for _ in range(20)]
    assert sum(one is not None for one in found) <= 2
    baseline, variant = arms(1_200_000, rng)
    assert crossing(baseline[:1], variant[:1]) is None
